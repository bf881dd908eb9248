//! The answer to `status`. Names are stable; times are milliseconds, rates are per second over the last few seconds.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What comes back for a request: exactly one of the two, on one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    /// It was done, or here it is.
    Ok(T),
    /// Why not, for a person.
    Error(String),
}

/// How the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of this node.
    pub node: String,
    /// Whether everything it needs is there and applied.
    pub ready: bool,
    /// What is still missing; empty when ready.
    pub waiting_for: Vec<String>,
    /// Nodes of the cluster that are known, this one included.
    pub nodes: u32,
    /// Number of the configuration that is served.
    pub generation: u64,
    /// How long it has been served.
    pub generation_age_ms: u64,
    /// Version of the agent.
    pub version: String,
    /// How long the agent has run.
    pub uptime_ms: u64,
    /// Where the configuration comes from.
    pub source: SourceStatus,
    /// The interface to the other nodes.
    pub uplink: UplinkStatus,
    /// The interface to the host's own stack.
    pub host: HostStatus,
    /// Number of attached pods.
    pub pods: u32,
    /// Packet workers.
    pub workers: Vec<WorkerRow>,
    /// Ticks of the processor's time stamp counter a second, which are the cycles of `workers`; `None` where there is none.
    #[serde(default)]
    pub tsc_hz: Option<u64>,
    /// Reasons that dropped at least one packet since start.
    pub drops: Vec<DropStatus>,
    /// What is wrong with the configuration or with this node.
    pub warnings: Vec<Warning>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `manifests` or `kubernetes`.
    pub kind: String,
    /// The directory, or the address of the API server.
    pub place: String,
    /// Whether it has been read completely once.
    pub synced: bool,
    /// Time since the last change was seen; `None` before the first.
    pub last_change_ms: Option<u64>,
    /// Time since the API server was heard of last, bookmarks included; `None` before the first time, and of files.
    #[serde(default)]
    pub last_heard_ms: Option<u64>,
    /// Age of the saved state that is served, until the API server was heard of about all of it.
    #[serde(default)]
    pub saved_age_ms: Option<u64>,
    /// Events that were written to the API server since start.
    #[serde(default)]
    pub events_written: u64,
    /// Events that it should have got and did not.
    #[serde(default)]
    pub events_dropped: u64,
    /// What cannot be used as it is; what was in force before stays.
    pub problems: Vec<Problem>,
    /// Objects in it that are not followed, by kind.
    #[serde(default)]
    pub ignored: BTreeMap<String, u64>,
}

/// Something wrong at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a file, an object of the API server, or the API server.
    pub origin: String,
    /// Line of the file, from 1, if known.
    pub line: Option<u32>,
    /// Column, from 1, if known.
    pub column: Option<u32>,
    /// What is wrong.
    pub text: String,
}

/// The interface to the other nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UplinkStatus {
    /// Its name.
    pub name: String,
    /// Whether it is up with a carrier.
    pub up: bool,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// How packets reach us, such as `AF_XDP native, copy`.
    pub mode: String,
    /// Queues in use.
    pub queues: u16,
    /// Packets received per second.
    pub rx_packets_per_second: f64,
    /// Packets sent per second.
    pub tx_packets_per_second: f64,
}

/// `sluice0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Addresses it holds.
    pub addresses: Vec<String>,
}

/// Totals of a worker since start, as the packet side counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTotals {
    /// Index.
    pub worker: u16,
    /// CPU it is pinned to.
    pub cpu: Option<u32>,
    /// `busy` or `adaptive`.
    pub polling: String,
    /// Time awake with something to do, nanoseconds.
    pub busy_ns: u64,
    /// Time awake with nothing to do.
    #[serde(default)]
    pub poll_ns: u64,
    /// Time asleep.
    #[serde(default)]
    pub idle_ns: u64,
    /// Packets taken in.
    pub packets: u64,
    /// Packets that found their flow in the cache.
    pub cache_hits: u64,
    /// Packets that had to be decided.
    pub cache_misses: u64,
    /// How many packets came at once: powers of two, the last class being full bursts.
    #[serde(default)]
    pub bursts: Vec<BurstClass>,
}

/// Bursts that held about as many packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BurstClass {
    /// Fewest packets of these.
    pub from: u16,
    /// Most packets of these.
    pub to: u16,
    /// How many bursts.
    pub bursts: u64,
}

/// A worker, as shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Totals since start.
    #[serde(flatten)]
    pub totals: WorkerTotals,
    /// Share of time awake with something to do, 0 to 1, over the last seconds. The three shares are 1 together, or 0 at the start
    /// and where a worker stands still.
    pub busy: f64,
    /// Share of time awake with nothing to do.
    #[serde(default)]
    pub poll: f64,
    /// Share of time asleep.
    #[serde(default)]
    pub idle: f64,
    /// Packets per second.
    pub packets_per_second: f64,
    /// Share of packets that found their flow in the cache, 0 to 1, over the last seconds; `None` without packets.
    pub cache_hit: Option<f64>,
    /// Busy time of a packet in ticks of the time stamp counter, over the last seconds; `None` without packets or counter.
    #[serde(default)]
    pub cycles_per_packet: Option<f64>,
}

/// One reason for drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropStatus {
    /// Stable name.
    pub reason: String,
    /// The kind of remedy, as [`super::DropCount::group`].
    pub group: String,
    /// For a person.
    pub text: String,
    /// Packets since start.
    pub packets: u64,
    /// Packets in the last minute.
    pub last_minute: u64,
}

/// Something a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// What it is about, such as `Service default/web`.
    pub object: String,
    /// The text.
    pub text: String,
    /// What it is in a word, of those that a cluster's users are told: the reason of the Event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
