//! Decides how a packet's headers are changed in place, checksums included. It never decides what to change, and never
//! looks at the payload (except for SCTP, whose checksum cannot be corrected from the header alone).

use crate::checksum::{self, Sum};
use crate::{Addr, Checksum, Kind, MacAddr, Parsed, Tuple, crc32c, parse_quoted};

/// New source and destination, each an address and a port (for echo: the identifier).
///
/// The family never changes. Protocols without ports take the addresses only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// New source; `None` leaves it.
    pub src: Option<(Addr, u16)>,
    /// New destination; `None` leaves it.
    pub dst: Option<(Addr, u16)>,
}

impl Rewrite {
    /// What turns `from` into `to`, and nothing else.
    pub fn between(from: &Tuple, to: &Tuple) -> Self {
        let changed = |a: (Addr, u16), b: (Addr, u16)| (a != b).then_some(b);
        Self {
            src: changed((from.src, from.sport), (to.src, to.sport)),
            dst: changed((from.dst, from.dport), (to.dst, to.dport)),
        }
    }

    /// Whether nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.src.is_none() && self.dst.is_none()
    }

    fn fits(&self, v6: bool) -> bool {
        [self.src, self.dst]
            .into_iter()
            .flatten()
            .all(|(addr, _)| addr.is_v4() != v6)
    }
}

/// What a change took out of a packet and put in, as checksums see it.
#[derive(Clone, Copy, Default)]
struct Change {
    old: Sum,
    new: Sum,
}

impl Change {
    /// Writes `new` over `field` (two bytes at an even offset of the packet) and notes both.
    fn write(&mut self, field: &mut [u8; 2], new: u16) {
        self.old = self.old + Sum::of(u16::from_be_bytes(*field));
        self.new = self.new + Sum::of(new);
        *field = new.to_be_bytes();
    }

    fn and(self, other: Self) -> Self {
        Self {
            old: self.old + other.old,
            new: self.new + other.new,
        }
    }

    fn apply_to(self, field: &mut [u8; 2]) {
        *field = checksum::update(u16::from_be_bytes(*field), self.old, self.new).to_be_bytes();
    }
}

/// Applies `r` to the packet `p` in `frame`, with its checksums corrected by the difference, so that a checksum that was
/// wrong stays wrong. A UDP checksum of 0 over IPv4 stays 0; one that becomes 0 is written as 0xffff.
///
/// A field under [`Checksum::Partial`] holds the sum of the pseudo-header, so only addresses change it.
/// False, with nothing changed, when `frame` is not the one that was parsed, `r` is of the other family, or the ports of a
/// fragmented SCTP packet would change.
pub fn apply(frame: &mut [u8], p: &Parsed, checksum: Checksum, r: &Rewrite) -> bool {
    let Some(packet) = frame.get_mut(usize::from(p.l3)..p.end as usize) else {
        return false;
    };
    let Some((ip, segment)) = packet.split_at_mut_checked(usize::from(p.l4 - p.l3)) else {
        return false;
    };
    let sctp_ports = p.kind == Kind::Sctp && p.fragment && ports_differ(segment, r);
    if !r.fits(p.v6) || sctp_ports || segment.len() < usize::from(p.payload - p.l4) {
        return false;
    }
    let Some(addresses) = write_addresses(ip, p.v6, r) else {
        return false;
    };
    write_transport(segment, p.kind, p.v6, addresses, p.is_partial(checksum), r);
    true
}

fn ports_differ(segment: &[u8], r: &Rewrite) -> bool {
    let Some(h) = segment.first_chunk::<4>() else {
        return false;
    };
    r.src.is_some_and(|(_, port)| port.to_be_bytes() != h[..2])
        || r.dst.is_some_and(|(_, port)| port.to_be_bytes() != h[2..])
}

