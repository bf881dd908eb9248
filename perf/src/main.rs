//! `sluice-perf`: what a packet costs, on anybody's machine. It decides nothing about packets, and nothing of the product knows it.

mod ab;
mod cases;
mod cli;
mod cluster;
mod compare;
mod cpus;
mod forward;
mod instructions;
mod measure;
mod page;
mod pipeline;
mod pktgen;
mod report;
mod search;
mod stats;
mod world;

use clap::Parser;
use cli::{Cli, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Pipeline(options) => pipeline::command(&options).map(|()| ExitCode::SUCCESS),
        Verb::Instructions(options) => instructions::command(&options),
        Verb::Ab(options) => ab::command(&options),
        Verb::Report(options) => page::command(&options).map(|()| ExitCode::SUCCESS),
        Verb::CountOne(child) => child.run().map(|()| ExitCode::SUCCESS),
        Verb::Forward(node) => node.run().map(|()| ExitCode::SUCCESS),
        Verb::Pktgen(options) => pktgen::command(&options).map(|()| ExitCode::SUCCESS),
        Verb::Cluster(options) => cluster::command(&options).map(|()| ExitCode::SUCCESS),
        Verb::ClusterServe(serve) => serve.run().map(|()| ExitCode::SUCCESS),
        Verb::Compare(options) => compare::command(&options).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|err| {
        eprintln!("sluice-perf: {err:#}");
        // 1 is what a comparison says when something became worse.
        ExitCode::from(2)
    })
}
