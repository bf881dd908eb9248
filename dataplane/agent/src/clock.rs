//! The one clock of the packet path.

use nix::time::{ClockId, clock_gettime};

/// A clock that never goes back; tests have one of their own.
pub(crate) trait Now {
    /// Nanoseconds since some moment.
    fn now_ns(&self) -> u64;
}

/// CLOCK_MONOTONIC, as it is: connection records hold its times, and every process of this boot reads the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock;

impl Clock {
    pub(crate) fn now_ns(self) -> u64 {
        // Linux always has this clock.
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
    }
}

impl Now for Clock {
    fn now_ns(&self) -> u64 {
        Clock::now_ns(*self)
    }
}