/// Writes the addresses into the IP header `ip`, with the IPv4 header's checksum.
fn write_addresses(ip: &mut [u8], v6: bool, r: &Rewrite) -> Option<Change> {
    let mut change = Change::default();
    if v6 {
        let header = ip.first_chunk_mut::<40>()?;
        for (at, new) in [(8, r.src), (24, r.dst)] {
            if let (Some((addr, _)), Some(field)) = (new, header[at..].first_chunk_mut::<16>()) {
                change.old = change.old + Sum::of_addr(&Addr::v6(*field));
                change.new = change.new + Sum::of_addr(&addr);
                *field = addr.octets();
            }
        }
    } else {
        let header = ip.first_chunk_mut::<20>()?;
        for (at, new) in [(12, r.src), (16, r.dst)] {
            if let (Some((addr, _)), Some(field)) = (new, header[at..].first_chunk_mut::<4>()) {
                change.old = change.old + Sum::of_u32(u32::from_be_bytes(*field));
                change.new = change.new + Sum::of_addr(&addr);
                *field = addr.v4_octets();
            }
        }
        change.apply_to(header[10..].first_chunk_mut()?);
    }
    Some(change)
}

/// Writes ports or identifier into the transport header, and corrects its checksum where the segment reaches that far.
fn write_transport(segment: &mut [u8], kind: Kind, v6: bool, addresses: Change, partial: bool, r: &Rewrite) {
    let mut ports = Change::default();
    let mut write = |at: usize, new: u16| {
        if let Some(field) = segment.get_mut(at..).and_then(|s| s.first_chunk_mut::<2>()) {
            ports.write(field, new);
        }
    };
    let check_at = match kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp => {
            for (at, new) in [(0, r.src), (2, r.dst)] {
                if let Some((_, port)) = new {
                    write(at, port);
                }
            }
            if kind == Kind::Tcp { 16 } else { 6 }
        }
        Kind::EchoRequest | Kind::EchoReply => {
            // Either end may carry the new identifier; the other then repeats the old one.
            let old = segment.get(4..6).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
            let new = [r.src, r.dst]
                .into_iter()
                .flatten()
                .map(|(_, id)| id)
                .find(|id| *id != old);
            if let Some(id) = new
                && let Some(field) = segment.get_mut(4..).and_then(|s| s.first_chunk_mut::<2>())
            {
                ports.write(field, id);
            }
            2
        }
        Kind::IcmpError { .. } | Kind::Ndp(_) | Kind::OtherIcmp => 2,
        Kind::Other => return,
    };
    if kind == Kind::Sctp {
        if ports.old != ports.new {
            crc32c::write(segment);
        }
        return;
    }
    let Some(field) = segment.get_mut(check_at..).and_then(|s| s.first_chunk_mut::<2>()) else {
        return;
    };
    let has_pseudo_header = v6 || matches!(kind, Kind::Tcp | Kind::Udp);
    let held = u16::from_be_bytes(*field);
    if partial {
        let sum = if has_pseudo_header {
            Sum::of(held) + addresses.old.negated() + addresses.new
        } else {
            Sum::of(held)
        };
        *field = sum.folded().to_be_bytes();
    } else if !has_pseudo_header && ports.old == ports.new {
        // Nothing that the checksum covers has changed; of an echo reply of zeros even no difference would change it.
    } else if kind != Kind::Udp || held != 0 {
        if has_pseudo_header { addresses.and(ports) } else { ports }.apply_to(field);
        let is_zero = *field == [0, 0];
        // A datagram's 0 would mean that there is no checksum. An echo reply of nothing but zeros sums to a plain zero, at
        // which no difference arrives (RFC 1624 section 3).
        if is_zero
            && (kind == Kind::Udp || is_blank_echo(segment, &ports))
            && let Some(field) = segment.get_mut(check_at..check_at + 2)
        {
            field.fill(0xff);
        }
    }
}

/// Whether an identifier became 0 in a message that has nothing but zeros. One whose checksum was wrong has another than 0.
fn is_blank_echo(segment: &[u8], id: &Change) -> bool {
    id.old != id.new && segment.iter().all(|byte| *byte == 0)
}

