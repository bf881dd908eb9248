//! What is measured, and in which figures. Decides whether more is better; it never decides how much is enough.

use super::apart::Apart;
use super::awake::Awake;
use super::load::Load;
use super::peers::Site;
use super::scene::{Way, core};
use super::traffic::{Datagrams, Threads, connections, requests, stream};
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::time::Duration;

/// One kind of traffic on one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Probe {
    /// One TCP stream between two pods of a node
    TcpNode,
    /// One TCP stream through a ClusterIP to a pod of the other node
    TcpService,
    /// Requests of one byte through a ClusterIP to the other node, one after the other, on cores that are kept awake
    Latency,
    /// The same on cores that sleep between packets
    LatencyAsleep,
    /// Connections of one request each through a ClusterIP to the other node, eight at a time
    Connections,
    /// 64-byte UDP packets of one flow through a ClusterIP to the other node: the rate at which none is lost, and what one costs
    #[value(name = "udp-1")]
    Udp1,
    /// The same with 10,000 flows
    #[value(name = "udp-10k")]
    Udp10k,
    /// The same with a million flows; takes minutes, and where the kernel is a peer a table of connections that is large enough
    #[value(name = "udp-1m")]
    Udp1m,
    /// Connections from outside, through a port of the first node
    ConnectionsNodePort,
    /// 64-byte UDP packets of 10,000 flows from outside, through a port of the first node
    UdpNodePort,
}

/// One figure of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Of two, the larger one is the better.
    pub(super) more_is_better: bool,
}

/// What one run found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) round: u32,
    /// As [`Probe::figures`] has them.
    pub(super) values: Vec<f64>,
    /// Share of the machine that other programs had meanwhile.
    pub(super) others: f64,
    /// How many times as fast as the peer the generator of datagrams was, where there is one: where it is not faster, it was measured.
    pub(super) generator: Option<f64>,
}

const fn more(name: &'static str, unit: &'static str) -> Figure {
    Figure {
        name,
        unit,
        more_is_better: true,
    }
}

const fn less(name: &'static str, unit: &'static str) -> Figure {
    Figure {
        name,
        unit,
        more_is_better: false,
    }
}

const STREAM: [Figure; 2] = [more("throughput", "Gbit/s"), less("cpu", "CPU s/GB")];
const LATENCY: [Figure; 3] = [less("p50", "us"), less("p99", "us"), less("p99.9", "us")];
const DATAGRAMS: [Figure; 2] = [more("rate", "packets/s"), less("cpu", "CPU ns/packet")];
const NODE_PORT: [Figure; 3] = [DATAGRAMS[0], DATAGRAMS[1], less("core", "ns/packet")];
const CONNECTIONS: [Figure; 2] = [more("rate", "1/s"), less("cpu", "CPU us each")];

impl Probe {
    /// Name in options, JSON and the summary.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TcpNode => "TCP, one stream, two pods of a node",
            Self::TcpService => "TCP, one stream through a ClusterIP to the other node",
            Self::Latency => "request and answer of a byte, ClusterIP, other node, cores awake",
            Self::LatencyAsleep => "request and answer of a byte, ClusterIP, other node, cores asleep",
            Self::Connections => "connections of one request, ClusterIP, other node",
            Self::Udp1 => "64-byte UDP, 1 flow, ClusterIP, other node",
            Self::Udp10k => "64-byte UDP, 10,000 flows, ClusterIP, other node",
            Self::Udp1m => "64-byte UDP, 1,000,000 flows, ClusterIP, other node",
            Self::UdpNodePort => "64-byte UDP, 10,000 flows, node port from outside, other node",
            Self::ConnectionsNodePort => "connections of one request, node port from outside, other node",
        }
    }

    pub(super) fn way(self) -> Way {
        match self {
            Self::TcpNode => Way::Node,
            Self::TcpService | Self::Latency | Self::LatencyAsleep | Self::Connections => Way::Service,
            Self::Udp1 | Self::Udp10k | Self::Udp1m => Way::Service,
            Self::ConnectionsNodePort | Self::UdpNodePort => Way::NodePort,
        }
    }

    /// Flows of datagrams; `None` where there are none.
    pub(super) fn flows(self) -> Option<u32> {
        match self {
            Self::Udp1 => Some(1),
            Self::Udp10k | Self::UdpNodePort => Some(10_000),
            Self::Udp1m => Some(1_000_000),
            _ => None,
        }
    }

    pub(super) fn figures(self) -> &'static [Figure] {
        match self {
            Self::TcpNode | Self::TcpService => &STREAM,
            Self::Latency | Self::LatencyAsleep => &LATENCY,
            Self::Connections | Self::ConnectionsNodePort => &CONNECTIONS,
            Self::Udp1 | Self::Udp10k | Self::Udp1m => &DATAGRAMS,
            Self::UdpNodePort => &NODE_PORT,
        }
    }

    /// One run of this length. Of datagrams it finds the rate; what one costs comes later, see [`Self::cost`].
    pub(super) fn run(self, site: &Site, round: u32, time: Duration) -> Result<Run> {
        let began = Load::now()?;
        let mut generator = None;
        let values = match self {
            Self::TcpNode | Self::TcpService => {
                let stream = stream(&site.lab, self.way(), time)?;
                let gigabits = stream.bytes as f64 * 8.0 / stream.wall.as_secs_f64() / 1e9;
                vec![gigabits, stream.load.busy / (stream.bytes as f64 / 1e9)]
            }
            Self::Latency | Self::LatencyAsleep => {
                let _awake = (self == Self::Latency).then(Awake::keep).transpose()?;
                let times = requests(&site.lab, self.way(), time)?;
                let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1000.0;
                vec![at(0.5), at(0.99), at(0.999)]
            }
            Self::Connections | Self::ConnectionsNodePort => {
                let began = Load::now()?;
                let (rate, count) = connections(&site.lab, self.way(), time)?;
                vec![rate, began.since()?.busy * 1e6 / count as f64]
            }
            Self::Udp1 | Self::Udp10k | Self::Udp1m | Self::UdpNodePort => {
                let found = self.datagrams(site, Threads::anywhere())?.throughput(time)?;
                generator = Some(found.flat_out / found.lossless);
                vec![found.lossless]
            }
        };
        Ok(Run {
            round,
            values,
            others: began.since()?.share_of_others(),
            generator,
        })
    }

    /// What a packet costs at this rate, added to a run that found one.
    pub(super) fn cost(self, site: &Site, rate: f64, time: Duration, run: &mut Run) -> Result<()> {
        let began = Load::now()?;
        run.values
            .push(self.datagrams(site, Threads::anywhere())?.cost(rate, time)?);
        if self == Self::UdpNodePort
            && let Some(apart) = Apart::of(site)?
        {
            // A core for the first node, and one for all else.
            let rate = rate / 2.0;
            let burst = self.datagrams(site, apart.threads(rate))?.burst(rate, time, core(0))?;
            run.values.push(burst.core_ns);
            run.generator = run.generator.map(|lead| lead.min(burst.core_ns / burst.generator_ns));
        }
        run.others = run.others.max(began.since()?.share_of_others());
        Ok(())
    }

    fn datagrams(self, site: &Site, threads: Threads) -> Result<Datagrams> {
        Datagrams::open(&site.lab, self.way(), self.flows().unwrap_or(1), threads)
    }
}
