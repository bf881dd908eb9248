//! Decides at which load the next trial is worth its time, until the throughput is known: as RFC 2544 asks, or as MLRsearch does (RFC
//! 9971). It never sends a packet itself: what a trial is, is the caller's.

pub(crate) mod mlrsearch;
pub(crate) mod rfc2544;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use std::time::Duration;

/// Something that can be loaded and measured.
pub(crate) trait Trial {
    /// Offers `load` packets a second for `duration`.
    fn run(&mut self, load: f64, duration: Duration) -> Result<Outcome>;
}

/// What one trial found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Packets that were meant to be sent.
    pub(crate) offered: u64,
    /// How many of them did not arrive, be it that they were lost or that they were never sent.
    pub(crate) lost: u64,
    /// How long it took, seconds.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// RFC 9971's trial loss ratio.
    pub(crate) fn loss_ratio(&self) -> f64 {
        self.lost as f64 / self.offered.max(1) as f64
    }
}

/// Loads between which the throughput is looked for, packets a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Range {
    fn check(&self) -> Result<()> {
        ensure!(
            self.min >= 1.0 && self.min < self.max && self.max.is_finite(),
            "nothing to search between {} and {} packets a second: want 1 <= --min-rate < --max-rate",
            self.min,
            self.max
        );
        Ok(())
    }
}
