//! Decides which packets of a flow, one after the other, may go on as one super-frame, and what its headers are. It never
//! moves a payload, and never joins what [`SegmentPlan`](crate::SegmentPlan) would not cut into the same packets again.
//!
//! The rules are those of Linux' GRO, with the stricter one wherever kernels differ or a tap's header cannot say the rest:
//! `tcp_gro_receive` (net/ipv4/tcp_offload.c), `udp_gro_receive_segment` (net/ipv4/udp_offload.c), `inet_gro_receive`
//! (net/ipv4/af_inet.c), `ipv6_gro_receive` (net/ipv6/ip6_offload.c).

use crate::checksum::{self, pseudo, update16};
use crate::segment::TCP_SMALLEST;
use crate::{Checksum, Gso, GsoKind, Kind, MAX_IP_LEN, Meta, Parsed, tcp_flags};

/// Most datagrams in one (`UDP_GRO_CNT_MAX`, net/ipv4/udp_offload.c).
const UDP_MOST: usize = 64;
/// What may differ in the last segment: it is about the end of the data.
const ENDS: u8 = tcp_flags::FIN | tcp_flags::PSH;
/// What none may have. CWR is a part of a counter where both ends speak AccECN, and says something of one segment where not.
const ALONE: u8 = tcp_flags::SYN | tcp_flags::RST | tcp_flags::URG | tcp_flags::CWR;

/// A super-frame that is growing, or still is a single packet.
#[derive(Clone, Copy, Debug)]
pub struct Coalescing {
    /// Of the first packet; `end` is that of the super-frame.
    parsed: Parsed,
    kind: GsoKind,
    /// Payload bytes of every packet but the last.
    size: usize,
    count: usize,
    /// FIN and PSH of the last packet.
    ends: u8,
    /// The last packet has such flags, or is shorter than the others.
    closed: bool,
    /// What was claimed of the first packet's checksum, and whether it was found to be right.
    claimed: Checksum,
    sound: Option<bool>,
}

impl Coalescing {
    /// Begins with a packet, which passes unchanged if no other follows. `None` if it has to pass alone.
    pub fn begin(frame: &[u8], p: &Parsed, meta: &Meta) -> Option<Self> {
        let kind = kind(frame, p, meta)?;
        let size = p.end as usize - usize::from(p.payload);
        if p.kind == Kind::Tcp && (p.tcp_flags & ENDS != 0 || size < usize::from(TCP_SMALLEST)) {
            return None;
        }
        Some(Self {
            parsed: *p,
            kind,
            size,
            count: 1,
            ends: 0,
            closed: false,
            claimed: meta.checksum,
            sound: None,
        })
    }

    /// Whether the packet is the next of the super-frame so far, which begins with `front`: its first packet, as it came.
    ///
    /// The checksums of both are verified, as nobody looks at them again: a packet with a wrong one passes alone.
    pub fn admits(&mut self, front: &[u8], frame: &[u8], p: &Parsed, meta: &Meta) -> bool {
        let len = p.end as usize - usize::from(p.payload);
        if self.is_full() || kind(frame, p, meta) != Some(self.kind) || len > self.size || !self.has_room(len) {
            return false;
        }
        if !self.follows(front, frame, p).unwrap_or(false) {
            return false;
        }
        let (first, claimed) = (&self.parsed, self.claimed);
        let sound = *self.sound.get_or_insert_with(|| is_sound(front, first, claimed));
        sound && is_sound(frame, p, meta.checksum)
    }

    /// Notes that the payload of a packet that was admitted is part of it now.
    pub fn add(&mut self, p: &Parsed) {
        let len = p.end as usize - usize::from(p.payload);
        self.parsed.end += len as u32;
        self.count += 1;
        self.ends |= p.tcp_flags & ENDS;
        self.closed = self.ends != 0 || len < self.size;
    }

    /// Whether nothing can follow.
    pub fn is_full(&self) -> bool {
        self.closed || !self.has_room(1) || (self.kind == GsoKind::Udp && self.count >= UDP_MOST)
    }

    /// Packets in it.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Of which kind it is, or will be.
    pub const fn kind(&self) -> GsoKind {
        self.kind
    }

