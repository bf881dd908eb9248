//! Devices whose throughput is known: they lose what is above it, and perhaps some more.

use super::{Outcome, Trial};
use anyhow::Result;
use std::time::Duration;

/// Forwards so many packets a second.
pub(super) struct Device {
    capacity: f64,
    /// Share of the packets that is lost whatever the load.
    leak: f64,
    /// Share of the trials in which `burst` of the packets is lost as well.
    noise: f64,
    burst: f64,
    random: fastrand::Rng,
    /// Seconds under load so far, and the trials.
    pub(super) seconds: f64,
    pub(super) trials: Vec<(f64, Outcome)>,
}

impl Device {
    pub(super) fn of(capacity: f64) -> Self {
        Self {
            capacity,
            leak: 0.0,
            noise: 0.0,
            burst: 0.01,
            random: fastrand::Rng::with_seed(1),
            seconds: 0.0,
            trials: Vec::new(),
        }
    }

    pub(super) fn leaky(capacity: f64, leak: f64) -> Self {
        Self {
            leak,
            ..Self::of(capacity)
        }
    }

    pub(super) fn noisy(capacity: f64, noise: f64, seed: u64) -> Self {
        Self {
            noise,
            random: fastrand::Rng::with_seed(seed),
            ..Self::of(capacity)
        }
    }
}

impl Trial for Device {
    fn run(&mut self, load: f64, duration: Duration) -> Result<Outcome> {
        let seconds = duration.as_secs_f64();
        let offered = (load * seconds).round() as u64;
        let above = (offered as f64 - self.capacity * seconds).max(0.0).floor() as u64;
        let more = if self.random.f64() < self.noise {
            self.burst
        } else {
            0.0
        } + self.leak;
        let lost = (above + (offered as f64 * more) as u64).min(offered);
        let outcome = Outcome { offered, lost, seconds };
        self.seconds += seconds;
        self.trials.push((load, outcome));
        Ok(outcome)
    }
}
