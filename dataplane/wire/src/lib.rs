//! Decides how bytes on the wire become typed headers and keys, and back. It never does I/O, reads a clock, logs or allocates per packet.

mod addr;
pub mod arp;
mod build;
mod burst;
pub mod checksum;
mod coalesce;
mod crc32c;
mod drop;
mod flow;
mod flow_words;
mod fragment;
mod frame;
pub mod icmp;
mod ids;
mod mss;
pub mod ndp;
mod options;
mod parse;
mod patch;
mod probe;
mod reset;
pub mod rewrite;
mod segment;
pub mod udp;

pub use addr::{Addr, MacAddr};
pub use arp::{Arp, ArpOp};
pub use burst::{BURST, Burst};
pub use coalesce::Coalescing;
pub use drop::{DropGroup, DropReason};
pub use flow::{FlowKey, Proto, Scope, Tuple, stable_hash};
pub use flow_words::FlowWords;
pub use fragment::FragmentPlan;
pub use frame::{Checksum, Frame, Gso, GsoKind, Meta};
pub use icmp::IcmpError;
pub use ids::{DepId, Generation, Identity, PortSlot, Vni, WorkerId};
pub use mss::clamp_mss;
pub use options::check_options;
pub use parse::{
    Claim, ETH_LEN, Fragment, Glance, Kind, MAX_IP_LEN, Packet, Parsed, Plain, Quoted, ethertype, parse, parse_ip,
    parse_quoted, tcp_flags,
};
pub use patch::Patch;
pub use probe::tcp_probe;
pub use reset::tcp_reset;
pub use rewrite::Rewrite;
pub use segment::SegmentPlan;
