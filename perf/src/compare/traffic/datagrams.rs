//! UDP packets of 64 bytes in many flows, made and counted by the generator at the pods' own interfaces. Decides at which rate a peer is
//! asked, and when in bursts; it never counts a packet that did not arrive.

use crate::compare::load::{Core, Load};
use crate::compare::scene::Way;
use crate::pktgen::search::Runs;
use crate::pktgen::{Addresses, Bench, End, Ends, Macs, Pace, Party, Ports, Size, Source, Stream, Until, Wait};
use crate::report::Progress;
use crate::search::{Range, rfc2544};
use anyhow::{Context, Result, ensure};
use sluice_lab::Lab;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Frame check sequence included.
const BYTES: u16 = 64;
/// Ports that a client sends from.
const FIRST_PORT: u16 = 1024;
/// Slow enough for a first packet of each flow, whoever forwards.
const FIRST_PACKETS: f64 = 40_000.0;
/// Length of trials that lead to a rate.
const TRIAL: Duration = Duration::from_millis(400);
/// How much of itself the rate may be too low by.
const TOLERANCE: f64 = 0.04;
/// Slowest that is looked for, packets a second.
const SLOWEST: f64 = 200.0;
/// Slow enough for whoever works at all.
const SLOWLY: f64 = 2000.0;
/// Longest that all flows may take to come round once.
const LONGEST: Duration = Duration::from_secs(30);

/// Packets of a burst: few enough for the ring of a veth (drivers/net/veth.c, `VETH_RING_SIZE` is 256), which they fill when nobody empties
/// it in time.
const BURST: f64 = 160.0;

/// Where the generator and the receiver run, and how the generator waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compare) struct Threads {
    cpus: [Option<usize>; 2],
    wait: Wait,
}

impl Threads {
    /// Wherever the scheduler likes. Processors are for who forwards: a generator that never sleeps takes one for itself.
    pub(in crate::compare) fn anywhere() -> Self {
        Self {
            cpus: [None; 2],
            wait: Wait::Sleep,
        }
    }

    /// On these processors, sending in bursts between which whoever forwards has time to fall asleep.
    pub(in crate::compare) fn bursts(cpus: [usize; 2], rate: f64) -> Self {
        Self {
            cpus: cpus.map(Some),
            wait: Wait::Pause(Duration::from_secs_f64(BURST / rate)),
        }
    }
}

/// Rates, packets a second.
#[derive(Clone, Copy, Debug)]
pub(in crate::compare) struct Throughput {
    /// The highest of which none is lost (RFC 2544 section 26.1).
    pub(in crate::compare) lossless: f64,
    /// What the generator reaches, whatever arrives.
    pub(in crate::compare) flat_out: f64,
}

/// What bursts cost, ns for each packet.
#[derive(Clone, Copy, Debug)]
pub(in crate::compare) struct Burst {
    /// Of one processor, for those that arrived.
    pub(in crate::compare) core_ns: f64,
    /// Of the generator, for those that it sent.
    pub(in crate::compare) generator_ns: f64,
}

/// A generator and a receiver at the ends of a way.
pub(in crate::compare) struct Datagrams {
    bench: Bench,
    source: Source,
    flows: u32,
    progress: Progress,
}

impl Datagrams {
    /// Opens both ends, and lets each flow come once.
    pub(in crate::compare) fn open(lab: &Lab, way: Way, flows: u32, threads: Threads) -> Result<Self> {
        let end = |name: &str, cpu| -> Result<End> {
            Ok(End {
                netns: Some(lab.place(name)?.netns()),
                interface: "eth0".into(),
                cpu,
            })
        };
        let [client, server] = way.ends();
        let ends = Ends {
            tx: end(client, threads.cpus[0])?,
            rx: end(server, threads.cpus[1])?,
            wait: threads.wait,
        };
        let (target, ports) = way.datagrams();
        let address = |address: Ipv4Addr| Addresses::one(address.into());
        let stream = Stream {
            flows,
            size: Size::Bytes(BYTES),
            src: Party {
                addresses: address(way.client()),
                ports: Ports {
                    first: FIRST_PORT,
                    last: u16::MAX,
                },
            },
            dst: Party {
                addresses: address(target),
                ports: Ports {
                    first: *ports.start(),
                    last: *ports.end(),
                },
            },
            macs: Macs::default(),
            vxlan: None,
            seed: 1,
        };
        let bench = Bench::open(&ends)?;
        let source = bench.prepare(&stream)?;
        let mut all = Self {
            bench,
            source,
            flows,
            progress: Progress::new(0),
        };
        all.run(Pace::Rate(FIRST_PACKETS), Until::Packets(flows.into()))?;
        Ok(all)
    }

    /// Each flow some more times, slowly: a peer that loses one of these packets is not set up as it should be.
    pub(in crate::compare) fn rehearse(&mut self) -> Result<()> {
        let report = self.run(Pace::Rate(SLOWLY), Until::Packets(u64::from(self.flows) * 4))?;
        ensure!(
            (report.lost, report.duplicates) == (0, 0),
            "of {} packets {} are lost and {} came twice",
            report.sent,
            report.lost,
            report.duplicates
        );
        Ok(())
    }

    fn run(&mut self, pace: Pace, until: Until) -> Result<crate::pktgen::Report> {
        self.bench.run(&mut self.source, pace, until, &mut self.progress)
    }

    /// Searches for the rate of which none is lost.
    pub(in crate::compare) fn throughput(&mut self, time: Duration) -> Result<Throughput> {
        let most = self.run(Pace::Max, Until::Elapsed(TRIAL))?.tx_pps;
        ensure!(most > SLOWEST, "the generator reaches {most:.0} packets a second only");
        let search = rfc2544::Search {
            range: Range {
                min: SLOWEST,
                max: most,
            },
            trial: TRIAL,
            last: time,
            tolerance: TOLERANCE,
        };
        let mut runs = Runs {
            bench: &mut self.bench,
            source: &mut self.source,
            progress: &mut self.progress,
            short: 0,
            foreign: 0,
        };
        let found = search.run(&mut runs, |_, _, _| {})?;
        let lossless = found.throughput;
        Ok(Throughput {
            lossless: lossless.with_context(|| format!("at {SLOWEST} packets a second some are lost already"))?,
            flat_out: most,
        })
    }

    /// Processor time of the whole machine for each packet that arrives at this rate, ns. Every flow comes round.
    pub(in crate::compare) fn cost(&mut self, rate: f64, time: Duration) -> Result<f64> {
        let round = Duration::from_secs_f64(f64::from(self.flows) / rate).min(LONGEST);
        let began = Load::now()?;
        let report = self.run(Pace::Rate(rate), Until::Elapsed(time.max(round)))?;
        let busy = began.since()?.busy;
        ensure!(report.received > 0, "no packet arrived");
        Ok(busy * 1e9 / report.received as f64)
    }

    /// Time of this processor for each packet that arrives in bursts, at this rate on average.
    pub(in crate::compare) fn burst(&mut self, rate: f64, time: Duration, cpu: usize) -> Result<Burst> {
        let began = Core::now(cpu)?;
        let report = self.run(Pace::Rate(rate), Until::Elapsed(time))?;
        let busy = began.busy_since()?;
        ensure!(report.received > 0, "no packet arrived");
        Ok(Burst {
            core_ns: busy * 1e9 / report.received as f64,
            generator_ns: report.tx_cpu_ns as f64 / report.sent as f64,
        })
    }
}
