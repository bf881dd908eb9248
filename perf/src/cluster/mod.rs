//! What following a cluster costs, by its size: from the first list and from a saved state until a node can be served, after one change, in memory
//! and in requests. The API server is the stand-in of `tests/apiserver`, in a process of its own; source, store and compiler are the agent's.

mod churn;
mod objects;
mod serve;
mod table;
#[cfg(test)]
mod tests;
mod world;

pub(crate) use serve::Serve;

use crate::cli::Output;
use crate::report::{Machine, Paint, files, process_peak};
use anyhow::{Context, Result, ensure};
use churn::Churn;
use objects::{Change, Size};
use serde::Serialize;
use serve::{Counted, Served};
use sluice_lb::SchedulerKind;
use std::io::IsTerminal;
use world::World;

/// Options of `sluice-perf cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Parts of the whole, which has 10,000 services with 100,000 end points, 5,000 nodes, 100,000 pods and 1,000 policies; 100 is a hundredth
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "100,10,1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    parts: Vec<u32>,
    /// Changes of each kind
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    changes: u32,
    /// Scheduler of services that name none
    #[arg(long, value_name = "NAME", default_value_t = SchedulerKind::default())]
    scheduler: SchedulerKind,
    /// Seconds of changes that come all the time
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=40))]
    churn: u32,
    /// Only this size, in this process, as JSON: each size is measured in a process of its own, for its memory
    #[arg(long, hide = true)]
    one: bool,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What one size took. Times are milliseconds.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub(crate) struct Figures {
    size: Size,
    /// From nothing until everything is known.
    listed: f64,
    /// From there until it is compiled.
    compiled: f64,
    /// From a saved state until everything is known, and until it is compiled.
    restored: f64,
    restored_compiled: f64,
    /// Bytes of the saved state.
    saved_bytes: u64,
    /// Largest resident memory of the process before the restart, MiB, less that of the process without a cluster.
    memory_mib: f64,
    /// What the first start cost the API server, and the restart.
    first: Cost,
    again: Cost,
    /// A second of changes that come all the time, by what changed.
    churn: Vec<(Change, Churn)>,
    /// From an event's arrival until it is compiled, by what changed.
    changes: Vec<(Change, Times)>,
}

/// What the API server counted.
#[derive(Clone, Copy, Debug, Serialize, serde::Deserialize)]
struct Cost {
    requests: u64,
    connections: u64,
    megabytes: f64,
}

impl Cost {
    fn between(before: Counted, after: Counted) -> Self {
        Self {
            requests: after.requests - before.requests,
            connections: after.connections - before.connections,
            megabytes: (after.bytes - before.bytes) as f64 / 1e6,
        }
    }
}

/// Median and the slowest of a hundred, milliseconds, and how many made a difference to the node.
#[derive(Clone, Copy, Debug, Serialize, serde::Deserialize)]
struct Times {
    median: f64,
    p99: f64,
    published: u32,
}

/// Runs `sluice-perf cluster`.
pub(crate) fn command(options: &Options) -> Result<()> {
    if options.one {
        let part = options.parts.first().copied().unwrap_or(1);
        let size = Size::part(part);
        let empty = process_peak()?;
        let figures = measure(Served::apart(size)?, size, options, empty)?;
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    let mut all = Vec::new();
    for part in &options.parts {
        eprintln!("{}", Size::part(*part));
        all.push(apart(*part, options)?);
    }
    files::write("cluster.json", &all)?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&all)?),
        Output::Table => print!(
            "{}",
            table::render(&all, &Machine::this(), Paint(std::io::stdout().is_terminal()))
        ),
    }
    Ok(())
}

/// The figures of one size, from a process of its own.
fn apart(part: u32, options: &Options) -> Result<Figures> {
    let own = std::env::current_exe()?;
    let output = std::process::Command::new(own)
        .args([
            "cluster",
            "--one",
            "--parts",
            &part.to_string(),
            "--changes",
            &options.changes.to_string(),
            "--churn",
            &options.churn.to_string(),
            "--scheduler",
            options.scheduler.name(),
        ])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the measurement of 1/{part} failed");
    serde_json::from_slice(&output.stdout).context("the measurement said nothing")
}

/// Everything about one size; `empty` is what the process took before, bytes.
fn measure(mut served: Served, size: Size, options: &Options, empty: u64) -> Result<Figures> {
    let at_first = served.counters()?;
    let mut world = World::follow(&served, size, options.scheduler)?;
    let listed = millis(world.synced()?);
    let compiled = millis(world.compile()?);
    ensure!(
        world.counts() == size.known(),
        "{:?} instead of {:?}",
        world.counts(),
        size.known()
    );
    let first = Cost::between(at_first, served.counters()?);
    let mut found = Vec::new();
    for change in Change::ALL {
        let (mut times, mut published) = (Vec::new(), 0);
        for round in 0..options.changes {
            served.change(change, round)?;
            let (took, differs) = world.one_change()?;
            times.push(millis(took));
            published += u32::from(differs);
        }
        let times = crate::stats::sorted(times);
        let at = |share| crate::stats::quantile(&times, share).unwrap_or_default();
        let times = Times {
            median: at(0.5),
            p99: at(0.99),
            published,
        };
        found.push((change, times));
    }
    let mut churn = Vec::new();
    for change in [Change::Endpoint, Change::Pod] {
        let count = options.churn * churn::PER_SECOND;
        churn.push((change, churn::measure(&mut served, &mut world, change, count)?));
    }
    let memory_mib = process_peak()?.saturating_sub(empty) as f64 / f64::from(1 << 20);
    let saved_bytes = world.end()?;
    let before = served.counters()?;
    let mut world = World::follow(&served, size, options.scheduler)?;
    let restored = millis(world.synced()?);
    let restored_compiled = millis(world.compile()?);
    ensure!(
        world.counts() == size.known(),
        "after the restart: {:?}",
        world.counts()
    );
    world.heard()?;
    let again = Cost::between(before, served.counters()?);
    world.end()?;
    Ok(Figures {
        size,
        listed,
        compiled,
        restored,
        restored_compiled,
        saved_bytes,
        memory_mib,
        first,
        again,
        churn,
        changes: found,
    })
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
