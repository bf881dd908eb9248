//! The program that runs on the simulated processor: this one, with one point. Not for people.

use super::AMOUNT;
use crate::cases::Case;
use crate::measure;
use crate::pipeline::point::Point;
use crate::world::World;
use crate::world::addresses::Family;
use anyhow::Result;
use clap::{Args, ValueEnum};

/// Which point.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Child {
    #[arg(long)]
    pub(super) case: Case,
    #[arg(long)]
    pub(super) family: Family,
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub(super) flows: u32,
    /// Receive and free only
    #[arg(long)]
    pub(super) no_engine: bool,
}

impl Child {
    pub(super) fn of(point: &Point, engine: bool) -> Self {
        Self {
            case: point.case,
            family: point.family,
            flows: point.flows,
            no_engine: !engine,
        }
    }

    /// As a command line.
    pub(super) fn args(&self) -> Vec<String> {
        let word = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            value().map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let mut args = vec![
            "count-one".to_owned(),
            format!("--case={}", word(&|| self.case.to_possible_value())),
            format!("--family={}", word(&|| self.family.to_possible_value())),
            format!("--flows={}", self.flows),
        ];
        if self.no_engine {
            args.push("--no-engine".into());
        }
        args
    }

    /// Runs it; prints how many packets passed.
    pub(crate) fn run(&self) -> Result<()> {
        let point = super::point(self.case, self.family, self.flows);
        let world = World::new(point.traffic(&AMOUNT).world);
        println!("{}", measure::count(&world, &point, &AMOUNT, !self.no_engine)?);
        Ok(())
    }

    /// A name for its files.
    pub(super) fn file_name(&self) -> String {
        let engine = if self.no_engine { "no-engine-" } else { "" };
        let family = self.family.name().to_lowercase();
        format!("{engine}{}-{family}-{}.callgrind", self.case.name(), self.flows)
    }
}
