//! How far into the engine frames come from the wire, so that a test can tell whether fuzzing still gets there.

use super::bench::Sent;
use super::world::{A, B, NODE, NODE_PORT, TUNNEL_PORT, UPLINK};
use sluice_wire::{DropReason, Packet, PortSlot, Proto, Tuple, parse};

/// What the frames of inputs led to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Frames that came in by the uplink.
    pub from_wire: u64,
    /// Frames that were refused for their MAC.
    pub other_mac: u64,
    /// Packets from the wire that left a tunnel for a pod.
    pub out_of_tunnels: u64,
    /// Packets to a node port that a pod got, here or on the other node.
    pub to_node_ports: u64,
    /// Answers to masqueraded packets that a pod got.
    pub to_masqueraded: u64,
}

impl Seen {
    /// Notes a frame that came in by `port`, alone, and what left.
    pub(super) fn note(&mut self, port: PortSlot, bytes: &[u8], sent: &[Sent]) {
        let Some(came) = tuple(bytes).filter(|_| port == UPLINK) else {
            return;
        };
        let to_pod = sent
            .iter()
            .any(|sent| [A.slot, B.slot].contains(&sent.port) && !is_icmp(&sent.bytes));
        let to_peer = sent
            .iter()
            .any(|sent| sent.port == UPLINK && tuple(&sent.bytes).is_some_and(|left| left.dport == TUNNEL_PORT));
        let to_node = came.dst == NODE.addr(came.dst.is_v4());
        if came.dport == TUNNEL_PORT {
            self.out_of_tunnels += u64::from(to_pod);
        } else if to_node && came.dport == NODE_PORT {
            self.to_node_ports += u64::from(to_pod || to_peer);
        } else if to_node {
            self.to_masqueraded += u64::from(to_pod);
        }
    }

    /// Notes what a worker counted.
    pub(super) fn count(&mut self, counters: &crate::Counters) {
        self.from_wire += counters.ports[UPLINK.index()].received.get().0;
        self.other_mac += counters.dropped[DropReason::OtherMac.index()].get().0;
    }
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, more: Self) {
        self.from_wire += more.from_wire;
        self.other_mac += more.other_mac;
        self.out_of_tunnels += more.out_of_tunnels;
        self.to_node_ports += more.to_node_ports;
        self.to_masqueraded += more.to_masqueraded;
    }
}

fn tuple(frame: &[u8]) -> Option<Tuple> {
    match parse(frame) {
        Ok(Packet::Ip(parsed)) => Some(parsed.tuple),
        _ => None,
    }
}

fn is_icmp(frame: &[u8]) -> bool {
    tuple(frame).is_some_and(|tuple| [Proto::ICMP, Proto::ICMPV6].contains(&tuple.proto))
}
