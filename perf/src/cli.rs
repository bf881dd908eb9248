//! The command line.

use crate::{ab, cluster, compare, forward, instructions, page, pipeline, pktgen};
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
    /// Instructions a packet, counted on valgrind's processor, beside a committed baseline; bytes a flow
    Instructions(instructions::Options),
    /// Two revisions, built and measured taking turns: what got faster or slower beyond noise
    Ab(ab::Options),
    /// One HTML page of all results that are there
    Report(page::Options),
    /// What `instructions` runs
    #[command(hide = true)]
    CountOne(instructions::Child),
    /// What following a cluster costs, by its size: time until it is served, time and memory after that
    Cluster(cluster::Options),
    /// The API server that `cluster` follows
    #[command(hide = true)]
    ClusterServe(cluster::Serve),
    /// Sluice beside the kernel as flannel and kube-proxy set it up, and beside a bare forwarder, taking turns: streams, requests,
    /// connections, small packets
    Compare(Box<compare::Options>),
    /// What `compare` runs on the nodes of its peer `forwarder`
    #[command(hide = true)]
    Forward(forward::Forward),
    /// A generator and a receiver of packets: loss, duplicates, reordering and latency between two interfaces
    Pktgen(Box<pktgen::Options>),
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}
