//! When a worker may sleep, and for how long.

use std::time::Duration;

/// How a worker waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// Never sleeps.
    Busy,
    /// Spins a little after the last packet, then sleeps until something is ready.
    Adaptive,
}

/// How long a worker spins after its last packet: about what waking up costs.
const SPIN_NS: u64 = 20_000;
/// Longest sleep, so that connections age while nothing happens.
const SLEEP: Duration = Duration::from_millis(100);
/// Longest sleep while packets wait for a neighbour.
const SLEEP_HOLDING: Duration = Duration::from_millis(2);

pub(crate) struct Idle {
    polling: Polling,
    silent_ns: u64,
}

impl Idle {
    pub(crate) fn new(polling: Polling) -> Self {
        Self { polling, silent_ns: 0 }
    }

    /// How long the next poll may wait, after a round with `work` frames that took `took_ns`.
    pub(crate) fn after(&mut self, work: usize, took_ns: u64, holding: bool) -> Option<Duration> {
        self.silent_ns = if work > 0 {
            0
        } else {
            self.silent_ns.saturating_add(took_ns)
        };
        Some(match self.polling {
            Polling::Busy => Duration::ZERO,
            Polling::Adaptive if self.silent_ns < SPIN_NS => Duration::ZERO,
            Polling::Adaptive if holding => SLEEP_HOLDING,
            Polling::Adaptive => SLEEP,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_spins_first_and_sleeps_only_without_work() {
        let mut idle = Idle::new(Polling::Adaptive);
        assert_eq!(idle.after(0, SPIN_NS - 1, false), Some(Duration::ZERO));
        assert_eq!(idle.after(0, 1, false), Some(SLEEP));
        assert_eq!(idle.after(0, 1, true), Some(SLEEP_HOLDING));
        assert_eq!(idle.after(1, SPIN_NS, false), Some(Duration::ZERO));
        assert_eq!(Idle::new(Polling::Busy).after(0, u64::MAX, false), Some(Duration::ZERO));
    }
}
