//! `sluice-perf`: what a packet costs, on anybody's machine. It decides nothing about packets, and nothing of the product knows it.

mod cases;
mod cli;
mod measure;
mod pipeline;
mod report;
mod stats;
mod world;

use clap::Parser;
use cli::{Cli, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Pipeline(options) => pipeline::command(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("sluice-perf: {err:#}");
            ExitCode::FAILURE
        }
    }
}
