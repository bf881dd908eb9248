//! What following a cluster costs, by its size: from the first list and from a saved state until a node can be served, after one change, in memory
//! and in requests. The API server is the stand-in of `tests/apiserver`, in a process of its own; source, store and compiler are the agent's.

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
use objects::{Change, Size};
use serde::Serialize;
use serve::Served;
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
    /// Requests and bytes of the first start, as the API server counted them.
    requests: u64,
    megabytes: f64,
    /// From an event's arrival until it is compiled, by what changed.
    changes: Vec<(Change, Times)>,
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
        let figures = measure(Served::apart(size)?, size, options.changes, empty)?;
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    let mut all = Vec::new();
    for part in &options.parts {
        eprintln!("{}", Size::part(*part));
        all.push(apart(*part, options.changes)?);
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
fn apart(part: u32, changes: u32) -> Result<Figures> {
    let own = std::env::current_exe()?;
    let output = std::process::Command::new(own)
        .args([
            "cluster",
            "--one",
            "--parts",
            &part.to_string(),
            "--changes",
            &changes.to_string(),
        ])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the measurement of 1/{part} failed");
    serde_json::from_slice(&output.stdout).context("the measurement said nothing")
}

/// Everything about one size; `empty` is what the process took before, bytes.
fn measure(mut served: Served, size: Size, changes: u32, empty: u64) -> Result<Figures> {
    let mut world = World::follow(&served, size)?;
    let listed = millis(world.synced()?);
    let compiled = millis(world.compile()?);
    ensure!(
        world.counts() == size.known(),
        "{:?} instead of {:?}",
        world.counts(),
        size.known()
    );
    let (requests, bytes) = served.counters()?;
    let mut found = Vec::new();
    for change in Change::ALL {
        let (mut times, mut published) = (Vec::new(), 0);
        for round in 0..changes {
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
    let memory_mib = process_peak()?.saturating_sub(empty) as f64 / f64::from(1 << 20);
    let saved_bytes = world.end()?;
    let mut world = World::follow(&served, size)?;
    let restored = millis(world.synced()?);
    let restored_compiled = millis(world.compile()?);
    ensure!(
        world.counts() == size.known(),
        "after the restart: {:?}",
        world.counts()
    );
    world.end()?;
    Ok(Figures {
        size,
        listed,
        compiled,
        restored,
        restored_compiled,
        saved_bytes,
        memory_mib,
        requests,
        megabytes: bytes as f64 / 1e6,
        changes: found,
    })
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
