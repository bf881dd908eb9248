//! The subcommand's options, and what they stand for.

use super::peers::{self, Peer, Receiving, Script};
use super::probe::Probe;
use super::scene::Size;
use crate::cli::Output;
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// Sluice beside the kernel and others: the same topology, the same traffic, taking turns.
///
/// Every peer builds two nodes with pods in network namespaces, joined by a wire without offloads, and forwards the same traffic in
/// turn, in shuffled order, round by round. Figures are compared round by round, so that a machine that slows down does so for all. Needs
/// root, two processors and the agent's release binary beside this program (cargo build --release -p sluice).
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Who is compared, by name: sluice, kernel-iptables, kernel-nftables, bridge, forwarder [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(super) peers: Vec<String>,
    /// One more: `SCRIPT run` forwards in the lab's namespaces; docs/performance.md says what it is told
    #[arg(long = "peer", value_name = "NAME=SCRIPT")]
    pub(super) scripts: Vec<Script>,
    /// What is measured [default: all but udp-1m]
    #[arg(long, value_delimiter = ',', value_name = "PROBES")]
    pub(super) probes: Vec<Probe>,
    /// Services in the configuration, the one that is asked for among them
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) services: Vec<u32>,
    /// Policies that select all pods, for peers that know policies
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(super) policies: Vec<u32>,
    /// How the kernel's peers receive from the wire
    #[arg(long, value_enum, value_name = "SETTING", default_value = "threaded")]
    pub(super) kernel_uplink: Receiving,
    /// How Sluice's nodes and the forwarder's do; GRO has no part in it
    #[arg(long, value_enum, value_name = "SETTING", default_value = "threaded")]
    pub(super) sluice_uplink: Receiving,
    /// Runs of each; with fewer than six nothing is called different [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: Option<u32>,
    /// Length of a run, 0.1 to 600 [default: 2]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) seconds: Option<f64>,
    /// Of the orders in which peers take turns
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,
    /// Two short rounds: whether everything works, not how fast
    #[arg(long)]
    pub(super) quick: bool,
    /// How to print the figures
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: Output,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Plan {
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) seed: u64,
}

impl Options {
    pub(super) fn plan(&self) -> Plan {
        let (rounds, seconds) = if self.quick { (2, 0.2) } else { (7, 2.0) };
        Plan {
            rounds: self.rounds.unwrap_or(rounds),
            seconds: self.seconds.unwrap_or(seconds),
            seed: self.seed,
        }
    }

    /// Whom the names stand for, in the order in which they are known.
    pub(super) fn chosen(&self) -> Result<Vec<Box<dyn Peer>>> {
        let mut peers = peers::known(self.sluice_uplink, self.kernel_uplink);
        let names = || peers.iter().map(|peer| peer.name().to_owned()).collect::<Vec<_>>();
        if let Some(unknown) = self.peers.iter().find(|name| !names().contains(name)) {
            bail!(
                "--peers {unknown}: nobody has that name; there are {}",
                names().join(", ")
            );
        }
        let known = names();
        for (n, script) in self.scripts.iter().enumerate() {
            let taken = known.iter().any(|name| name == script.name());
            let again = self.scripts[..n].iter().any(|other| other.name() == script.name());
            ensure!(!taken && !again, "--peer {}=...: the name is taken", script.name());
        }
        peers.retain(|peer| self.peers.is_empty() || self.peers.iter().any(|name| name == peer.name()));
        peers.extend(
            self.scripts
                .iter()
                .map(|script| Box::new(script.clone()) as Box<dyn Peer>),
        );
        Ok(peers)
    }

    /// Each probe once.
    pub(super) fn probes(&self) -> Vec<Probe> {
        let mut probes = if self.probes.is_empty() {
            let all = Probe::value_variants().iter().copied();
            all.filter(|probe| *probe != Probe::Udp1m).collect()
        } else {
            self.probes.clone()
        };
        probes.sort();
        probes.dedup();
        probes
    }

    /// Every combination once.
    pub(super) fn sizes(&self) -> Vec<Size> {
        let pairs = self.services.iter().flat_map(|&services| {
            let with = move |&policies: &u32| Size { services, policies };
            self.policies.iter().map(with)
        });
        let mut sizes: Vec<Size> = pairs.collect();
        sizes.sort();
        sizes.dedup();
        sizes
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|n| (0.1..=600.0).contains(n));
    seconds.ok_or_else(|| "want seconds from 0.1 to 600".into())
}
