//! What the XDP program takes, decided slowly in Rust; for the addresses and ports that the tests give it.

use super::tests::{MAC, NODE4, NODE6, POD4, POD6, SERVICE4, SERVICE6, TUNNEL};
use sluice_wire::Addr;
use std::collections::BTreeSet;

/// Whether a frame is ours by the list in the module's documentation, written down again without any cleverness; fragments but the
/// first aside, see [`Twin`].
pub(super) fn twin(frame: &[u8]) -> bool {
    frame.starts_with(&MAC.0) && twin_parts(frame).unwrap_or(false)
}

/// Source, destination, identification, and in IPv4 the protocol.
type PacketId = (Addr, Addr, u32, u8);

/// Remembers first fragments that are ours.
#[derive(Default)]
pub(super) struct Twin(BTreeSet<PacketId>);

impl Twin {
    pub(super) fn takes(&mut self, frame: &[u8]) -> bool {
        let take = twin(frame);
        match piece(frame) {
            _ if !frame.starts_with(&MAC.0) => false,
            Some((id, true)) => take || self.0.contains(&id),
            Some((id, false)) if take => {
                self.0.insert(id);
                true
            }
            Some((id, false)) => {
                self.0.remove(&id);
                false
            }
            None => take,
        }
    }
}

/// Which packet a fragment is of, and whether it is a later one.
fn piece(frame: &[u8]) -> Option<(PacketId, bool)> {
    let packet = frame.get(14..)?;
    let v6 = match half(frame, 12)? {
        0x0800 if packet.len() >= 20 && packet[0] >> 4 == 4 => false,
        0x86dd if packet.len() >= 40 && packet[0] >> 4 == 6 => true,
        _ => return None,
    };
    if !v6 {
        let header = usize::from(packet[0] & 15) * 4;
        let field = half(packet, 6)?;
        if header < 20 || usize::from(half(packet, 2)?) < header || field & 0x3fff == 0 {
            return None;
        }
        let addr = |at: usize| Addr::v4(packet[at..at + 4].try_into().unwrap());
        let id = (addr(12), addr(16), half(packet, 4)?.into(), packet[9]);
        return Some((id, field & 0x1fff != 0));
    }
    let (mut next, mut at) = (packet[6], 40);
    let mut found = None;
    for _ in 0..8 {
        let header = match next {
            0 | 43 | 44 | 60 => packet.get(at..at + 8),
            _ => break,
        };
        let Some(header) = header else { break };
        if next == 44 {
            let field = half(header, 2)?;
            let addr = |at: usize| Addr::v6(packet[at..at + 16].try_into().unwrap());
            let id = u32::from(half(header, 4)?) << 16 | u32::from(half(header, 6)?);
            found = (field & 0xfff9 != 0).then_some(((addr(8), addr(24), id, 0), field & 0xfff8 != 0));
            if field & 0xfff8 != 0 {
                break;
            }
            at += 8;
        } else {
            at += usize::from(header[1]) * 8 + 8;
        }
        next = header[0];
    }
    found
}

fn owned(node: bool, v6: bool, addr: Addr, proto: u8, port: u16) -> bool {
    let service = [(SERVICE4, 6, 80), (SERVICE6, 17, 53), (NODE4, 132, 5000)].contains(&(addr, proto, port));
    let node_ports = [
        (false, 6, 30_080),
        (true, 17, 30_053),
        (false, 132, 30_132),
        (true, 132, 30_132),
    ];
    let masqueraded = [(6, 40_001), (17, 40_002), (132, 40_003)];
    service || node && (node_ports.contains(&(v6, proto, port)) || masqueraded.contains(&(proto, port)))
}

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Source, destination, protocol, what follows: nothing in later fragments. Quoted packets are looked at less closely.
type Parts<'a> = (Addr, Addr, u8, Option<&'a [u8]>);

