//! What changes cost that come all the time: processor time, and what the API server sends for them.

use super::objects::Change;
use super::serve::Served;
use super::world::World;
use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Changes a second.
pub(super) const PER_SECOND: u32 = 100;

/// What a second of them took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Churn {
    /// Share of one core, percent.
    pub(super) cpu_percent: f64,
    /// Configurations that were published.
    pub(super) published: f64,
    /// From the API server, kB.
    pub(super) kilobytes: f64,
    /// Written to the saved state, kB.
    pub(super) saved: f64,
    /// Requests while it lasted, not a second.
    pub(super) requests: u64,
}

/// So many changes of a kind, evenly over their time.
pub(super) fn measure(served: &mut Served, world: &mut World, change: Change, count: u32) -> Result<Churn> {
    let before = served.counters()?;
    let state = served.state();
    let length = || std::fs::metadata(&state).map_or(0, |meta| meta.len());
    let saved = length();
    let (cpu, began) = (cpu_time()?, Instant::now());
    served.begin_churn(change, count, PER_SECOND)?;
    let published = world.follow_changes(count)?;
    let (cpu, took) = (cpu_time()?.saturating_sub(cpu), began.elapsed().as_secs_f64());
    served.churned()?;
    let after = served.counters()?;
    Ok(Churn {
        cpu_percent: 100.0 * cpu.as_secs_f64() / took,
        published: f64::from(published) / took,
        kilobytes: (after.bytes - before.bytes) as f64 / 1e3 / took,
        saved: length().saturating_sub(saved) as f64 / 1e3 / took,
        requests: after.requests - before.requests,
    })
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}
