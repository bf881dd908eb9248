//! `sluice-perf instructions`: how many instructions a packet takes, counted and not timed, so that two machines agree about it. Decides
//! which points are counted; it never says that fewer instructions are faster.

mod baseline;
mod callgrind;
mod child;
mod options;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use child::Child;
pub(crate) use options::Options;

use crate::cases::Case;
use crate::cli::Output;
use crate::measure::{Amount, Memory, memory};
use crate::pipeline::point::{FrameSize, Point};
use crate::report::{Machine, Progress, files};
use crate::world::addresses::Family;
use crate::world::{Size, World};
use anyhow::{Context, Result};
use baseline::{Baseline, Judged};
use callgrind::Callgrind;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Enough for every flow to pass several times, and few enough for a simulated processor.
const AMOUNT: Amount = Amount {
    packets: 1 << 14,
    fresh: 1 << 12,
};
/// A simulated processor takes long to make services, and established packets do not see them.
const SERVICES: u32 = 100;

/// What was counted, and of which program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) machine: Machine,
    pub(crate) rustc: String,
    pub(crate) target_cpu: String,
    /// By point.
    pub(crate) cases: BTreeMap<String, Cost>,
    pub(crate) memory: Memory,
}

/// What one point takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// A packet, from receive to free.
    pub(crate) instructions: f64,
}

/// Counts, prints, and holds it against the baseline if that is asked for.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let callgrind = Callgrind::find()?;
    let known = if options.check {
        let known = Baseline::read(&options.baseline)?;
        if let Some(why) = known.another_compiler(rustc()) {
            println!("{why}");
            return Ok(ExitCode::SUCCESS);
        }
        known.must_be_for(target_cpu())?;
        Some(known)
    } else {
        None
    };
    let counted = count(&callgrind, options)?;
    files::write("instructions.json", &serde_json::to_value(&counted)?)?;
    if options.update {
        Baseline::from(&counted).write(&options.baseline)?;
    }
    let judged = known.map(|known| known.judge(&counted, options.is_everything()));
    match options.output {
        Output::Json => println!("{:#}", table::json(&counted, judged.as_deref())?),
        Output::Table => print!(
            "{}",
            table::table(&counted, judged.as_deref(), std::io::stdout().is_terminal())
        ),
    }
    let as_it_was = judged.is_none_or(|judged| judged.iter().all(Judged::as_it_was));
    Ok(if as_it_was {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn count(callgrind: &Callgrind, options: &Options) -> Result<Counted> {
    let points = points(options);
    let mut progress = Progress::new(points.len() + 1);
    let mut cases = BTreeMap::new();
    for point in &points {
        progress.step(point);
        let child = Child::of(point, true);
        let cost = callgrind.count(&child).with_context(|| point.to_string())?;
        cases.insert(point.to_string(), cost);
    }
    progress.step("without an engine");
    let bare = Child::of(&point(Case::ServiceOut, Family::V4, 1000), false);
    cases.insert("no-engine".into(), callgrind.count(&bare).context("without an engine")?);
    progress.end();
    Ok(Counted {
        machine: Machine::this(),
        rustc: rustc().into(),
        target_cpu: target_cpu().into(),
        cases,
        memory: memory(&World::new(Size::LEAST))?,
    })
}

fn points(options: &Options) -> Vec<Point> {
    let cases = if options.case.is_empty() {
        Case::value_variants()
    } else {
        &options.case
    };
    let flows = |case: Case| if case.is_new_each_time() { &[1][..] } else { &[1, 1000] };
    let of = |case: &Case| {
        let case = *case;
        let families = options.family.iter();
        families.flat_map(move |family| flows(case).iter().map(move |flows| point(case, *family, *flows)))
    };
    cases.iter().flat_map(of).collect()
}

fn point(case: Case, family: Family, flows: u32) -> Point {
    Point {
        case,
        size: FrameSize::Bytes(64),
        family,
        workers: 1,
        services: if case.is_new_each_time() { SERVICES } else { 1 },
        policies: 1,
        churn: 0,
        flows,
    }
}

/// The compiler that made this program.
fn rustc() -> &'static str {
    env!("SLUICE_PERF_RUSTC")
}

/// The level of processors that this program is made for, as the psABI names them.
fn target_cpu() -> &'static str {
    const LEVELS: [(bool, &str); 3] = [
        (
            cfg!(all(target_feature = "avx512f", target_feature = "avx512vl")),
            "x86-64-v4",
        ),
        (
            cfg!(all(
                target_feature = "avx2",
                target_feature = "bmi2",
                target_feature = "fma"
            )),
            "x86-64-v3",
        ),
        (
            cfg!(all(target_feature = "sse4.2", target_feature = "popcnt")),
            "x86-64-v2",
        ),
    ];
    let level = LEVELS.iter().find(|(is, _)| *is);
    level.map_or(
        if cfg!(target_arch = "x86_64") {
            "x86-64"
        } else {
            std::env::consts::ARCH
        },
        |(_, name)| name,
    )
}
