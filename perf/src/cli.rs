//! The command line.

use crate::pipeline;
use clap::{Parser, Subcommand, ValueEnum};

/// What a packet costs in Sluice: benchmarks that check what they measure, with spread.
#[derive(Debug, Parser)]
#[command(name = "sluice-perf", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The packet path with memory ports and nothing else: ns a packet by case, flows, size, services and policies
    Pipeline(Box<pipeline::Options>),
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}
