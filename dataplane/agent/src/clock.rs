//! The one clock of the packet path.

use std::time::Instant;

/// A clock that never goes back; tests have one of their own.
pub(crate) trait Now {
    /// Nanoseconds since some moment.
    fn now_ns(&self) -> u64;
}

/// Nanoseconds since the agent began; all workers count from the same moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Now for Clock {
    fn now_ns(&self) -> u64 {
        Clock::now_ns(self)
    }
}
