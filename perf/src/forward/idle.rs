//! How the thread waits: much as an agent's worker does with adaptive polling. It spins a little after the last frame, then it sleeps.

use std::time::Duration;

/// How long it spins, and how long it sleeps at most.
const SPIN: Duration = Duration::from_micros(20);
const SLEEP: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Idle {
    silent: Duration,
}

impl Idle {
    /// How long the next poll may wait, after a round with `work` frames that took `took`.
    pub(super) fn after(&mut self, work: usize, took: Duration) -> Duration {
        self.silent = if work > 0 { Duration::ZERO } else { self.silent + took };
        if self.silent < SPIN { Duration::ZERO } else { SLEEP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_spins_after_work_and_sleeps_later() {
        let mut idle = Idle::default();
        assert_eq!(idle.after(0, SPIN / 2), Duration::ZERO);
        assert_eq!(idle.after(0, SPIN / 2), SLEEP);
        assert_eq!(idle.after(0, SPIN), SLEEP);
        assert_eq!(idle.after(1, SPIN), Duration::ZERO);
        assert_eq!(idle.after(0, SPIN / 2), Duration::ZERO);
    }
}
