//! Decides, once for a flow, what is written over the headers of its packets and by how much their checksums change. It never looks at
//! more than TCP and UDP right behind an IP header: the rest is [`crate::rewrite`]'s.

use crate::checksum::Sum;
use crate::{Addr, ETH_LEN, Plain, Rewrite, Tuple};

/// What leaves instead of one tuple: a [`Rewrite`], worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Source and destination as the header has them: 8 bytes of IPv4, or 32.
    addresses: [u8; 32],
    /// Source and destination port.
    ports: [u8; 4],
    /// What sums over the addresses take: the IPv4 header's and a pseudo-header's.
    header: Sum,
    /// What the transport's takes, ports included.
    transport: Sum,
}

/// What a checksum takes when a TTL above it goes down by one: the field `ttl << 8 | protocol` loses 0x100 (RFC 1624).
const HOP: Sum = Sum::of(0xfeff);

impl Patch {
    /// What no packet needs.
    pub const NOTHING: Self = Self {
        addresses: [0; 32],
        ports: [0; 4],
        header: Sum::ZERO,
        transport: Sum::ZERO,
    };

    /// What turns packets of `from` into packets that left as `rewrite` says.
    pub fn new(from: &Tuple, rewrite: &Rewrite) -> Self {
        let (src, sport) = rewrite.src.unwrap_or((from.src, from.sport));
        let (dst, dport) = rewrite.dst.unwrap_or((from.dst, from.dport));
        let (mut old, mut new) = ([Sum::ZERO; 2], [Sum::ZERO; 2]);
        let mut differ = |before: (Addr, u16), after: Option<(Addr, u16)>| {
            if let Some((addr, port)) = after {
                old = [old[0] + Sum::of_addr(&before.0), old[1] + Sum::of(before.1)];
                new = [new[0] + Sum::of_addr(&addr), new[1] + Sum::of(port)];
            }
        };
        differ((from.src, from.sport), rewrite.src);
        differ((from.dst, from.dport), rewrite.dst);
        let (mut header, mut transport) = (Sum::ZERO, Sum::ZERO);
        if !rewrite.is_empty() {
            header = old[0].negated() + new[0];
            transport = (old[0] + old[1]).negated() + new[0] + new[1];
        }
        let mut addresses = [0; 32];
        if from.src.is_v4() {
            addresses[..4].copy_from_slice(&src.v4_octets());
            addresses[4..8].copy_from_slice(&dst.v4_octets());
        } else {
            addresses[..16].copy_from_slice(&src.octets());
            addresses[16..].copy_from_slice(&dst.octets());
        }
        let ([a, b], [c, d]) = (sport.to_be_bytes(), dport.to_be_bytes());
        Self {
            addresses,
            ports: [a, b, c, d],
            header,
            transport,
        }
    }

    /// The tuple that packets leave with.
    #[inline]
    pub fn leaving(&self, from: &Tuple) -> Tuple {
        let ends = &self.addresses;
        let addr = |at: usize| {
            if from.src.is_v4() {
                let at = at / 4;
                Addr::v4([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]])
            } else {
                ends[at..].first_chunk().map_or(from.src, |a| Addr::v6(*a))
            }
        };
        let [a, b, c, d] = self.ports;
        Tuple {
            src: addr(0),
            dst: addr(16),
            sport: u16::from_be_bytes([a, b]),
            dport: u16::from_be_bytes([c, d]),
            proto: from.proto,
        }
    }

    /// Writes it into the packet `p` of `frame`, which [`Plain::read`] found there. Of a checksum that is `partial` only the
    /// pseudo-header's part is there. A `hop` takes one of those that the packet has left.
    ///
    /// False when `frame` is not the one that was parsed.
    #[inline(always)]
    pub fn apply(&self, frame: &mut [u8], p: &Plain, partial: bool, hop: bool) -> bool {
        let Some(packet) = frame.get_mut(ETH_LEN..) else {
            return false;
        };
        let udp = p.words.is_udp();
        let l4 = if p.words.is_v6() {
            let Some(header) = packet.first_chunk_mut::<48>() else {
                return false;
            };
            self.v6(header, hop);
            40
        } else {
            let Some(header) = packet.first_chunk_mut::<28>() else {
                return false;
            };
            self.v4(header, hop);
            20
        };
        let at = l4 + if udp { 6 } else { 16 };
        let Some(check) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) else {
            return false;
        };
        let held = u16::from_be_bytes(*check);
        let sum = Sum::of(!held) + self.transport;
        let new = if partial {
            (Sum::of(held) + self.header).folded()
        } else if !udp {
            sum.checksum()
        } else if held == 0 {
            // There is none.
            0
        } else {
            sum.udp_checksum()
        };
        *check = new.to_be_bytes();
        true
    }

    /// Writes an IPv4 header and the ports.
    #[inline(always)]
    fn v4(&self, packet: &mut [u8; 28], hop: bool) {
        packet[8] = packet[8].wrapping_sub(u8::from(hop));
        let held = Sum::of(!be16(packet, 10)) + self.header;
        let sum = held + if hop { HOP } else { Sum::ZERO };
        packet[10..12].copy_from_slice(&sum.checksum().to_be_bytes());
        packet[12..20].copy_from_slice(&self.addresses[..8]);
        packet[20..24].copy_from_slice(&self.ports);
    }

    /// The same of an IPv6 header.
    #[inline(always)]
    fn v6(&self, packet: &mut [u8; 48], hop: bool) {
        packet[7] = packet[7].wrapping_sub(u8::from(hop));
        packet[8..40].copy_from_slice(&self.addresses);
        packet[40..44].copy_from_slice(&self.ports);
    }
}

#[inline(always)]
fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
