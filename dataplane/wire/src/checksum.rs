//! Decides what the Internet checksum of some bytes is (RFC 1071), and how it changes with a field (RFC 1624). It never
//! looks at which protocol the bytes are, except where the functions at the end are given a parsed packet.

use crate::{Addr, Checksum, Kind, Parsed, Proto};
use core::ops::Add;

/// One's complement sum of big-endian 16-bit words, folded to 16 bits. It is 0 only where every word was 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u16);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of one word, host order.
    pub const fn of(word: u16) -> Self {
        Self(word)
    }

    /// The sum of the two words of a 32-bit field, host order.
    pub const fn of_u32(value: u32) -> Self {
        Self((value >> 16) as u16).plus(Self(value as u16))
    }

    /// The sum of an address's field on the wire: two words for IPv4, eight for IPv6.
    pub const fn of_addr(addr: &Addr) -> Self {
        let bits = if addr.is_v4() {
            addr.bits() & 0xffff_ffff
        } else {
            addr.bits()
        };
        let (mut acc, mut at) = (0u32, 0);
        while at < 128 {
            acc += (bits >> at) as u32 & 0xffff;
            at += 16;
        }
        Self::of_u32(acc)
    }

    /// Both sums together, with end-around carry.
    pub const fn plus(self, other: Self) -> Self {
        let (low, carry) = self.0.overflowing_add(other.0);
        Self(low + carry as u16)
    }

    /// What cancels this sum: the one's complement.
    pub const fn negated(self) -> Self {
        Self(!self.0)
    }

    /// The sum of the same bytes one byte further on, as for a piece that starts at an odd offset (RFC 1071 section 2).
    pub const fn at_odd_offset(self) -> Self {
        Self(self.0.swap_bytes())
    }

    /// The folded sum: what a field under [`Checksum::Partial`] holds.
    pub const fn folded(self) -> u16 {
        self.0
    }

    /// The checksum: the complement of the folded sum.
    pub const fn checksum(self) -> u16 {
        !self.0
    }

    /// The checksum for a UDP header, where 0 would mean "none" and is sent as all ones (RFC 768).
    pub const fn udp_checksum(self) -> u16 {
        if self.0 == 0xffff { 0xffff } else { !self.0 }
    }
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

/// Sums `bytes` (less than 16 GiB); an odd last byte counts as the high half of a word.
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    // Byte order does not matter until the end (RFC 1071 section 2B), so words are added as the machine reads them, in
    // independent lanes of 64 bits that the compiler turns into vectors.
    let mut lanes = [0u64; 8];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
            *lane += u64::from(ne32(word));
        }
    }
    let mut acc: u64 = lanes.iter().sum();
    let mut words = blocks.remainder().chunks_exact(4);
    for word in &mut words {
        acc += u64::from(ne32(word));
    }
    let mut last = [0u8; 4];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    acc += u64::from(u32::from_ne_bytes(last));
    let acc = (acc & 0xffff_ffff) + (acc >> 32);
    let acc = (acc & 0xffff) + (acc >> 16 & 0xffff) + (acc >> 32);
    Sum(u16::from_be(Sum::of_u32(acc as u32).0))
}

#[inline]
fn ne32(word: &[u8]) -> u32 {
    word.first_chunk().map_or(0, |w| u32::from_ne_bytes(*w))
}

/// Copies `from` to the front of `to` and sums it; `None`, with nothing written, when `to` is shorter.
#[inline]
pub fn copy_sum(to: &mut [u8], from: &[u8]) -> Option<Sum> {
    let to = to.get_mut(..from.len())?;
    // A packet's worth of bytes is still in the first-level cache after the copy, so a second pass beats one clever one.
    to.copy_from_slice(from);
    Some(sum(to))
}

/// The pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1); `len` in bytes from the transport header on.
pub const fn pseudo(src: &Addr, dst: &Addr, proto: Proto, len: u32) -> Sum {
    Sum::of_addr(src)
        .plus(Sum::of_addr(dst))
        .plus(Sum::of(proto.0 as u16))
        .plus(Sum::of_u32(len))
}

/// The checksum after words that summed to `old` became words that sum to `new` (RFC 1624 equation 3).
pub const fn update(check: u16, old: Sum, new: Sum) -> u16 {
    Sum::of(!check).plus(old.negated()).plus(new).checksum()
}

