//! How long a port's bursts may be. A burst is worked on to its end, so it is what everybody else waits for.

use sluice_wire::BURST;

/// What a burst may take, ns. Less would cost more in calls of `epoll_wait` than it helps who waits.
const BURST_NS: u64 = 20_000;

/// What something costs, ns: about the median of what was seen, so that one interruption of the worker changes little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    ns: u64,
    /// How many samples in turn were above it, or below it if negative.
    run: i8,
}

impl Cost {
    pub(super) fn guess(ns: u64) -> Self {
        Self { ns, run: -1 }
    }

    pub(super) fn ns(self) -> u64 {
        self.ns
    }

    /// Steps of a sixteenth follow the median: an interruption of milliseconds moves it no more than any other sample.
    /// Samples that keep to one side make them longer.
    pub(super) fn see(&mut self, ns: u64) {
        let above = ns > self.ns;
        self.run = if above == (self.run > 0) {
            self.run + self.run.signum()
        } else if above {
            1
        } else {
            -1
        };
        self.run = self.run.clamp(-4, 4);
        let step = (self.ns >> (5 - self.run.unsigned_abs())).max(1);
        self.ns = if above {
            self.ns.saturating_add(step)
        } else {
            (self.ns - step).max(1)
        };
    }
}

/// A port's pace: as many frames a burst as [`BURST_NS`] are enough for, judged by what its frames cost lately, all that is
/// done with them included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(Cost);

impl Default for Pace {
    fn default() -> Self {
        Self(Cost::guess(BURST_NS / BURST as u64))
    }
}

impl Pace {
    /// Most frames of the next burst.
    pub(super) fn most(self) -> usize {
        (BURST_NS / self.0.ns()).clamp(1, BURST as u64) as usize
    }

    /// A burst of `frames` took `ns`.
    pub(super) fn took(&mut self, frames: usize, ns: u64) {
        if let Some(each) = ns.checked_div(frames as u64) {
            self.0.see(each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cost_follows_the_median_and_not_an_interruption() {
        let mut cost = Cost::guess(2_000);
        for _ in 0..200 {
            cost.see(25_000);
        }
        assert!((20_000..30_000).contains(&cost.ns()), "{}", cost.ns());
        cost.see(4_000_000);
        assert!(cost.ns() < 30_000);
    }

    proptest! {
        /// Whatever frames cost, soon a burst takes its time and not much more, or is a single frame.
        #[test]
        fn bursts_take_their_time_and_not_much_more(each in 50u64..500_000) {
            let mut pace = Pace::default();
            for _ in 0..100 {
                let frames = pace.most();
                pace.took(frames, frames as u64 * each);
            }
            let took = pace.most() as u64 * each;
            prop_assert!(pace.most() == 1 || took <= 2 * BURST_NS, "{took}");
            prop_assert!(pace.most() == BURST || took >= BURST_NS / 3, "{took}");
        }
    }
}
