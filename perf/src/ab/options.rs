//! The subcommand's options.

use crate::cli::Output;
use clap::Args;

/// What to compare, and how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The revision to compare with: whatever git knows, or . for the files as they are
    #[arg(value_name = "REV1")]
    pub(crate) first: String,
    /// The revision that is judged
    #[arg(value_name = "REV2")]
    pub(crate) second: String,
    /// Rounds; each runs both, in shuffled order
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// What is not worth telling, percent: another layout of the same code makes as much
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = percent)]
    pub(crate) least: f32,
    /// Of all orders and random choices
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Count no instructions
    #[arg(long)]
    pub(crate) no_instructions: bool,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// Options of `pipeline` that say what to measure [default: --flows 1,10000 --packets 262144]
    #[arg(last = true, value_name = "PIPELINE OPTIONS")]
    pub(crate) pipeline: Vec<String>,
}

impl Options {
    /// What both revisions are told to measure.
    pub(super) fn pipeline(&self) -> Vec<String> {
        if self.pipeline.is_empty() {
            ["--flows", "1,10000", "--packets", "262144"].map(str::to_owned).into()
        } else {
            self.pipeline.clone()
        }
    }
}

fn percent(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|value: &f32| (0.0..=100.0).contains(value));
    value.ok_or_else(|| "want percent from 0 to 100".into())
}