    /// What the first packet was parsed as, with the super-frame's end.
    pub const fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Turns the first packet's headers in `frame`, with all payloads behind them, into those of the super-frame, and returns
    /// what has to be known about it. `None`, with `frame` in an unspecified state, when that is not what `frame` holds.
    pub fn finish(&self, frame: &mut [u8]) -> Option<(Checksum, Gso)> {
        let p = &self.parsed;
        let packet = frame.get_mut(usize::from(p.l3)..p.end as usize)?;
        let total = packet.len() as u16;
        let (ip, segment) = packet.split_at_mut_checked(usize::from(p.l4 - p.l3))?;
        if p.v6 {
            ip.get_mut(4..6)?.copy_from_slice(&(total - 40).to_be_bytes());
        } else {
            let header = ip.first_chunk_mut::<20>()?;
            let check = u16::from_be_bytes([header[10], header[11]]);
            let check = update16(check, u16::from_be_bytes([header[2], header[3]]), total);
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[10..12].copy_from_slice(&check.to_be_bytes());
        }
        let len = segment.len() as u16;
        let offset = if self.kind == GsoKind::Udp {
            segment.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
            6
        } else {
            *segment.get_mut(13)? |= self.ends;
            16
        };
        let sum = pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, u32::from(len));
        let field = segment.get_mut(usize::from(offset)..)?.first_chunk_mut::<2>()?;
        *field = sum.folded().to_be_bytes();
        let (kind, size) = (self.kind, self.size as u16);
        Some((
            Checksum::Partial { start: p.l4, offset },
            Gso { kind, size, ecn: false },
        ))
    }

    fn has_room(&self, len: usize) -> bool {
        self.parsed.end as usize - usize::from(self.parsed.l3) + len <= MAX_IP_LEN
    }

    /// Whether all that repeats in every packet's headers is the same in both, and the rest counts on.
    fn follows(&self, front: &[u8], frame: &[u8], p: &Parsed) -> Option<bool> {
        let q = &self.parsed;
        if (q.l3, q.l4, q.payload) != (p.l3, p.l4, p.payload) || (q.tcp_flags ^ p.tcp_flags) & !ENDS != 0 {
            return Some(false);
        }
        let (front, head) = (
            front.get(..usize::from(p.payload))?,
            frame.get(..usize::from(p.payload))?,
        );
        let (l3, l4) = (usize::from(p.l3), usize::from(p.l4));
        let same = |from: usize, to: usize| front.get(from..to) == head.get(from..to);
        // Ethernet, type of service or class and flow label; TTL, addresses, ports.
        let ip = if p.v6 {
            same(0, l3 + 4) && same(l3 + 6, l4 + 4)
        } else {
            // A tap's header cannot say that all have the same identification, as atomic ones often do (RFC 6864 section 4.1).
            let id = word(front, l3 + 4)?.wrapping_add(self.count as u16);
            same(0, l3 + 2) && id == word(head, l3 + 4)? && same(l3 + 6, l3 + 10) && same(l3 + 12, l4 + 4)
        };
        if self.kind == GsoKind::Udp {
            return Some(ip);
        }
        let sent = self.parsed.end - u32::from(self.parsed.payload);
        let seq = sequence(front, l4)?.wrapping_add(sent);
        // Acknowledgment, data offset, window, urgent pointer, options.
        let tcp = same(l4 + 8, l4 + 13) && same(l4 + 14, l4 + 16) && same(l4 + 18, usize::from(p.payload));
        Some(ip && tcp && seq == sequence(head, l4)?)
    }
}

/// What kind of super-frame the packet may be a part of.
fn kind(frame: &[u8], p: &Parsed, meta: &Meta) -> Option<GsoKind> {
    let whole = frame.len() == p.end as usize && p.end > u32::from(p.payload) && !p.fragment && !p.ip_options;
    let own = !matches!(meta.checksum, Checksum::Partial { .. }) || p.is_partial(meta.checksum);
    if !whole || !own || meta.gso.is_some() {
        return None;
    }
    // All ones say the same as zero in a header's sum, but cutting writes zero.
    if !p.v6 && (word(frame, usize::from(p.l3) + 10)? == 0xffff || frame.get(usize::from(p.l3) + 6)? & 0x80 != 0) {
        return None;
    }
    let l4 = usize::from(p.l4);
    match p.kind {
        Kind::Tcp => {
            let flags = p.tcp_flags & (ALONE | tcp_flags::ACK) == tcp_flags::ACK;
            let check = p.is_partial(meta.checksum) || word(frame, l4 + 16)? != 0xffff;
            (flags && check).then_some(if p.v6 { GsoKind::Tcp6 } else { GsoKind::Tcp4 })
        }
        Kind::Udp => {
            let len = usize::from(word(frame, l4 + 4)?) == frame.len() - l4;
            (len && word(frame, l4 + 6)? != 0).then_some(GsoKind::Udp)
        }
        _ => None,
    }
}

/// Whether the checksum is right, or would be made so by whoever sends the packet on a wire.
fn is_sound(frame: &[u8], p: &Parsed, claimed: Checksum) -> bool {
    p.is_partial(claimed) || checksum::verify_transport(frame, p)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn sequence(frame: &[u8], l4: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*frame.get(l4 + 4..)?.first_chunk()?))
}
