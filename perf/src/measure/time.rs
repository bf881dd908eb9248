//! What time is: a thread's own processor time, which does not count what others do meanwhile, beside the wall's.

use nix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// Nanoseconds that this thread has run.
pub(crate) fn cpu_ns() -> u64 {
    // Linux has this clock.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// What workers are told the time is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Since this moment.
    Wall(Instant),
    /// The same step later each time it is asked, so that what is due by time does not depend on how long anything took.
    Even { now_ns: u64 },
}

/// About what a burst takes.
const STEP_NS: u64 = 2_000;

impl Clock {
    pub(crate) fn wall() -> Self {
        Self::Wall(Instant::now())
    }

    pub(crate) fn even() -> Self {
        Self::Even { now_ns: 0 }
    }

    /// As the agent's clock, which is never 0.
    #[inline]
    pub(crate) fn now_ns(&mut self) -> u64 {
        match self {
            Self::Wall(origin) => origin.elapsed().as_nanos() as u64 + 1,
            Self::Even { now_ns } => {
                *now_ns += STEP_NS;
                *now_ns
            }
        }
    }
}

/// A moment, by all clocks.
pub(crate) struct Moment {
    cpu_ns: u64,
    wall: Instant,
    cycles: u64,
}

/// Between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Elapsed {
    /// Processor time of the thread, ns.
    pub(crate) cpu_ns: f64,
    /// Time on the wall, ns.
    pub(crate) wall_ns: f64,
    /// Ticks of the time stamp counter, less those while the thread was kept waiting.
    pub(crate) cycles: f64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            cpu_ns: cpu_ns(),
            wall: Instant::now(),
            cycles: sluice_mem::cycles(),
        }
    }

    pub(crate) fn elapsed(&self) -> Elapsed {
        let cycles = sluice_mem::cycles().saturating_sub(self.cycles) as f64;
        let wall_ns = (self.wall.elapsed().as_nanos() as f64).max(1.0);
        let cpu_ns = cpu_ns().saturating_sub(self.cpu_ns) as f64;
        Elapsed {
            cpu_ns,
            wall_ns,
            cycles: cycles * (cpu_ns / wall_ns).min(1.0),
        }
    }
}
