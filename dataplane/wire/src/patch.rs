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
    /// What sums over the addresses take: the IPv4 header's and a pseudo-header's. Words are as the machine reads them.
    header: Sum,
    /// What the transport's takes, ports included.
    transport: Sum,
}

/// What a checksum takes when a TTL above it goes down by one: the field `ttl << 8 | protocol` loses 0x100 (RFC 1624).
const HOP: u16 = 0xfeffu16.to_be();

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
            header: as_read(header),
            transport: as_read(transport),
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
        let udp = p.words.is_udp();
        // As far as the transport's checksum, which is the last of what changes: so one look at the length is enough.
        match (p.words.is_v6(), udp) {
            (false, true) => self.v4::<{ ETH_LEN + 20 + 8 }>(frame, udp, partial, hop),
            (false, false) => self.v4::<{ ETH_LEN + 20 + 18 }>(frame, udp, partial, hop),
            (true, true) => self.v6::<{ ETH_LEN + 40 + 8 }>(frame, udp, partial, hop),
            (true, false) => self.v6::<{ ETH_LEN + 40 + 18 }>(frame, udp, partial, hop),
        }
    }

    #[inline(always)]
    fn v4<const N: usize>(&self, frame: &mut [u8], udp: bool, partial: bool, hop: bool) -> bool {
        let Some(head) = frame.first_chunk_mut::<N>() else {
            return false;
        };
        head[22] = head[22].wrapping_sub(u8::from(hop));
        let sum = Sum::of(!ne16(head, 24)) + self.header + Sum::of(HOP * u16::from(hop));
        head[24..26].copy_from_slice(&sum.checksum().to_ne_bytes());
        head[26..34].copy_from_slice(&self.addresses[..8]);
        head[34..38].copy_from_slice(&self.ports);
        self.transport(head, udp, partial);
        true
    }

    #[inline(always)]
    fn v6<const N: usize>(&self, frame: &mut [u8], udp: bool, partial: bool, hop: bool) -> bool {
        let Some(head) = frame.first_chunk_mut::<N>() else {
            return false;
        };
        head[21] = head[21].wrapping_sub(u8::from(hop));
        head[22..54].copy_from_slice(&self.addresses);
        head[54..58].copy_from_slice(&self.ports);
        self.transport(head, udp, partial);
        true
    }

    /// The transport's checksum, at the end of `head`.
    #[inline(always)]
    fn transport<const N: usize>(&self, head: &mut [u8; N], udp: bool, partial: bool) {
        let held = ne16(head, N - 2);
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
        head[N - 2..].copy_from_slice(&new.to_ne_bytes());
    }
}

/// A sum of words as the machine reads them from the wire, in whatever order: byte order does not matter until the end (RFC 1071 section 2 B).
const fn as_read(sum: Sum) -> Sum {
    Sum::of(sum.folded().to_be())
}

#[inline(always)]
fn ne16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
