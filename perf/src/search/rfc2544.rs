//! Throughput as RFC 2544 defines it: the fastest rate at which a device forwards every frame (section 26.1), found by halving. It never
//! reports a rate at which the last trial of full length lost a frame.

use super::{Outcome, Range, Trial};
use anyhow::{Result, ensure};
use std::time::Duration;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    pub(crate) range: Range,
    /// Length of the trials that lead there, and of those that decide (60 seconds at least, section 24).
    pub(crate) trial: Duration,
    pub(crate) last: Duration,
    /// How much of it the result may be too low by.
    pub(crate) tolerance: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// Packets a second; `None` when even the lowest load lost something.
    pub(crate) throughput: Option<f64>,
    /// The lowest load that lost something; `None` when the highest did not.
    pub(crate) above: Option<f64>,
    pub(crate) trials: u32,
}

impl Search {
    /// Runs trials until it is known. `tell` hears of each.
    pub(crate) fn run(&self, device: &mut dyn Trial, mut tell: impl FnMut(f64, Duration, &Outcome)) -> Result<Found> {
        self.range.check()?;
        ensure!(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "a tolerance of {}: want more than 0 and less than 1 (--tolerance)",
            self.tolerance
        );
        let mut found = Found {
            throughput: None,
            above: None,
            trials: 0,
        };
        let mut passes = |found: &mut Found, load: f64, duration| -> Result<bool> {
            let outcome = device.run(load, duration)?;
            tell(load, duration, &outcome);
            found.trials += 1;
            Ok(outcome.lost == 0)
        };
        // Loads that lost nothing in short trials, lowest first: where the last one fails in a long trial, the next lower one is tried.
        let mut passed: Vec<f64> = Vec::new();
        loop {
            let load = match (passed.last(), found.above) {
                (None, None) => self.range.max,
                (Some(low), Some(high)) if high - low > self.tolerance * high => (low + high) / 2.0,
                (Some(low), _) => {
                    let low = *low;
                    if passes(&mut found, low, self.last)? {
                        found.throughput = Some(low);
                        return Ok(found);
                    }
                    passed.pop();
                    found.above = Some(low);
                    continue;
                }
                (None, Some(high)) if high <= self.range.min => return Ok(found),
                (None, Some(high)) => {
                    let half = high / 2.0;
                    if half < self.range.min { self.range.min } else { half }
                }
            };
            if passes(&mut found, load, self.trial)? {
                passed.push(load);
            } else {
                found.above = Some(load);
            }
        }
    }
}