fn packet(v6: bool, bytes: &[u8], quoted: bool) -> Option<Parts<'_>> {
    if v6 {
        let header = bytes.get(..40).filter(|h| h[0] >> 4 == 6)?;
        let addr = |at: usize| Addr::v6(header[at..at + 16].try_into().unwrap());
        let (proto, rest) = if quoted && header[6] == 44 {
            let fragment = bytes.get(40..48)?;
            (
                fragment[0],
                bytes.get(48..).filter(|_| half(fragment, 2).unwrap() & 0xfff8 == 0),
            )
        } else if quoted {
            (header[6], Some(&bytes[40..]))
        } else {
            extensions(header[6], &bytes[40..], 8).map_or((0, None), |(proto, rest)| (proto, Some(rest)))
        };
        return Some((addr(8), addr(24), proto, rest));
    }
    let header = bytes.get(..20).filter(|h| h[0] >> 4 == 4)?;
    let len = usize::from(header[0] & 15) * 4;
    let addr = |at: usize| Addr::v4(header[at..at + 4].try_into().unwrap());
    if len < 20 || !quoted && usize::from(half(header, 2)?) < len {
        return None;
    }
    let rest = bytes.get(len..).filter(|_| half(header, 6).unwrap() & 0x1fff == 0);
    Some((addr(12), addr(16), header[9], rest))
}

fn extensions(next: u8, bytes: &[u8], most: usize) -> Option<(u8, &[u8])> {
    let len = match next {
        _ if most == 0 => return None,
        44 if half(bytes, 2)? & 0xfff8 != 0 => return None,
        44 => 8,
        0 | 43 | 60 => usize::from(*bytes.get(1)?) * 8 + 8,
        _ => return Some((next, bytes)),
    };
    bytes.get(..8)?;
    extensions(bytes[0], bytes.get(len..).unwrap_or_default(), most - 1)
}

fn is_fragment(v6: bool, packet: &[u8]) -> bool {
    if !v6 {
        return half(packet, 6).unwrap() & 0x3fff != 0;
    }
    let (mut next, mut at) = (packet[6], 40);
    while [0, 43, 60].contains(&next) {
        (next, at) = (packet[at], at + usize::from(packet[at + 1]) * 8 + 8);
    }
    next == 44
}

fn twin_parts(frame: &[u8]) -> Option<bool> {
    let v6 = match half(frame, 12)? {
        0x0800 => false,
        0x86dd => true,
        _ => return None,
    };
    let (_, dst, proto, l4) = packet(v6, frame.get(14..)?, false)?;
    let pods: &[u8] = if v6 { &POD6.octets()[..4] } else { &POD4.octets()[..14] };
    if dst.octets().starts_with(pods) {
        return Some(true);
    }
    let l4 = l4?;
    let node = dst == NODE4 || dst == NODE6;
    let (icmp, reply, request, echo) = if v6 { (58, 129, 128, 78) } else { (1, 0, 8, 77) };
    if proto == icmp {
        let header = l4.get(..8)?;
        if header[0] == reply {
            return Some(node && half(header, 4)? == echo);
        }
        let error = if v6 {
            (1..=4).contains(&header[0])
        } else {
            [3, 11, 12].contains(&header[0])
        };
        let (src, _, proto, l4) = packet(v6, &l4[8..], true).filter(|_| error)?;
        let first = l4?.get(..8).filter(|_| src == dst)?;
        if proto == icmp {
            return Some(node && first[0] == request && half(first, 4)? == echo);
        }
        return Some(node && proto == 17 && half(first, 2)? == TUNNEL || owned(node, v6, src, proto, half(first, 0)?));
    }
    let least = match proto {
        6 | 17 | 132 if is_fragment(v6, &frame[14..]) => 8,
        6 => 20,
        17 => 8,
        132 => 12,
        _ => return None,
    };
    let header = l4.get(..least)?;
    let port = half(header, 2)?;
    if node && proto == 17 && port == TUNNEL {
        return Some(!is_fragment(v6, &frame[14..]));
    }
    Some(owned(node, v6, dst, proto, port))
}
