//! Packets as values, from which etherparse builds frames: what the engine sends must be what an independent builder builds.

use crate::world::addresses::TUNNEL_PORT;
use etherparse::{IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder};
use sluice_wire::{Addr, ETH_LEN, MacAddr, Proto, Tuple};

type End = (Addr, u16);

/// A UDP packet that carries zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Udp {
    /// Source and destination.
    pub(crate) macs: (MacAddr, MacAddr),
    pub(crate) src: End,
    pub(crate) dst: End,
    pub(crate) ttl: u8,
    /// The whole frame, from the Ethernet header on.
    pub(crate) bytes: usize,
}

impl Udp {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let payload = vec![0; self.bytes.saturating_sub(headers(self.src.0))];
        build(self.macs, self.src, self.dst, self.ttl, None, &payload)
    }

    pub(crate) fn tuple(&self) -> Tuple {
        Tuple {
            src: self.src.0,
            dst: self.dst.0,
            sport: self.src.1,
            dport: self.dst.1,
            proto: Proto::UDP,
        }
    }
}

/// What a tunnel puts in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outer {
    pub(crate) macs: (MacAddr, MacAddr),
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) source_port: u16,
    /// Identification of an IPv4 header.
    pub(crate) id: u16,
}

impl Outer {
    pub(crate) fn around(&self, inner: &Udp) -> Vec<u8> {
        let mut payload = vec![8, 0, 0, 0, 0, 0, 1, 0];
        payload.extend(inner.frame());
        let (src, dst) = ((self.src, self.source_port), (self.dst, TUNNEL_PORT));
        let mut frame = build(self.macs, src, dst, 64, Some(self.id), &payload);
        if self.src.is_v4() {
            // Without a checksum, as flannel's kernel sends it.
            let at = headers(self.src) - 2;
            frame[at..at + 2].fill(0);
        }
        frame
    }
}

/// Bytes of Ethernet, IP and UDP headers.
fn headers(family: Addr) -> usize {
    ETH_LEN + if family.is_v4() { 20 } else { 40 } + 8
}

/// A UDP packet. `outer_id` is what a tunnel's outer header has for identification; it may be fragmented, other packets may not.
pub(crate) fn build(
    (eth_src, eth_dst): (MacAddr, MacAddr),
    src: End,
    dst: End,
    ttl: u8,
    outer_id: Option<u16>,
    payload: &[u8],
) -> Vec<u8> {
    let ip = if src.0.is_v4() {
        let header = Ipv4Header {
            identification: outer_id.unwrap_or(0),
            dont_fragment: outer_id.is_none(),
            time_to_live: ttl,
            source: src.0.v4_octets(),
            destination: dst.0.v4_octets(),
            ..Default::default()
        };
        IpHeaders::Ipv4(header, Default::default())
    } else {
        let header = Ipv6Header {
            hop_limit: ttl,
            source: src.0.octets(),
            destination: dst.0.octets(),
            ..Default::default()
        };
        IpHeaders::Ipv6(header, Default::default())
    };
    let builder = PacketBuilder::ethernet2(eth_src.0, eth_dst.0).ip(ip).udp(src.1, dst.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder
        .write(&mut frame, payload)
        .expect("a packet of a few thousand bytes can be written");
    frame
}
