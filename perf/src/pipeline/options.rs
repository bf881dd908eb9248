//! The subcommand's options, and the points they stand for.

use super::point::{FrameSize, Point};
use super::sets::Set;
use crate::cases::Case;
use crate::cli::Output;
use crate::measure::Amount;
use crate::world::addresses::Family;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// What to measure. Where an option takes several values, everything is measured with each of them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// A set of points instead of the options that make them
    #[arg(long, value_name = "SET", conflicts_with_all = ["case", "flows", "size", "family", "services", "policies", "workers", "churn", "quick", "goals"])]
    pub(crate) set: Option<Set>,
    /// The same as --set goals
    #[arg(long, conflicts_with_all = ["case", "flows", "size", "family", "services", "policies", "workers", "churn", "quick"])]
    pub(crate) goals: bool,
    /// Ways through the node [default: all]
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    pub(crate) case: Vec<Case>,
    /// Connections that there are; of first-packet, when it begins [default: 1,10000,1000000]
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub(crate) flows: Vec<u32>,
    /// Bytes of a frame, 64 to 1514, or imix
    #[arg(long, value_delimiter = ',', value_name = "BYTES", default_value = "64")]
    pub(crate) size: Vec<FrameSize>,
    /// IP of pods, services and the underlay [default: v4]
    #[arg(long, value_delimiter = ',', value_name = "FAMILY")]
    pub(crate) family: Vec<Family>,
    /// Services, with 10 endpoints each [default: 1; of first-packet 10000]
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=12_000))]
    pub(crate) services: Vec<u32>,
    /// Policies, all of which select all pods
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=20_000))]
    pub(crate) policies: Vec<u32>,
    /// Workers, each on its own processor
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: Vec<u32>,
    /// Changes of the configuration a second that concern no flow
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) churn: Vec<u32>,
    /// Runs of each point; with fewer than six nothing is called different [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: Option<u32>,
    /// Packets of a run, at least one for each flow; of first-packet, connections it begins [default: 1048576; of first-packet 262144]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) packets: Option<u32>,
    /// Of all orders: those of runs and of packets
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Few flows, few packets, two runs: whether everything works, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
    /// How to print the figures
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// How the points are measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) runs: u32,
    pub(crate) seed: u64,
    /// Packets of a run, if its flows are not more.
    pub(crate) packets: usize,
    /// Connections that a run of first-packet begins.
    pub(crate) fresh: u32,
}

impl Plan {
    pub(crate) fn amount(&self) -> Amount {
        Amount {
            packets: self.packets,
            fresh: self.fresh,
        }
    }
}

impl Options {
    pub(crate) fn plan(&self) -> Plan {
        let (runs, packets, fresh) = if self.quick {
            (2, 1 << 14, 1 << 12)
        } else {
            (10, 1 << 20, 1 << 18)
        };
        Plan {
            runs: self.runs.unwrap_or(runs),
            seed: self.seed,
            packets: self.packets.map_or(packets, |n| n as usize),
            fresh: self.packets.map_or(fresh, |n| n.min(4_000_000)),
        }
    }

    /// The set that was asked for.
    pub(crate) fn set(&self) -> Option<Set> {
        self.set.or(self.goals.then_some(Set::Goals))
    }

    /// Every combination, each once.
    pub(crate) fn points(&self) -> Result<Vec<Point>> {
        if let Some(set) = self.set() {
            return Ok(set.points());
        }
        let or = |given: &[u32], usual: &[u32]| {
            if given.is_empty() {
                usual.to_vec()
            } else {
                given.to_vec()
            }
        };
        let cases = if self.case.is_empty() {
            Case::value_variants()
        } else {
            &self.case
        };
        let families = match (self.family.is_empty(), self.quick) {
            (true, true) => &[Family::V4, Family::V6][..],
            (true, false) => &[Family::V4],
            (false, _) => &self.family,
        };
        let flows = or(&self.flows, if self.quick { &[1, 64] } else { &[1, 10_000, 1_000_000] });
        let mut points = Vec::new();
        for &case in cases {
            let many = if self.quick { 100 } else { 10_000 };
            let services = or(&self.services, &[if case.is_new_each_time() { many } else { 1 }]);
            let axes = [&flows, &services, &self.policies, &self.workers, &self.churn];
            for &size in &self.size {
                for &family in families {
                    points.extend(
                        combinations(axes).map(|[flows, services, policies, workers, churn]| Point {
                            case,
                            size,
                            family,
                            workers,
                            services,
                            policies,
                            churn,
                            flows,
                        }),
                    );
                }
            }
        }
        // A worker without a flow has nothing to do.
        points.retain(|point| point.flows >= point.workers);
        points.sort();
        points.dedup();
        ensure!(
            !points.is_empty(),
            "there are fewer flows than workers: give more flows (--flows)"
        );
        Ok(points)
    }
}

fn combinations<const N: usize>(axes: [&Vec<u32>; N]) -> impl Iterator<Item = [u32; N]> {
    let count: usize = axes.iter().map(|axis| axis.len()).product();
    let axes = axes.map(Clone::clone);
    (0..count).map(move |mut n| {
        std::array::from_fn(|at| {
            let axis = &axes[at];
            let value = axis[n % axis.len()];
            n /= axis.len();
            value
        })
    })
}
