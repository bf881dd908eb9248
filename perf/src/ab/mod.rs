//! `sluice-perf ab REV1 REV2`: two revisions, built alike and measured taking turns. Decides what got faster or slower beyond noise; it
//! never compares figures of different rounds.

mod build;
mod options;
mod rounds;
mod sample;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use options::Options;

use crate::cli::Output;
use crate::report::{Machine, Progress, files};
use anyhow::{Context, Result};
use build::{Built, Workshop};
use rounds::{Runner, rounds};
use sample::Sample;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use verdict::Verdict;

/// Builds, measures, judges, prints.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let workshop = Workshop::open(Path::new("."), &files::folder_of("ab")?)?;
    let built = [&options.first, &options.second].map(|name| workshop.build(name));
    let [first, second] = built;
    let built = [first?, second?];
    let mut programs = Programs {
        built: &built,
        options: &options.pipeline(),
    };
    let mut progress = Progress::new(2 * options.rounds as usize);
    let pairs = rounds(&mut programs, options.rounds, options.seed, |side| {
        progress.step(&built[side].name);
    })?;
    progress.end();
    let verdict = Verdict::of(&pairs, f64::from(options.least) / 100.0)?;
    let counts = if options.no_instructions {
        None
    } else {
        instructions(&built)
    };
    let page = table::Page {
        machine: Machine::this(),
        built: &built,
        options,
        verdict: &verdict,
        counts: counts.as_ref(),
    };
    match options.output {
        Output::Json => println!("{:#}", page.json()),
        Output::Table => print!("{}", page.table(std::io::stdout().is_terminal())),
    }
    Ok(if verdict.something_slower() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The programs that were built.
struct Programs<'a> {
    built: &'a [Built; 2],
    options: &'a [String],
}

impl Runner for Programs<'_> {
    fn run(&mut self, side: usize, seed: u64) -> Result<Vec<Sample>> {
        let built = &self.built[side];
        let seed = seed.to_string();
        let text = said(built, |program| {
            program.args(["pipeline", "-o", "json", "--runs", "1", "--seed", &seed]);
            program.args(self.options);
        })?;
        sample::read(&text).with_context(|| format!("what {} measured cannot be read", built.name))
    }
}

/// Counts by point of both, if both can be counted; why not is no error, as older revisions do not know how.
fn instructions(built: &[Built; 2]) -> Option<[BTreeMap<String, f64>; 2]> {
    let count = |built: &Built| {
        let text = said(built, |program| {
            program.args(["instructions", "-o", "json"]);
        });
        sample::counts(&text.ok()?)
    };
    Some([count(&built[0])?, count(&built[1])?])
}

fn said(built: &Built, arguments: impl FnOnce(&mut Command)) -> Result<Vec<u8>> {
    let mut command = Command::new(&built.program);
    arguments(&mut command);
    let output = command
        .stdin(Stdio::null())
        // Where it keeps results of its own is not where ours are.
        .env("CARGO_TARGET_DIR", &built.folder)
        .output()
        .with_context(|| built.program.display().to_string())?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed: {}",
        built.name,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
