//! Decides the Ethernet and IP headers of packets that we make ourselves. It never decides what they carry.

use crate::checksum::{self, pseudo};
use crate::parse::ethertype;
use crate::{Addr, ETH_LEN, MacAddr, Proto};

/// What goes into the headers of a packet of our own.
pub(crate) struct Headers {
    pub(crate) eth_src: MacAddr,
    pub(crate) eth_dst: MacAddr,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) proto: Proto,
    /// Type of service or traffic class.
    pub(crate) tos: u8,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
}

impl Headers {
    /// Bytes of both headers.
    pub(crate) const fn len(&self) -> usize {
        ETH_LEN + if self.src.is_v4() { 20 } else { 40 }
    }

    /// Writes a whole frame: both headers, and `segment` with its checksum, which lies at `check_at`. Returns its length;
    /// `None` when `out` is too small for it, or the families differ.
    pub(crate) fn write(&self, out: &mut [u8], check_at: usize, segment: &[&[u8]]) -> Option<usize> {
        if self.src.is_v4() != self.dst.is_v4() {
            return None;
        }
        let len: usize = segment.iter().map(|part| part.len()).sum();
        let (head, body) = out.get_mut(..self.len() + len)?.split_at_mut(self.len());
        self.write_head(head, u16::try_from(len + 20).ok()?);
        let mut rest = &mut *body;
        for part in segment {
            let (to, after) = rest.split_at_mut_checked(part.len())?;
            to.copy_from_slice(part);
            rest = after;
        }
        body.get_mut(check_at..check_at + 2)?.fill(0);
        let mut sum = checksum::sum(body);
        if self.proto != Proto::ICMP {
            sum = sum + pseudo(&self.src, &self.dst, self.proto, len as u32);
        }
        body[check_at..check_at + 2].copy_from_slice(&sum.checksum().to_be_bytes());
        Some(self.len() + len)
    }

    /// `v4_total`: 20 and the bytes behind the IP header.
    pub(crate) fn write_head(&self, head: &mut [u8], v4_total: u16) {
        head[..6].copy_from_slice(&self.eth_dst.0);
        head[6..12].copy_from_slice(&self.eth_src.0);
        let ip = &mut head[12..];
        if self.src.is_v4() {
            ip[..2].copy_from_slice(&ethertype::IPV4.to_be_bytes());
            let ip = &mut ip[2..];
            ip[0] = 0x45;
            ip[1] = self.tos;
            ip[2..4].copy_from_slice(&v4_total.to_be_bytes());
            // Never fragmented, so the identification means nothing (RFC 6864 section 4.1).
            ip[4..8].copy_from_slice(&[0, 0, 0x40, 0]);
            ip[8] = self.ttl;
            ip[9] = self.proto.0;
            ip[10..12].fill(0);
            ip[12..16].copy_from_slice(&self.src.v4_octets());
            ip[16..20].copy_from_slice(&self.dst.v4_octets());
            let check = checksum::sum(ip).checksum();
            ip[10..12].copy_from_slice(&check.to_be_bytes());
        } else {
            ip[..2].copy_from_slice(&ethertype::IPV6.to_be_bytes());
            let ip = &mut ip[2..];
            ip[..4].copy_from_slice(&[0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
            ip[4..6].copy_from_slice(&(v4_total - 20).to_be_bytes());
            ip[6] = self.proto.0;
            ip[7] = self.ttl;
            ip[8..24].copy_from_slice(&self.src.octets());
            ip[24..40].copy_from_slice(&self.dst.octets());
        }
    }
}
