//! `sluice-perf pipeline`: the engine with memory ports and nothing else. Decides in which order points are run; all of them take turns,
//! so that a machine that changes its speed does so for all alike.

mod goals;
mod options;
pub(crate) mod point;
mod results;
mod sets;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use options::Options;

use crate::cases::Traffic;
use crate::measure::{self, Figures, memory, testpmd_ns};
use crate::report::{Machine, Progress, files, summary};
use crate::world::{Size, World};
use anyhow::{Context, Result};
use jiff::Timestamp;
use options::Plan;
use point::Point;
use results::Results;
use std::collections::HashMap;
use std::io::IsTerminal;

/// Measures and prints.
pub(crate) fn command(options: &Options) -> Result<()> {
    let (points, plan) = (options.points()?, options.plan());
    // Before anything was freed whose place tables could take.
    let memory = if options.quick {
        None
    } else {
        Some(memory(&World::new(Size::LEAST))?)
    };
    let calibrate = || if options.set().is_some() { testpmd_ns() } else { None };
    let before = calibrate();
    let mut progress = Progress::new(points.len() * plan.runs as usize);
    let series = measure(&points, &plan, |point| progress.step(point))?;
    progress.end();
    let results = Results {
        machine: Machine::this(),
        date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        plan,
        memory,
        testpmd_ns: [before, calibrate()].into_iter().flatten().collect(),
        series: points.into_iter().zip(series).collect(),
    };
    if options.set().is_some() {
        summary::write("pipeline/", results.summary())?;
        files::write("pipeline.json", &results.json())?;
    }
    match options.output {
        crate::cli::Output::Json => println!("{:#}", results.json()),
        crate::cli::Output::Table => print!("{}", results.table(std::io::stdout().is_terminal())),
    }
    Ok(())
}

/// All runs of all points, in shuffled order; the figures of each point.
fn measure(points: &[Point], plan: &Plan, mut before: impl FnMut(&Point)) -> Result<Vec<Vec<Figures>>> {
    let amount = plan.amount();
    let mut worlds: HashMap<Size, World> = HashMap::new();
    let mut order: Vec<(usize, u32)> = (0..points.len())
        .flat_map(|at| (0..plan.runs).map(move |run| (at, run)))
        .collect();
    fastrand::Rng::with_seed(plan.seed).shuffle(&mut order);
    let mut series = vec![Vec::new(); points.len()];
    for (at, run) in order {
        let point = &points[at];
        before(point);
        let Traffic { world: size, .. } = point.traffic(&amount);
        let world = worlds.entry(size).or_insert_with(|| World::new(size));
        // Another seed for each run, the same for all points of a round.
        let seed = plan
            .seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::from(run));
        series[at].push(measure::run(world, point, &amount, seed).with_context(|| point.to_string())?);
    }
    Ok(series)
}
