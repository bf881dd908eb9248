//! The answers to the other verbs. Names are stable; addresses are text, numbers exact.

use super::WorkerTotals;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A service port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Namespace of the service.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name of the port; empty when it has none.
    pub port_name: String,
    /// Where it is reached.
    pub frontends: Vec<FrontendRow>,
    /// The scheduler's name.
    pub scheduler: String,
    /// Client affinity in seconds; `None` without.
    pub affinity_s: Option<u32>,
    /// What new connections go to, and what still has old ones.
    pub endpoints: Vec<EndpointRow>,
}

/// Where a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrontendRow {
    /// Service address; `None` for a node port.
    pub address: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Port.
    pub port: u16,
}

/// An endpoint of a service port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// `namespace/name` of the service.
    pub service: String,
    /// Name of the service's port; empty when it has none.
    pub port_name: String,
    /// Address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The node it lies on, if a node owns its address.
    pub node: Option<String>,
    /// `namespace/name` of the pod that has the address, if one is known.
    pub pod: Option<String>,
    /// Weight for the scheduler; 0 when it gets no new connections and still has old ones.
    pub weight: u16,
    /// Connections of this node to it now.
    pub connections: u32,
}

/// The policies of a pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// `namespace/name` of the pod.
    pub pod: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Connections to the pod.
    pub ingress: PolicySide,
    /// Connections from the pod.
    pub egress: PolicySide,
}

/// One direction of a pod's policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySide {
    /// Whether some NetworkPolicy selects the pod, so that only what a rule allows may pass.
    pub isolated: bool,
    /// The policies that decide about it, in the order in which they are asked: of the Admin tier, NetworkPolicies, else of the Baseline tier.
    pub policies: Vec<SelectingPolicyRow>,
}

/// A policy that selects a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectingPolicyRow {
    /// `namespace/name`; the name alone of a cluster policy.
    pub policy: String,
    /// `Admin` or `Baseline`, for a cluster policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Its priority, for a cluster policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// Its rules of this direction, one line each, in their order; those of a cluster policy begin with their action.
    pub rules: Vec<String>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow {
    /// `tcp`, `udp`, `icmp`, ... or a number.
    pub protocol: String,
    /// Who opened it.
    pub source: String,
    /// Its port; the identifier for echo.
    pub source_port: u16,
    /// What it was opened to.
    pub destination: String,
    /// Its port.
    pub destination_port: u16,
    /// The endpoint, when the destination was a service.
    pub endpoint: Option<String>,
    /// The endpoint's port.
    pub endpoint_port: Option<u16>,
    /// The source as the endpoint sees it, when it is masqueraded.
    pub masqueraded_to: Option<String>,
    /// The source port as the endpoint sees it, when it is masqueraded.
    pub masqueraded_port: Option<u16>,
    /// State, such as `established`.
    pub state: String,
    /// Since the first packet.
    pub age_ms: u64,
    /// Since the last packet.
    pub idle_ms: u64,
    /// Packets of both directions.
    pub packets: u64,
    /// Bytes of both directions.
    pub bytes: u64,
}

/// All counters since start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersReport {
    /// The balance and whatever else the packet side counts, by stable name.
    pub totals: BTreeMap<String, u64>,
    /// Every drop reason, also those that never happened.
    pub drops: Vec<DropCount>,
    /// By port.
    pub ports: Vec<PortCounters>,
    /// What no worker ever had, and so is in no balance.
    #[serde(default)]
    pub lost: Vec<LostCount>,
    /// By worker.
    #[serde(default)]
    pub workers: Vec<WorkerTotals>,
    /// As [`super::Status::tsc_hz`].
    #[serde(default)]
    pub tsc_hz: Option<u64>,
    /// How full the rings of the uplink's queues are at this moment.
    #[serde(default)]
    pub rings: Vec<RingRow>,
}

/// The rings that a queue shares with the kernel, between two rounds of its worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingRow {
    /// Slot of the port.
    pub slot: u16,
    /// As [`PortCounters::name`].
    pub port: String,
    /// Number of the NIC's queue.
    pub queue: u32,
    /// The worker that it belongs to.
    pub worker: u16,
    /// Packets that came and wait for the worker.
    pub rx: RingLevel,
    /// Frames of memory that the kernel may receive into.
    pub fill: RingLevel,
    /// Packets that the kernel has not begun to send.
    pub tx: RingLevel,
    /// Packets that were sent and whose memory was not taken back yet.
    pub completion: RingLevel,
}

