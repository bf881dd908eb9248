//! Decides which frames of an uplink are Sluice's and which stay the kernel's. It never moves one.
//!
//! A small XDP program (`sluice_uplink.bpf.c`) sends to the AF_XDP socket of the queue a frame came in by, if it is for the uplink's own
//! MAC:
//! - UDP to the tunnel port of one of the node's addresses, unless it is a fragment;
//! - anything to a service's address and port, or to a node port of one of the node's addresses of that family;
//! - replies to ports of the node's addresses that are owned for masquerading, and echo replies to owned identifiers;
//! - ICMP errors that quote one of these;
//! - anything to a pod's address: it comes through the tunnel or not at all, and a host that forwards would let it in.
//!
//! A first fragment is judged by its ports like a whole packet, and remembered: later ones go the same way. One that comes before its
//! first passes to the kernel, which has nothing to answer then; its packet is lost. Fragments of tunnel packets are the kernel's
//! to put together ([`crate::reassembled`]). IPv6 extension headers are looked behind, so that the kernel cannot answer for us. All else, among it broadcasts, frames
//! for other MACs, VLAN tags and what cannot be parsed, passes to the kernel. What is ours while no socket
//! lives is dropped, as the kernel's answer (a reset, port unreachable) would end connections that the next agent takes up.
//!
//! A tester takes everything instead ([`Everything`]).

mod attach;
mod everything;
mod feed;
mod pin;
mod ports;
mod steering;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

pub use everything::Everything;
pub use feed::{Feed, MAX_QUEUES};
pub use ports::OwnedPorts;
pub use steering::{MAX_FRONTENDS, MAX_NODE_ADDRESSES, MAX_POD_RANGES, Steering, SteeringError};
