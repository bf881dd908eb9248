//! Decides whether something may be done again: so many times at once, and one more each time that so much time has passed. It never looks
//! at a clock.

use std::time::Duration;

/// How often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// At once.
    pub(super) burst: u32,
    /// One more after this.
    pub(super) every: Duration,
}

/// What was taken, as the time after which it is there again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    debt: Duration,
    at: Duration,
}

impl Bucket {
    fn debt(&self, now: Duration) -> Duration {
        self.debt.saturating_sub(now.saturating_sub(self.at))
    }

    /// Whether one is left.
    pub(super) fn has(&self, rate: Rate, now: Duration) -> bool {
        self.debt(now) + rate.every <= rate.every * rate.burst
    }

    /// Whether it is as if nothing had ever been taken.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.debt(now).is_zero()
    }

    /// Takes one, also where none is left, as what was done cannot be undone.
    pub(super) fn take(&mut self, rate: Rate, now: Duration) {
        (self.debt, self.at) = (self.debt(now) + rate.every, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The twin counts in ticks: it has `burst`, gets one in each `every` ticks since it was last full, and never more than `burst`.
        #[test]
        fn agrees_with_counting(burst in 1u32..5, every in 1u64..7, steps in prop::collection::vec(0u64..9, 0..60)) {
            let rate = Rate { burst, every: Duration::from_secs(every) };
            let mut bucket = Bucket::default();
            let (mut parts, mut now) = (u64::from(burst) * every, 0);
            for wait in steps {
                now += wait;
                parts = (parts + wait).min(u64::from(burst) * every);
                let at = Duration::from_secs(now);
                prop_assert_eq!(bucket.has(rate, at), parts >= every);
                prop_assert_eq!(bucket.is_full(at), parts == u64::from(burst) * every);
                if parts >= every {
                    bucket.take(rate, at);
                    parts -= every;
                }
            }
        }
    }
}