/// Entries of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingLevel {
    /// In use.
    pub used: u32,
    /// That there are.
    pub size: u32,
}

/// Packets that a device lost on their way to a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostCount {
    /// Slot of the port.
    pub slot: u16,
    /// As [`PortCounters::name`].
    pub port: String,
    /// Stable name.
    pub cause: String,
    /// The cause, for a person.
    pub text: String,
    /// What to do, for a person.
    pub remedy: String,
    /// How many packets.
    pub packets: u64,
}

/// Drops for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// Stable name.
    pub reason: String,
    /// The kind of remedy: `capacity`, `configuration`, `sender`, `policy`, `unsupported`, `passing` or `expected`.
    pub group: String,
    /// The cause, for a person.
    pub text: String,
    /// What to do, for a person.
    pub remedy: String,
    /// How many packets.
    pub packets: u64,
}

/// Some of the packets that were dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsReport {
    /// All packets dropped since start, of the reasons that were asked for.
    pub dropped_packets: u64,
    /// Those of the group `expected`, when they were not asked for.
    pub expected_packets: u64,
    /// Samples that match, of which `drops` are some.
    pub matching_samples: u64,
    /// The latest, newest first; each reason has its share of them.
    pub drops: Vec<DropRow>,
    /// The reasons of `drops`, with what they mean, in the order of their groups.
    pub reasons: Vec<DropCount>,
}

/// A dropped packet. Addresses and ports are what its bytes claim, which nobody has checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// How long ago.
    pub age_ms: u64,
    /// Stable name of the reason.
    pub reason: String,
    /// The port it came in by: `uplink`, `host`, or `namespace/name` of the pod; absent when that pod is gone.
    pub port: Option<String>,
    /// The port it was to leave by, if that was decided.
    pub to_port: Option<String>,
    /// The node at the other end of the tunnel that it came through or was to leave by; its address where no node is known.
    pub tunnel: Option<String>,
    /// `tcp`, `udp`, `icmp`, ... or a number; `arp`; or the Ethernet type of what is no IP. Absent when the frame is too short to tell.
    pub protocol: Option<String>,
    /// Source address.
    pub source: Option<String>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination address.
    pub destination: Option<String>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Source MAC.
    pub source_mac: Option<String>,
    /// Destination MAC.
    pub destination_mac: Option<String>,
    /// The pod of this node that has the source address.
    pub source_pod: Option<String>,
    /// The pod of this node that has the destination address.
    pub destination_pod: Option<String>,
    /// Bytes of the frame; 0 where the device dropped it and nothing is known.
    pub length: u32,
    /// Its first bytes, in hexadecimal.
    pub bytes: String,
    /// The worker that dropped it. Together with `reason` and `sequence` it names this sample.
    pub worker: u16,
    /// Counts the samples of this worker and reason.
    pub sequence: u64,
}

/// Counters of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    /// Slot of the port.
    pub slot: u16,
    /// `uplink`, `host`, or `namespace/name` of the pod; empty where the packet side does not know, and filled in
    /// here.
    pub name: String,
    /// Packets that came in by it.
    pub rx_packets: u64,
    /// Bytes that came in by it.
    pub rx_bytes: u64,
    /// Packets that left by it.
    pub tx_packets: u64,
    /// Bytes that left by it.
    pub tx_bytes: u64,
    /// Packets that its device lost before a worker had them.
    pub lost_packets: u64,
}

/// How the agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// Inode of its process namespace, which tells one container's agent from another's.
    pub pid_namespace: u64,
    /// Why it should be started anew; `null` when it moves.
    pub not_live: Option<String>,
    /// What it waits for; `null` when a complete state was served.
    pub not_ready: Option<String>,
}

/// What the agent's log writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAnswer {
    /// Levels, as [`super::LogRequest::filter`].
    pub filter: String,
}

/// A pod was connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachAnswer {
    /// `namespace/name`.
    pub pod: String,
    /// Name of the interface in the pod.
    pub interface: String,
    /// Its MAC.
    pub mac: String,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Addresses it was given.
    pub addresses: Vec<String>,
    /// Default gateways of the pod.
    pub gateways: Vec<String>,
    /// What could not be done, without being an error.
    pub warnings: Vec<String>,
}
