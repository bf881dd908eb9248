//! `sluice-perf pktgen search`: trials of a search as runs of the generator. It never lets a generator that is too slow pass for a device
//! that is: what was not sent counts as lost, and is told.

use super::bench::Bench;
use super::options::Traffic;
use super::pace::{Pace, Until};
use super::source::Source;
use super::values::{Rate, pps, seconds};
use crate::cli::Output;
use crate::report::{Machine, Paint, Progress, exact, human};
use crate::search::mlrsearch::{self, Goal};
use crate::search::{Outcome, Range, Trial, rfc2544};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How to search, and with what.
#[derive(Clone, Debug, Args)]
pub(super) struct Search {
    #[command(flatten)]
    traffic: Traffic,
    /// Which search
    #[arg(long, value_enum, default_value = "mlrsearch")]
    method: Method,
    /// Lowest load, packets a second
    #[arg(long, value_name = "PPS", default_value = "1k", value_parser = pps)]
    min_rate: f64,
    /// Highest load; max: what the generator reaches in a second
    #[arg(long, value_name = "PPS", default_value = "max")]
    max_rate: Rate,
    /// rfc2544: length of trials that lead to the result
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    trial_seconds: Duration,
    /// rfc2544: length of the trial that decides; RFC 2544 asks for 60 at least
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    final_seconds: Duration,
    /// rfc2544: share of itself by which the result may be too low
    #[arg(long, value_name = "SHARE", default_value = "0.005")]
    tolerance: f64,
    /// mlrsearch: a goal, such as name=PDR,loss=0.005,exceed=0.5,initial=1,final=1,sum=21,width=0.005 [default: NDR and PDR, so]
    #[arg(long, value_name = "GOAL")]
    goal: Vec<GoalText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// No loss at all, by halving (RFC 2544 section 26.1)
    Rfc2544,
    /// Several loss ratios, by trials that grow, looking through rare losses (RFC 9971)
    Mlrsearch,
}

/// A value of --goal.
#[derive(Clone, Debug)]
struct GoalText(Goal);

impl FromStr for GoalText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut goal = usual("", 0.0);
        for part in text.split(',') {
            let wrong = || {
                format!(
                    "`{part}` is no part of a goal; want name=PDR,loss=0.005,exceed=0.5,initial=1,final=1,sum=21,width=0.005"
                )
            };
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let number = || value.parse::<f64>().map_err(|_| wrong());
            let time = || seconds(value).map_err(|_| wrong());
            match name {
                "name" => goal.name = value.to_owned(),
                "loss" => goal.loss_ratio = number()?,
                "exceed" => goal.exceed_ratio = number()?,
                "initial" => goal.initial = time()?,
                "final" => goal.last = time()?,
                "sum" => goal.sum = time()?,
                "width" => goal.width = number()?,
                _ => return Err(wrong()),
            }
        }
        if goal.name.is_empty() {
            goal.name = format!("loss {}", goal.loss_ratio);
        }
        Ok(Self(goal))
    }
}

/// Durations and ratios as FD.io's tests have them.
fn usual(name: &str, loss_ratio: f64) -> Goal {
    Goal {
        name: name.into(),
        loss_ratio,
        exceed_ratio: 0.5,
        initial: Duration::from_secs(1),
        last: Duration::from_secs(1),
        sum: Duration::from_secs(21),
        width: 0.005,
    }
}

/// Runs of the generator.
pub(crate) struct Runs<'r> {
    pub(crate) bench: &'r mut Bench,
    pub(crate) source: &'r mut Source,
    pub(crate) progress: &'r mut Progress,
    /// Trials in which the generator sent less than it should have, and packets that are no ours.
    pub(crate) short: u32,
    pub(crate) foreign: u64,
}

impl Trial for Runs<'_> {
    fn run(&mut self, load: f64, duration: Duration) -> Result<Outcome> {
        let report = self
            .bench
            .run(self.source, Pace::Rate(load), Until::Elapsed(duration), self.progress)?;
        ensure!(!self.bench.is_stopped(), "interrupted");
        self.short += u32::from(report.unsent() > 0);
        self.foreign += report.foreign;
        Ok(Outcome {
            offered: report.sent + report.unsent(),
            lost: report.lost + report.unsent(),
            seconds: duration.as_secs_f64(),
        })
    }
}

/// What either search found, in one shape: name, lower and upper bound, what arrives.
type Row = (String, Option<f64>, Option<f64>, Option<f64>);

