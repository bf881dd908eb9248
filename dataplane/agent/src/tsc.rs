//! How fast the processor's time stamp counter ticks, told by the clock. It never waits to find out: whoever asks again later learns it.

use crate::clock::Clock;
use std::sync::{Mutex, PoisonError};

/// Readings so far apart tell the rate to a few millionths.
const APART_NS: u64 = 200_000_000;

/// The counter at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    ticks: u64,
    ns: u64,
}

/// The rate between the last two readings: a machine that was moved to another one has another rate a moment later.
#[derive(Debug)]
pub(crate) struct Tsc(Mutex<(Reading, Option<u64>)>);

impl Tsc {
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Mutex::new((read(clock), None)))
    }

    /// Ticks a second; `None` where there is no counter, and at the very beginning.
    pub(crate) fn hz(&self, clock: Clock) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = later(*state, read(clock));
        state.1
    }
}

fn read(clock: Clock) -> Reading {
    Reading {
        ticks: sluice_mem::cycles(),
        ns: clock.now_ns(),
    }
}

fn later((last, hz): (Reading, Option<u64>), now: Reading) -> (Reading, Option<u64>) {
    let ns = now.ns.saturating_sub(last.ns);
    if ns < APART_NS {
        return (last, hz);
    }
    let ticks = now.ticks.checked_sub(last.ticks).filter(|ticks| *ticks > 0);
    let hz = ticks.map(|ticks| u128::from(ticks) * 1_000_000_000 / u128::from(ns));
    (now, hz.and_then(|hz| u64::try_from(hz).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_readings_that_are_apart() {
        let at = |ticks, ns| Reading { ticks, ns };
        let second = 1_000_000_000;
        let first = (at(7_000, 500), None);
        assert_eq!(later(first, at(9_000, 500 + APART_NS - 1)).1, None, "too early to tell");
        let known = later(first, at(2_600_007_000, second + 500));
        assert_eq!(known.1, Some(2_600_000_000));
        assert_eq!(later(known, at(2_600_007_100, second + 600)).1, known.1);
        let moved = later(known, at(3_600_007_000, 2 * second + 500));
        assert_eq!(moved.1, Some(second));
        assert_eq!(
            later(moved, at(5, 3 * second + 500)).1,
            None,
            "a counter that went back"
        );
        assert_eq!(later((at(0, 0), None), at(0, second)).1, None, "no counter");
    }
}
