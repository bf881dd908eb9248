//! Decides how a super-frame is cut into packets for a wire, and writes them. It never keeps state between segments: each can
//! be written alone, in any order, straight into the frame that carries it.

use crate::checksum::{self, Sum};
use crate::{DropReason, Gso, GsoKind, Kind, Parsed, tcp_flags};

/// Smallest TCP segment that a Linux sender makes (`TCP_MIN_GSO_SIZE`, include/net/tcp.h): 48 bytes less 40 of options.
pub(crate) const TCP_SMALLEST: u16 = 8;
/// Most datagrams in a UDP super-frame (`UDP_MAX_SEGMENTS`, include/linux/udp.h).
const UDP_MOST: usize = 128;

/// How one super-frame is cut. Holding one proves that its headers and its offload request fit each other.
#[derive(Clone, Copy, Debug)]
pub struct SegmentPlan {
    l3: usize,
    l4: usize,
    header: usize,
    payload: usize,
    size: usize,
    count: usize,
    v6: bool,
    tcp: bool,
    /// Pseudo-header without the length.
    addresses: Sum,
}

impl SegmentPlan {
    /// Plans the packet `p` in `frame` by its offload request.
    ///
    /// [`DropReason::GsoMalformed`] when the request is for another kind of packet, of size 0 or so small that no Linux
    /// sender would make it, or when the packet is a fragment, a SYN of several segments, or its lengths disagree.
    pub fn new(frame: &[u8], p: &Parsed, gso: Gso) -> Result<Self, DropReason> {
        let malformed = DropReason::GsoMalformed;
        let fits = match gso.kind {
            GsoKind::Tcp4 => p.kind == Kind::Tcp && !p.v6,
            GsoKind::Tcp6 => p.kind == Kind::Tcp && p.v6,
            GsoKind::Udp => p.kind == Kind::Udp,
        };
        let (l4, header, end) = (usize::from(p.l4), usize::from(p.payload), p.end as usize);
        if !fits || p.fragment || gso.size == 0 || header > end {
            return Err(malformed);
        }
        let segment = frame.get(l4..end).ok_or(malformed)?;
        let (payload, size) = (end - header, usize::from(gso.size));
        let count = payload.div_ceil(size).max(1);
        let tcp = p.kind == Kind::Tcp;
        let sound = if tcp {
            gso.size >= TCP_SMALLEST && (count == 1 || p.tcp_flags & tcp_flags::SYN == 0)
        } else {
            count <= UDP_MOST
                && segment
                    .get(4..6)
                    .is_some_and(|len| usize::from(u16::from_be_bytes([len[0], len[1]])) == segment.len())
        };
        if !sound {
            return Err(malformed);
        }
        let addresses = checksum::pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, 0);
        Ok(Self {
            l3: usize::from(p.l3),
            l4,
            header,
            payload,
            size,
            count,
            v6: p.v6,
            tcp,
            addresses,
        })
    }

    /// Segments; at least one.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes that every segment begins with: everything before the payload, from the frame's first byte.
    pub const fn header_len(&self) -> usize {
        self.header
    }

    /// Bytes of segment `i`, headers included; 0 when there is no such segment.
    pub const fn segment_len(&self, i: usize) -> usize {
        if i >= self.count {
            return 0;
        }
        let left = self.payload - i * self.size;
        self.header + if left < self.size { left } else { self.size }
    }

    /// Writes segment `i` of `source`, the frame that was planned, to the front of `out`, with complete checksums.
    ///
    /// False, with `out` in an unspecified state, when there is no such segment, or `out` is shorter than
    /// [`Self::segment_len`], or `source` is not the frame that was planned.
    pub fn write(&self, i: usize, source: &[u8], out: &mut [u8]) -> bool {
        self.try_write(i, source, out).is_some()
    }

    fn try_write(&self, i: usize, source: &[u8], out: &mut [u8]) -> Option<()> {
        let len = self.segment_len(i);
        let (head, body) = out.get_mut(..len).filter(|_| len > 0)?.split_at_mut(self.header);
        head.copy_from_slice(source.get(..self.header)?);
        let from = self.header + i * self.size;
        let payload = checksum::copy_sum(body, source.get(from..from + body.len())?)?;

        let (front, transport) = head.split_at_mut_checked(self.l4)?;
        let segment_len = (transport.len() + body.len()) as u16;
        self.write_ip(front.get_mut(self.l3..)?, i, segment_len)?;
        let check_at = if self.tcp {
            let header = transport.first_chunk_mut::<20>()?;
            let seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            header[4..8].copy_from_slice(&seq.wrapping_add((i * self.size) as u32).to_be_bytes());
            // CWR tells the peer once; FIN and PSH are about the end of the data.
            let first = if i > 0 { tcp_flags::CWR } else { 0 };
            let last = if i + 1 < self.count {
                tcp_flags::FIN | tcp_flags::PSH
            } else {
                0
            };
            header[13] &= !(first | last);
            16
        } else {
            transport.get_mut(4..6)?.copy_from_slice(&segment_len.to_be_bytes());
            6
        };
        transport.get_mut(check_at..check_at + 2)?.fill(0);
        let sum = self.addresses + Sum::of(segment_len) + checksum::sum(transport) + payload;
        let check = if self.tcp { sum.checksum() } else { sum.udp_checksum() };
        transport
            .get_mut(check_at..check_at + 2)?
            .copy_from_slice(&check.to_be_bytes());
        Some(())
    }

    /// Sets length, and for IPv4 identification and checksum, in the IP header `ip` (with its options or extensions).
    fn write_ip(&self, ip: &mut [u8], i: usize, segment_len: u16) -> Option<()> {
        if self.v6 {
            let len = ip.len() as u16 - 40 + segment_len;
            ip.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
            return Some(());
        }
        let len = ip.len() as u16 + segment_len;
        let header = ip.first_chunk_mut::<20>()?;
        let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(i as u16);
        header[2..4].copy_from_slice(&len.to_be_bytes());
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[10..12].fill(0);
        let check = checksum::sum(ip).checksum();
        ip.get_mut(10..12)?.copy_from_slice(&check.to_be_bytes());
        Some(())
    }
}
