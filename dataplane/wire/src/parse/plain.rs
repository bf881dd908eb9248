//! Decides whether a frame is one of the usual kind, and what it is then: a whole TCP or UDP packet right behind an IPv4 header without
//! options or an IPv6 header. It never says why a frame is something else: that is [`super::parse`]'s.
//!
//! What it reads it reads in words, and keeps as they lie on the wire: most packets are of flows that are known, and nobody asks for
//! more of those than whether the words are the same.

use super::{ETH_LEN, Kind, MAX_IP_LEN, Parsed, tcp_flags};
use crate::{FlowWords, Proto};

const UDP_LEN: usize = 8;
const TCP_LEN: usize = 20;
/// Where transport headers begin.
const L4_V4: usize = ETH_LEN + 20;
const L4_V6: usize = ETH_LEN + 40;

/// A usual packet, once [`Plain::read`] has found one.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Addresses, ports and protocol. The scope is whoever's who knows it.
    pub words: FlowWords,
    /// End of the IP packet, from the frame's first byte.
    pub end: u32,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// TCP flags; 0 of UDP.
    pub tcp_flags: u8,
}

impl Plain {
    /// Whether it may move a TCP connection's state.
    #[inline(always)]
    pub const fn moves_state(&self) -> bool {
        self.tcp_flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST) != 0
    }

    /// Bytes of the IP packet.
    #[inline(always)]
    pub const fn ip_len(&self) -> usize {
        self.end as usize - ETH_LEN
    }

    /// Where its transport header begins, and from there, where its checksum lies.
    #[inline(always)]
    pub const fn checksum_place(&self) -> (u16, u16) {
        let l4 = if self.words.is_v6() { L4_V6 } else { L4_V4 };
        (l4 as u16, if self.words.is_udp() { 6 } else { 16 })
    }

    /// All that [`super::parse`] says of the `frame` in which it was found.
    #[inline]
    pub fn parsed(&self, frame: &[u8]) -> Parsed {
        let v6 = self.words.is_v6();
        let l4 = if v6 { L4_V6 } else { L4_V4 };
        let byte = |at: usize| frame.get(at).copied().unwrap_or_default();
        let (kind, header) = match self.words.is_udp() {
            true => (Kind::Udp, UDP_LEN),
            false => (Kind::Tcp, usize::from(byte(l4 + 12) >> 4) * 4),
        };
        Parsed {
            tuple: self.words.key().tuple,
            end: self.end,
            l3: ETH_LEN as u16,
            l4: l4 as u16,
            payload: (l4 + header) as u16,
            kind,
            ttl: self.ttl,
            tos: self.tos,
            tcp_flags: self.tcp_flags,
            v6,
            ip_options: false,
            fragment: false,
            dont_fragment: v6 || byte(20) & 0x40 != 0,
        }
    }
}

const V4: u16 = 0x0800u16.to_be();
const V6: u16 = 0x86ddu16.to_be();
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fffu16.to_be();

impl Plain {
    /// None yet.
    pub const NONE: Self = Self {
        words: FlowWords::NONE,
        end: 0,
        ttl: 0,
        tos: 0,
        tcp_flags: 0,
    };

    /// Reads the packet in `frame`: in place, because this is done for every packet and copies cost more than it does. False, with nothing
    /// of use here, if it is no usual one.
    #[inline(always)]
    pub fn read(&mut self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<{ L4_V4 + UDP_LEN }>() else {
            return false;
        };
        match ne16(head, 12) {
            V4 => self.read_v4(frame, head),
            V6 => self.read_v6(frame),
            _ => false,
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, frame: &[u8], head: &[u8; L4_V4 + UDP_LEN]) -> bool {
        let end = ETH_LEN + usize::from(u16::from_be(ne16(head, 16)));
        // Version 4 with five words of header, and no fragment.
        if head[14] != 0x45 || ne16(head, 20) & FRAGMENT != 0 || !sums_to_ones(head) || !fits(frame, end) {
            return false;
        }
        self.words.ends[0] = ne64(head, 26);
        self.words.ports = ne32(head, L4_V4);
        self.words.what = FlowWords::what_of(head[23], false);
        self.end = end as u32;
        (self.ttl, self.tos) = (head[22], head[15]);
        self.read_transport::<L4_V4, { L4_V4 + UDP_LEN }>(frame, head, head[23])
    }

    #[inline(always)]
    fn read_v6(&mut self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<{ L4_V6 + UDP_LEN }>() else {
            return false;
        };
        let end = L4_V6 + usize::from(u16::from_be(ne16(head, 18)));
        if head[14] >> 4 != 6 || !fits(frame, end) {
            return false;
        }
        self.words.ends = [ne64(head, 22), ne64(head, 30), ne64(head, 38), ne64(head, 46)];
        self.words.ports = ne32(head, L4_V6);
        self.words.what = FlowWords::what_of(head[20], true);
        self.end = end as u32;
        (self.ttl, self.tos) = (head[21], head[14] << 4 | head[15] >> 4);
        // No wire may carry mapped addresses.
        !self.words.has_mapped() && self.read_transport::<L4_V6, { L4_V6 + UDP_LEN }>(frame, head, head[20])
    }

    /// Reads the transport header at `L4`, of which `head` has the first bytes; `end`, which lies within the frame, is read.
    #[inline(always)]
    fn read_transport<const L4: usize, const N: usize>(&mut self, frame: &[u8], head: &[u8; N], proto: u8) -> bool {
        // Less than nothing where the packet ends before its transport header begins.
        let segment = self.end as i32 - L4 as i32;
        let (len, least) = if Proto(proto) == Proto::UDP {
            self.tcp_flags = 0;
            (u16::from_be(ne16(head, L4 + 4)).into(), UDP_LEN as i32)
        } else if Proto(proto) == Proto::TCP {
            let Some(tcp) = frame.get(L4..).and_then(|rest| rest.first_chunk::<TCP_LEN>()) else {
                return false;
            };
            self.tcp_flags = tcp[13];
            (i32::from(tcp[12] >> 4) * 4, TCP_LEN as i32)
        } else {
            return false;
        };
        len >= least && len <= segment
    }
}

#[inline(always)]
fn fits(frame: &[u8], end: usize) -> bool {
    end <= frame.len() && frame.len() <= ETH_LEN + MAX_IP_LEN
}

#[inline(always)]
fn ne16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn ne32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline(always)]
fn ne64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

/// Whether the IPv4 header sums to all ones (RFC 1071). Byte order does not matter to that, nor the size of the words: 2^16 is one more than
/// all ones, so the sum of larger ones leaves the same remainder. It is not zero, as the header is not.
#[inline(always)]
fn sums_to_ones<const N: usize>(head: &[u8; N]) -> bool {
    let (sum, carry) = ne64(head, 14).overflowing_add(ne64(head, 22));
    let (sum, more) = sum.overflowing_add(u64::from(ne32(head, 30)) + u64::from(carry));
    (sum + u64::from(more)).is_multiple_of(0xffff)
}