/// [`update`] for a 16-bit field.
pub const fn update16(check: u16, old: u16, new: u16) -> u16 {
    update(check, Sum::of(old), Sum::of(new))
}

/// [`update`] for a 32-bit field.
pub const fn update32(check: u16, old: u32, new: u32) -> u16 {
    update(check, Sum::of_u32(old), Sum::of_u32(new))
}

/// [`update`] for an address of either family.
pub const fn update_addr(check: u16, old: &Addr, new: &Addr) -> u16 {
    update(check, Sum::of_addr(old), Sum::of_addr(new))
}

/// Completes a checksum whose field holds the pseudo-header's sum, over `start..` to the frame's end (virtio 1.2 section
/// 5.1.6.2). False, with nothing written, when the field lies outside the frame.
///
/// An `offset` of 6 is UDP's, where a result of 0 is written as 0xffff.
pub fn complete(frame: &mut [u8], start: u16, offset: u16) -> bool {
    let Some(segment) = frame.get_mut(usize::from(start)..) else {
        return false;
    };
    let total = sum(segment);
    let Some(field) = segment
        .get_mut(usize::from(offset)..)
        .and_then(|s| s.first_chunk_mut::<2>())
    else {
        return false;
    };
    let check = if offset == 6 {
        total.udp_checksum()
    } else {
        total.checksum()
    };
    *field = check.to_be_bytes();
    true
}

/// Whether the transport checksum is right: TCP, UDP, ICMP and ICMPv6.
///
/// A UDP checksum of 0 is right over IPv4 and wrong over IPv6 (RFC 8200 section 8.1). Other protocols, and fragments (of
/// which each holds only a part), count as right.
pub fn verify_transport(frame: &[u8], p: &Parsed) -> bool {
    if p.fragment {
        return true;
    }
    let Some(segment) = frame.get(usize::from(p.l4)..p.end as usize) else {
        return false;
    };
    let (segment, pseudo_header) = match p.kind {
        Kind::Tcp => (segment, true),
        Kind::Udp => {
            let Some(header) = segment.first_chunk::<8>() else {
                return false;
            };
            if header[6..] == [0, 0] {
                return !p.v6;
            }
            let Some(datagram) = segment.get(..usize::from(u16::from_be_bytes([header[4], header[5]]))) else {
                return false;
            };
            (datagram, true)
        }
        Kind::EchoRequest | Kind::EchoReply | Kind::IcmpError { .. } | Kind::Ndp(_) | Kind::OtherIcmp => {
            (segment, p.v6)
        }
        Kind::Sctp => return crate::crc32c::matches(segment),
        Kind::Other => return true,
    };
    let mut total = sum(segment);
    if pseudo_header {
        total = total + pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, segment.len() as u32);
    }
    total.folded() == 0xffff
}

impl Parsed {
    /// Where the transport checksum lies, from the transport header; `None` for protocols whose checksum is not this one.
    pub const fn checksum_offset(&self) -> Option<u16> {
        match self.kind {
            Kind::Tcp => Some(16),
            Kind::Udp => Some(6),
            Kind::EchoRequest | Kind::EchoReply | Kind::IcmpError { .. } | Kind::Ndp(_) | Kind::OtherIcmp => Some(2),
            Kind::Sctp | Kind::Other => None,
        }
    }

    /// Whether `checksum` says that this packet's own transport checksum is still to be completed.
    pub const fn is_partial(&self, checksum: Checksum) -> bool {
        match (checksum, self.checksum_offset()) {
            (Checksum::Partial { start, offset }, Some(own)) => start == self.l4 && offset == own,
            _ => false,
        }
    }

    /// Whether `checksum`, as a sender claims it, can be true of this packet.
    ///
    /// Completing writes two bytes wherever the claim points, after the packet was judged: so it must be this packet's
    /// own checksum field, or lie in the payload (a tunnel inside the pod leaves its inner checksum to be completed).
    pub fn accepts(&self, checksum: Checksum) -> bool {
        let Checksum::Partial { start, offset } = checksum else {
            return true;
        };
        let inside = start >= self.payload && u32::from(start) + u32::from(offset) + 2 <= self.end;
        !self.fragment && (self.is_partial(checksum) || inside)
    }
}
