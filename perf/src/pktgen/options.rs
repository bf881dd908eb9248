//! The subcommand's options, and what it prints. It never decides what a value means twice: each is read by the type that it becomes.

use super::replay::Recording;
use super::search::Search;
use super::source::Source;
use super::table::table;
use super::values::{Ramp, Rate, number, seconds};
use super::{Addresses, Bench, End, Ends, Macs, Pace, Party, Ports, Size, Stream, Until, Vxlan, Wait};
use crate::cli::Output;
use crate::report::{Machine, Progress, exact, human};
use crate::world::addresses::Family;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use sluice_io::fault::{FaultCounts, Faults};
use sluice_wire::MacAddr;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What to send, from where to where.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    search: Option<Verb>,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Find the throughput: the rate at which nothing, or no more than allowed, is lost
    Search(Box<Search>),
}

/// What is sent and from where to where: the same for one run and for a search.
#[derive(Clone, Debug, Args)]
pub(super) struct Traffic {
    /// Where packets leave: INTERFACE or NETNS/INTERFACE
    #[arg(long, value_name = "END", required_unless_present = "memory", requires = "rx")]
    tx: Option<End>,
    /// Where they arrive
    #[arg(long, value_name = "END", requires = "tx")]
    rx: Option<End>,
    /// No interfaces: a wire in this process's memory, which tests the generator itself
    #[arg(long, conflicts_with_all = ["tx", "rx"])]
    memory: bool,
    /// Loses, doubles and reorders what was sent, in parts per million: drop=100,duplicate=50,reorder=20,seed=1
    #[arg(long, value_name = "FAULTS")]
    fault: Option<Faults>,
    /// Flows: different combinations of addresses and ports, visited in turn
    #[arg(long, value_name = "N", default_value = "1", value_parser = number)]
    flows: u64,
    /// Bytes of a frame as RFC 2544 counts them, frame check sequence included, so 4 less lie in memory; or imix. In a tunnel: of
    /// the inner frame
    #[arg(long, value_name = "BYTES", default_value = "64")]
    size: Size,
    /// Source addresses: one, a range A-B, or a prefix [default: 198.18.0.0/24, or 2001:2::/120]
    #[arg(long, value_name = "ADDRESSES")]
    src: Option<Addresses>,
    /// Destination addresses [default: 198.19.0.1, or 2001:2:0:1::1]
    #[arg(long, value_name = "ADDRESSES")]
    dst: Option<Addresses>,
    /// Source ports: one, or a range A-B
    #[arg(long, value_name = "PORTS", default_value = "1024-65535")]
    src_ports: Ports,
    /// Destination ports
    #[arg(long, value_name = "PORTS", default_value = "9")]
    dst_ports: Ports,
    /// IP, where no address says it
    #[arg(long, value_name = "FAMILY", default_value = "v4")]
    family: Family,
    /// Source MAC [default: that of the interface]
    #[arg(long, value_name = "MAC")]
    src_mac: Option<MacAddr>,
    /// Destination MAC [default: that of the next hop as the kernel knows it, or of the receiving interface where there is no route]
    #[arg(long, value_name = "MAC")]
    dst_mac: Option<MacAddr>,
    /// A tunnel around each packet: vni=1,src=ADDRESS,dst=ADDRESS, and perhaps port=8472,src-mac=MAC,dst-mac=MAC of the inner frame
    #[arg(long, value_name = "TUNNEL")]
    vxlan: Option<Vxlan>,
    /// Of the flows and of their order: the same seed makes the same headers
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Processor of the generator
    #[arg(long, value_name = "CPU")]
    tx_cpu: Option<usize>,
    /// Processor of the receiver
    #[arg(long, value_name = "CPU")]
    rx_cpu: Option<usize>,
    /// Wait by asking again and again: exact to a microsecond or two, and takes a processor for each thread
    #[arg(long)]
    spin: bool,
    /// How to print the figures
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: Output,
}

/// One run.
#[derive(Clone, Debug, Args)]
struct RunOptions {
    /// Packets a second: 1.2M, 340k, or max
    #[arg(long, value_name = "PPS", conflicts_with = "ramp")]
    rate: Option<Rate>,
    /// From one rate to another, evenly over the run: 10k..1M
    #[arg(long, value_name = "FROM..TO")]
    ramp: Option<Ramp>,
    /// How long [default: 10]
    #[arg(long, value_name = "S", conflicts_with = "packets", value_parser = seconds)]
    seconds: Option<Duration>,
    /// How many packets
    #[arg(long, value_name = "N", value_parser = number)]
    packets: Option<u64>,
    /// Send the frames of a pcap or pcapng file instead, as it has them; in its times, or evenly with --rate
    #[arg(long, value_name = "FILE", conflicts_with_all = ["flows", "size", "src", "dst", "src_ports", "dst_ports", "family", "src_mac", "dst_mac", "vxlan", "ramp"])]
    replay: Option<PathBuf>,
}

impl Traffic {
    pub(super) fn stream(&self) -> Result<Stream> {
        let v4 = match (&self.src, &self.dst) {
            (Some(addresses), _) | (None, Some(addresses)) => addresses.is_v4(),
            (None, None) => self.family == Family::V4,
        };
        // RFC 2544 appendix C.2.2 and RFC 5180 section 8 keep these for benchmarks.
        let usual = |v4_text: &str, v6_text: &str| -> Result<Addresses> {
            (if v4 { v4_text } else { v6_text }).parse().map_err(anyhow::Error::msg)
        };
        let party = |given: Option<Addresses>, usual: Result<Addresses>, ports| -> Result<Party> {
            Ok(Party {
                addresses: given.map_or(usual, Ok)?,
                ports,
            })
        };
        Ok(Stream {
            flows: u32::try_from(self.flows).unwrap_or(u32::MAX),
            size: self.size,
            src: party(self.src, usual("198.18.0.0/24", "2001:2::/120"), self.src_ports)?,
            dst: party(self.dst, usual("198.19.0.1", "2001:2:0:1::1"), self.dst_ports)?,
            macs: Macs {
                src: self.src_mac,
                dst: self.dst_mac,
            },
            vxlan: self.vxlan,
            seed: self.seed,
        })
    }

