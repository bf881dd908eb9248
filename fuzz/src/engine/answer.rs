//! What the receiver of a frame would answer. A fuzzer would have to guess the port that a connection is masqueraded with; an answer has it.

use super::LONGEST_SMALL;
use super::bench::{Sent, coming};
use super::packet::{L4, Packet};
use super::world::{TUNNEL_PORT, UPLINK};
use sluice_wire::{Kind, MacAddr, Meta, Parsed, parse};

const UDP_HEADER: usize = 8;
const VXLAN_HEADER: usize = 8;

/// The answer to what left, and where it comes in; `None` where nobody would answer.
pub(super) fn to(sent: &Sent, flags: u8, len: u8) -> Option<(Meta, Vec<u8>)> {
    let outer = ip(&sent.bytes)?;
    let tunnel = sent.port == UPLINK && outer.kind == Kind::Udp && outer.tuple.dport == TUNNEL_PORT;
    let headers = if tunnel {
        usize::from(outer.l4) + UDP_HEADER + VXLAN_HEADER
    } else {
        0
    };
    let asked = sent.bytes.get(headers..)?;
    let (receiver, sender) = (mac(asked, 0)?, mac(asked, 6)?);
    let answer = packet(&ip(asked)?, flags, len)?.between(receiver, sender).frame();
    let bytes = if tunnel {
        coming(!outer.v6).around(&answer)
    } else {
        answer
    };
    (bytes.len() <= LONGEST_SMALL).then(|| (Meta::from_port(sent.port), bytes))
}

fn ip(frame: &[u8]) -> Option<Parsed> {
    match parse(frame) {
        Ok(sluice_wire::Packet::Ip(parsed)) if !parsed.fragment => Some(parsed),
        _ => None,
    }
}

fn mac(frame: &[u8], at: usize) -> Option<MacAddr> {
    frame.get(at..)?.first_chunk().copied().map(MacAddr)
}

fn packet(asked: &Parsed, flags: u8, len: u8) -> Option<Packet> {
    let tuple = &asked.tuple;
    let (src, dst) = ((tuple.dst, tuple.dport), (tuple.src, tuple.sport));
    let packet = match asked.kind {
        Kind::Tcp => Packet::tcp(src, dst, flags),
        Kind::Udp => Packet::udp(src, dst),
        Kind::EchoRequest => Packet {
            l4: L4::EchoReply,
            ..Packet::ping(src.0, dst.0, tuple.sport)
        },
        _ => return None,
    };
    Some(packet.with(vec![len; usize::from(len)]))
}
