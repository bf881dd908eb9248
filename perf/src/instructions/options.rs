//! The subcommand's options.

use crate::cases::Case;
use crate::cli::Output;
use crate::world::addresses::Family;
use clap::Args;
use std::path::PathBuf;

/// What to count, and what to hold it against.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Ways through the node [default: all]
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    pub(crate) case: Vec<Case>,
    /// IP of pods, services and the underlay
    #[arg(long, value_delimiter = ',', value_name = "FAMILY", default_value = "v4,v6")]
    pub(crate) family: Vec<Family>,
    /// Fail where a case takes 1 % more than in the baseline, or less
    #[arg(long)]
    pub(crate) check: bool,
    /// Make what was counted the baseline
    #[arg(long, conflicts_with_all = ["check", "case", "family"])]
    pub(crate) update: bool,
    /// The baseline
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json"))]
    pub(crate) baseline: PathBuf,
    /// How to print the counts
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

impl Options {
    /// Whether all is counted that a baseline has.
    pub(super) fn is_everything(&self) -> bool {
        self.case.is_empty()
            && [Family::V4, Family::V6]
                .iter()
                .all(|family| self.family.contains(family))
    }
}