/// Applies `r` to the packet that the ICMP error `p` quotes: its addresses, ports or identifier and, as far as they are
/// quoted, its checksums; then the ICMP checksum. `r` is seen from the quoted packet: its source is the quoted source.
///
/// False, with nothing changed, when `p` is no ICMP error or quotes nothing that [`parse_quoted`] can read.
pub fn rewrite_quoted(frame: &mut [u8], p: &Parsed, r: &Rewrite) -> bool {
    let Kind::IcmpError { quoted } = p.kind else {
        return false;
    };
    let Some(message) = frame.get_mut(usize::from(p.l4)..p.end as usize) else {
        return false;
    };
    let Some((icmp, quote)) = message.split_at_mut_checked(usize::from(quoted.saturating_sub(p.l4))) else {
        return false;
    };
    let Some(q) = parse_quoted(quote).filter(|q| r.fits(q.v6)) else {
        return false;
    };
    let old = checksum::sum(quote);
    let Some((ip, segment)) = quote.split_at_mut_checked(usize::from(q.l3_len)) else {
        return false;
    };
    let Some(addresses) = write_addresses(ip, q.v6, r) else {
        return false;
    };
    if q.kind == Kind::Sctp {
        // The quoted checksum covers data that is not quoted, and no receiver of the error looks at it.
        write_ports(segment, r);
    } else {
        write_transport(segment, q.kind, q.v6, addresses, false, r);
    }
    let new = checksum::sum(quote);
    let Some(field) = icmp.get_mut(2..).and_then(|s| s.first_chunk_mut()) else {
        return false;
    };
    Change { old, new }.apply_to(field);
    true
}

fn write_ports(segment: &mut [u8], r: &Rewrite) {
    for (at, new) in [(0, r.src), (2, r.dst)] {
        if let (Some((_, port)), Some(field)) = (new, segment.get_mut(at..at + 2)) {
            field.copy_from_slice(&port.to_be_bytes());
        }
    }
}

/// Lowers the TTL or hop limit by one. False, with nothing changed, when it would reach zero: the packet must not go on.
pub fn decrement_ttl(frame: &mut [u8], p: &Parsed) -> bool {
    let Some(ip) = frame.get_mut(usize::from(p.l3)..) else {
        return false;
    };
    if p.v6 {
        match ip.get_mut(7) {
            Some(hops) if *hops > 1 => *hops -= 1,
            _ => return false,
        }
        return true;
    }
    let Some(header) = ip.first_chunk_mut::<20>() else {
        return false;
    };
    if header[8] <= 1 {
        return false;
    }
    let old = u16::from_be_bytes([header[8], header[9]]);
    write_word(header, 8, old - 0x100);
    true
}

/// Sets the ECN bits, the lower two of `ecn`; DSCP stays.
pub fn set_ecn(frame: &mut [u8], p: &Parsed, ecn: u8) {
    set_tos_bits(frame, p, 0x03, ecn);
}

/// Sets the DSCP, the lower six bits of `dscp`; ECN stays.
pub fn set_dscp(frame: &mut [u8], p: &Parsed, dscp: u8) {
    set_tos_bits(frame, p, 0xfc, dscp << 2);
}

/// Replaces the bits in `mask` of the type of service or traffic class.
fn set_tos_bits(frame: &mut [u8], p: &Parsed, mask: u8, bits: u8) {
    let Some(ip) = frame.get_mut(usize::from(p.l3)..) else {
        return;
    };
    if p.v6 {
        let Some(word) = ip.first_chunk_mut::<2>() else { return };
        let mask = u16::from(mask) << 4;
        *word = (u16::from_be_bytes(*word) & !mask | u16::from(bits) << 4 & mask).to_be_bytes();
    } else if let Some(header) = ip.first_chunk_mut::<20>() {
        let tos = header[1] & !mask | bits & mask;
        let word = u16::from_be_bytes([header[0], tos]);
        write_word(header, 0, word);
    }
}

/// Writes the word at `at` in an IPv4 header, with its checksum.
fn write_word(header: &mut [u8; 20], at: usize, new: u16) {
    let old = u16::from_be_bytes([header[at], header[at + 1]]);
    header[at..at + 2].copy_from_slice(&new.to_be_bytes());
    let check = checksum::update16(u16::from_be_bytes([header[10], header[11]]), old, new);
    header[10..12].copy_from_slice(&check.to_be_bytes());
}

/// Sets the Ethernet addresses at the front of `frame`; a frame too short for them is left alone.
pub fn set_macs(frame: &mut [u8], dst: MacAddr, src: MacAddr) {
    if let Some(header) = frame.first_chunk_mut::<12>() {
        header[..6].copy_from_slice(&dst.0);
        header[6..].copy_from_slice(&src.0);
    }
}
