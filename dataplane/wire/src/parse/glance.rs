//! Reads what a frame claims to be from as many of its first bytes as there are, for people to look at. Nothing may be decided by it: no
//! length or checksum is checked, and a frame that the parser refuses is read as far as it goes.

use super::{ETH_LEN, ethertype, ipv4, ipv6};
use crate::{Addr, MacAddr, Proto, arp};

/// What a frame's first bytes claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Source and destination of the Ethernet header.
    pub macs: Option<(MacAddr, MacAddr)>,
    /// The Ethernet type field.
    pub ethertype: Option<u16>,
    /// Addresses, where there are any.
    pub ip: Option<Claim>,
}

/// Addresses that a packet claims to go from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Source; the sender of an ARP packet.
    pub src: Addr,
    /// Destination; who an ARP packet asks for.
    pub dst: Addr,
    /// IP protocol; `None` for ARP.
    pub proto: Option<Proto>,
    /// Source and destination port of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
    /// Where the transport header would begin, from the frame's first byte.
    l4: usize,
}

impl Glance {
    /// Reads the beginning of a frame.
    pub fn new(bytes: &[u8]) -> Self {
        let Some((ethernet, rest)) = bytes.split_first_chunk::<ETH_LEN>() else {
            return Self::default();
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low] = *ethernet;
        let kind = u16::from_be_bytes([high, low]);
        Self {
            macs: Some((MacAddr([s0, s1, s2, s3, s4, s5]), MacAddr([d0, d1, d2, d3, d4, d5]))),
            ethertype: Some(kind),
            ip: match kind {
                ethertype::IPV4 => v4(rest),
                ethertype::IPV6 => v6(rest),
                ethertype::ARP => arp(rest),
                _ => None,
            },
        }
    }

    /// The frame inside, if this one claims to be a VXLAN packet to UDP port `port`.
    pub fn inside<'a>(&self, bytes: &'a [u8], port: u16) -> Option<&'a [u8]> {
        let ip = self
            .ip
            .filter(|ip| ip.proto == Some(Proto::UDP) && ip.ports.is_some_and(|(_, to)| to == port))?;
        // UDP and VXLAN header, 8 bytes each.
        bytes.get(ip.l4 + 16..)
    }
}

fn v4(packet: &[u8]) -> Option<Claim> {
    let header = packet.first_chunk::<20>()?;
    let (src, dst) = ipv4::addresses(header);
    let len = usize::from(header[0] & 0x0f).max(5) * 4;
    let first = ipv4::fragment(header).is_none_or(|fragment| fragment.offset == 0);
    Some(claim(packet, (src, dst), Proto(header[9]), len, first))
}

fn v6(packet: &[u8]) -> Option<Claim> {
    let header = packet.first_chunk::<40>()?;
    let addresses = ipv6::addresses(header)?;
    Some(match ipv6::walk(packet) {
        Ok(walk) => {
            let first = walk.fragment.is_none_or(|fragment| fragment.offset == 0);
            claim(packet, addresses, walk.proto, walk.l4, first)
        }
        Err(_) => claim(packet, addresses, Proto(header[6]), 40, false),
    })
}

fn arp(packet: &[u8]) -> Option<Claim> {
    let arp = arp::view(packet).ok()?;
    Some(Claim {
        src: arp.sender,
        dst: arp.target,
        proto: None,
        ports: None,
        l4: ETH_LEN,
    })
}

fn claim(packet: &[u8], (src, dst): (Addr, Addr), proto: Proto, len: usize, first: bool) -> Claim {
    let has_ports = first && matches!(proto, Proto::TCP | Proto::UDP | Proto::SCTP);
    let ports = packet.get(len..).and_then(|segment| segment.first_chunk::<4>());
    Claim {
        src,
        dst,
        proto: Some(proto),
        ports: ports
            .filter(|_| has_ports)
            .map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        l4: ETH_LEN + len,
    }
}
