//! Whether a worker goes before the ordinary threads of its CPU, as the kernel's own packet work does, or is one of them. It goes
//! before them only as long as it leaves them a good part of the time.

use super::idle::AT_ONCE_NS;
use super::meters::Span;
use sluice_io::thread::{Class, set_class};

/// What is judged at a time: others wait no longer for a worker that does not sleep any more.
const WINDOW_NS: u64 = 10_000_000;
/// Least part of a window that is slept through: one in so many.
const LEAVES: u64 = 8;

pub(crate) struct Priority {
    /// Asked for, and not refused yet.
    wanted: bool,
    ahead: bool,
    since_ns: u64,
    slept_ns: u64,
}

impl Priority {
    /// Nobody is ahead before it has shown that it sleeps.
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            ahead: false,
            since_ns: 0,
            slept_ns: 0,
        }
    }

    /// Takes a round into account, and gives this thread its place.
    pub(super) fn after(&mut self, worker: usize, span: Span) {
        if !self.wanted || !self.changes(span) {
            return;
        }
        let class = if self.ahead { Class::Realtime } else { Class::Normal };
        if let Err(err) = set_class(class) {
            tracing::warn!(
                worker,
                %err,
                "the worker stays behind the other threads of its CPU, and packets wait for them: grant CAP_SYS_NICE, or say \
                 `workers.priority: normal`"
            );
            (self.wanted, self.ahead) = (false, false);
        }
    }

    /// Whether the window is over and showed something else than the one before.
    fn changes(&mut self, span: Span) -> bool {
        // A call that found something at once may have given the CPU to nobody.
        if span.slept && span.waited_ns() > AT_ONCE_NS {
            self.slept_ns += span.waited_ns();
        }
        let window_ns = span.ended_ns.saturating_sub(self.since_ns);
        if window_ns < WINDOW_NS {
            return false;
        }
        let ahead = self.slept_ns.saturating_mul(LEAVES) >= window_ns;
        (self.since_ns, self.slept_ns) = (span.ended_ns, 0);
        std::mem::replace(&mut self.ahead, ahead) != ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rounds that sleep and work so long each, for a second; how often it changed its place, and where it ended.
    fn lives(priority: &mut Priority, from_ns: u64, slept_ns: u64, worked_ns: u64) -> (u32, bool) {
        let (mut now_ns, mut changes) = (from_ns, 0);
        while now_ns < from_ns + 1_000_000_000 {
            let span = Span {
                after_ns: now_ns,
                began_ns: now_ns + slept_ns,
                ended_ns: now_ns + slept_ns + worked_ns,
                slept: true,
            };
            changes += u32::from(priority.changes(span));
            now_ns = span.ended_ns;
        }
        (changes, priority.ahead)
    }

    #[test]
    fn who_leaves_time_to_others_goes_first_and_who_takes_it_all_does_not() {
        let mut priority = Priority::new(true);
        assert_eq!(lives(&mut priority, 0, 20_000, 80_000), (1, true));
        assert_eq!(lives(&mut priority, 2_000_000_000, 5_000, 95_000), (1, false));
        assert_eq!(lives(&mut priority, 4_000_000_000, 100_000_000, 1_000), (1, true));
    }

    #[test]
    fn polls_that_find_something_at_once_are_no_sleep() {
        assert_eq!(lives(&mut Priority::new(true), 0, AT_ONCE_NS, 2_000), (0, false));
    }

    proptest! {
        /// Whatever a worker does, others wait no longer than two windows and a round for one that does not sleep.
        #[test]
        fn nobody_stays_ahead_without_sleeping(rounds in proptest::collection::vec((0u64..200_000, 0u64..3_000_000), 1..200)) {
            let mut priority = Priority::new(true);
            let (mut now_ns, mut awake_since_ns) = (0, 0);
            for (slept_ns, worked_ns) in rounds {
                let span = Span {
                    after_ns: now_ns,
                    began_ns: now_ns + slept_ns,
                    ended_ns: now_ns + slept_ns + worked_ns,
                    slept: true,
                };
                if slept_ns > AT_ONCE_NS {
                    awake_since_ns = span.began_ns;
                }
                now_ns = span.ended_ns;
                priority.changes(span);
                prop_assert!(!priority.ahead || now_ns - awake_since_ns <= 2 * WINDOW_NS + 3_000_000);
            }
        }
    }
}