impl Search {
    pub(super) fn command(&self) -> Result<()> {
        let stream = self.traffic.stream()?;
        let mut bench = self.traffic.open(&Arc::default())?;
        let mut source = bench.prepare(&stream)?;
        let mut progress = Progress::new(1);
        let max = match self.max_rate {
            Rate::Pps(rate) => rate,
            Rate::Max => {
                let report = bench.run(
                    &mut source,
                    Pace::Max,
                    Until::Elapsed(Duration::from_secs(1)),
                    &mut progress,
                )?;
                report.tx_pps.floor()
            }
        };
        let range = Range {
            min: self.min_rate,
            max,
        };
        let mut runs = Runs {
            bench: &mut bench,
            source: &mut source,
            progress: &mut progress,
            short: 0,
            foreign: 0,
        };
        let mut trials: Vec<Value> = Vec::new();
        let tell = |load: f64, duration: Duration, outcome: &Outcome| {
            trials.push(json!({
                "load": load,
                "seconds": duration.as_secs_f64(),
                "offered": outcome.offered,
                "lost": outcome.lost,
            }));
        };
        let rows = self.rows(range, &mut runs, tell)?;
        let (short, foreign) = (runs.short, runs.foreign);
        progress.end();
        let [tx, rx] = bench.modes();
        if self.traffic.output == Output::Json {
            let results: Vec<Value> = rows
                .iter()
                .map(|(name, lower, upper, throughput)| json!({ "name": name, "lower": lower, "upper": upper, "throughput": throughput }))
                .collect();
            let json = json!({
                "machine": Machine::this(),
                "tx": { "end": tx.0, "mode": tx.1 },
                "rx": { "end": rx.0, "mode": rx.1 },
                "traffic": self.traffic.title(&stream),
                "min_rate": range.min,
                "max_rate": range.max,
                "results": results,
                "trials": trials,
                "short_trials": short,
                "foreign": foreign,
            });
            println!("{json:#}");
            return Ok(());
        }
        let paint = Paint(std::io::stdout().is_terminal());
        println!(
            "{}",
            paint.strong(&format!("{} -> {}: {}", tx.0, rx.0, self.traffic.title(&stream)))
        );
        println!(
            "{}",
            paint.faint(&format!(
                "{:<16}{:>16}{:>16}{:>16}",
                "packets/s", "throughput", "lower bound", "upper bound"
            ))
        );
        for (name, lower, upper, throughput) in &rows {
            let cell = |value: Option<f64>, without: &str| value.map_or(without.to_owned(), |v| exact(v as u64));
            let upper = cell(*upper, "above highest");
            println!(
                "{name:<16}{:>16}{:>16}{upper:>16}",
                cell(*throughput, "none"),
                cell(*lower, "below lowest")
            );
        }
        println!(
            "{} trials between {} and {} packets/s",
            trials.len(),
            human(range.min),
            human(range.max)
        );
        if short > 0 {
            let text = format!(
                "in {short} of them the generator could not keep up; what it did not send counts as lost, so the limit may be its own"
            );
            println!("{}", paint.bad(&text));
        }
        println!("{}: {}\n{}: {}", tx.0, tx.1, rx.0, rx.1);
        println!("{}", Machine::this().line());
        Ok(())
    }

    fn rows(&self, range: Range, runs: &mut Runs<'_>, tell: impl FnMut(f64, Duration, &Outcome)) -> Result<Vec<Row>> {
        match self.method {
            Method::Rfc2544 if !self.goal.is_empty() => {
                bail!("goals are MLRsearch's; RFC 2544 knows no loss but none (--goal)")
            }
            Method::Rfc2544 => {
                let search = rfc2544::Search {
                    range,
                    trial: self.trial_seconds,
                    last: self.final_seconds,
                    tolerance: self.tolerance,
                };
                let found = search.run(runs, tell)?;
                Ok(vec![(
                    "RFC 2544".into(),
                    found.throughput,
                    found.above,
                    found.throughput,
                )])
            }
            Method::Mlrsearch => {
                let goals = if self.goal.is_empty() {
                    vec![usual("NDR", 0.0), usual("PDR", 0.005)]
                } else {
                    self.goal.iter().map(|goal| goal.0.clone()).collect()
                };
                let found = mlrsearch::Search { range, goals }.run(runs, tell)?;
                Ok(found
                    .into_iter()
                    .map(|f| (f.goal, f.lower, f.upper, f.throughput))
                    .collect())
            }
        }
    }
}