    /// Opens what packets go through; they are counted by `counts` where they are spoiled.
    pub(super) fn open(&self, counts: &Arc<FaultCounts>) -> Result<Bench> {
        let wait = if self.spin { Wait::Spin } else { Wait::Sleep };
        let end = |end: &End, cpu| End { cpu, ..end.clone() };
        let mut bench = match (&self.tx, &self.rx) {
            (Some(tx), Some(rx)) => Bench::open(&Ends {
                tx: end(tx, self.tx_cpu),
                rx: end(rx, self.rx_cpu),
                wait,
            })?,
            _ => Bench::memory([self.tx_cpu, self.rx_cpu], wait)?,
        };
        if let Some(faults) = self.fault {
            bench.spoil(faults, counts)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        // An interrupt ends the run, and what was found so far is printed; a second one ends the process.
        signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))?;
        bench.stopped_by(&stop);
        Ok(bench)
    }

    /// What the flows are, in a line.
    pub(super) fn title(&self, stream: &Stream) -> String {
        let tunnel = stream
            .vxlan
            .map_or(String::new(), |vxlan| format!(" in VXLAN {}", vxlan.vni));
        let s = if stream.flows == 1 { "" } else { "s" };
        format!(
            "{} flow{s}, {}, {} UDP{tunnel}",
            exact(stream.flows.into()),
            stream.size,
            stream.family().name()
        )
    }
}

impl RunOptions {
    fn pace(&self, recording: Option<&Recording>) -> Result<Pace> {
        Ok(match (self.rate, self.ramp, recording) {
            (Some(Rate::Pps(rate)), ..) => Pace::Rate(rate),
            (Some(Rate::Max), ..) => Pace::Max,
            (None, Some(Ramp(from, to)), _) => Pace::Ramp(from, to),
            (None, None, Some(recording)) => Pace::Times(recording.times()?),
            (None, None, None) => bail!("how fast? Give --rate PPS, --rate max or --ramp FROM..TO"),
        })
    }

    fn until(&self, recording: Option<&Recording>) -> Until {
        match (self.packets, self.seconds, recording) {
            (Some(packets), ..) => Until::Packets(packets),
            (None, Some(time), _) => Until::Elapsed(time),
            (None, None, Some(recording)) => Until::Packets(recording.count()),
            (None, None, None) => Until::Elapsed(Duration::from_secs(10)),
        }
    }
}

/// Runs and prints.
pub(crate) fn command(options: &Options) -> Result<()> {
    if let Some(Verb::Search(search)) = &options.search {
        return search.command();
    }
    let (traffic, run) = (&options.traffic, &options.run);
    let recording = run.replay.as_deref().map(Recording::load).transpose()?;
    let (pace, until) = (run.pace(recording.as_ref())?, run.until(recording.as_ref()));
    let stream = traffic.stream()?;
    let counts = Arc::default();
    let mut bench = traffic.open(&counts)?;
    let (mut source, title): (Source, String) = match &recording {
        Some(recording) => {
            let cut = match recording.cut {
                0 => String::new(),
                cut => format!(", {} of them cut short by the capture", exact(cut as u64)),
            };
            let title = format!("{} frames of a recording{cut}", exact(recording.count()));
            (bench.prepare_recording(recording.clone())?, title)
        }
        None => (bench.prepare(&stream)?, traffic.title(&stream)),
    };
    let mut progress = Progress::new(1);
    let report = bench.run(&mut source, pace.clone(), until, &mut progress);
    progress.end();
    let report = report?;
    let [tx, rx] = bench.modes();
    match traffic.output {
        Output::Json => {
            let faults: serde_json::Map<_, _> = counts
                .list()
                .into_iter()
                .map(|(name, n)| (name.to_owned(), json!(n)))
                .collect();
            let json = json!({
                "machine": Machine::this(),
                "tx": { "end": tx.0, "mode": tx.1 },
                "rx": { "end": rx.0, "mode": rx.1 },
                "traffic": title,
                "seed": stream.seed,
                "report": report.json(),
                "faults": traffic.fault.map(|_| faults),
            });
            println!("{json:#}");
        }
        Output::Table => {
            let pace = match pace {
                Pace::Rate(rate) => format!("{} packets/s", human(rate)),
                Pace::Ramp(from, to) => format!("{} to {} packets/s", human(from), human(to)),
                Pace::Max => "as fast as it goes".into(),
                Pace::Times(_) => "as recorded".into(),
            };
            let head = format!("{} -> {}: {title}, {pace}", tx.0, rx.0);
            print!("{}", table(&head, &report, std::io::stdout().is_terminal()));
            println!("{}: {}\n{}: {}", tx.0, tx.1, rx.0, rx.1);
            if traffic.fault.is_some() {
                let done: Vec<String> = counts
                    .list()
                    .iter()
                    .filter(|(_, n)| *n > 0)
                    .map(|(name, n)| format!("{} {name}", exact(*n)))
                    .collect();
                println!(
                    "faults: {}",
                    if done.is_empty() {
                        "none happened".into()
                    } else {
                        done.join(", ")
                    }
                );
            }
            println!("{}", Machine::this().line());
        }
    }
    Ok(())
}
