//! `sluice-perf report`: all results that there are as one HTML page. Decides what is shown beside what; it never changes a figure, and the
//! page asks for nothing from anywhere.

mod chart;
mod data;
mod document;
mod draw;
mod figures;
mod peers;
#[cfg(test)]
mod tests;

use crate::report::files;
use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::path::PathBuf;

/// Where to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The page [default: report.html beside the results]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

/// Reads what is there, writes the page and says where it is.
pub(crate) fn command(options: &Options) -> Result<()> {
    let data = data::read(&files::folder())?;
    let page = document::document(&data).into_string();
    let path = match &options.to {
        Some(path) => path.clone(),
        None => files::folder_of("")?.join("report.html"),
    };
    fs::write(&path, page).with_context(|| format!("{}: the page cannot be written", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
