//! Decides what stands in front of a frame in the tunnel: the same bytes for all frames of a length. It never looks at what is inside.

use super::Forward;
use crate::pktgen::{End, Macs, macs};
use anyhow::{Context, Result};
use sluice_mem::Buf;
use sluice_vxlan::{OVERHEAD_V4, Template, source_port};
use sluice_wire::{Addr, MacAddr, Vni};

/// Bytes in front of the inner frame.
pub(super) const HEADERS: usize = OVERHEAD_V4;
/// With the inner frame's two Ethernet addresses.
const CONSTANT: usize = HEADERS + 12;
/// Flannel's.
const PORT: u16 = 8472;
const VNI: u32 = 1;
/// Who sends into the tunnel, as the pod behind it sees.
const FROM: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// The way to the other node.
pub(super) struct Tunnel {
    template: Template,
    /// For wrapped frames of `len` bytes.
    headers: [u8; CONSTANT],
    len: usize,
}

impl Tunnel {
    /// Asks the kernel for the next hop.
    pub(super) fn to_other_node(node: &Forward) -> Result<Self> {
        let remote = Addr::from(node.remote);
        let uplink = End {
            netns: None,
            interface: node.uplink.clone(),
            cpu: None,
        };
        let (outer_src_mac, outer_dst_mac) = macs(&uplink, &uplink, remote, Macs::default())?;
        Self::new(&sluice_vxlan::Tunnel {
            local: Addr::from(node.local),
            remote,
            outer_src_mac,
            outer_dst_mac,
            vni: Vni::new(VNI).context("a network identifier has 24 bits")?,
            port: PORT,
            inner_src_mac: FROM,
            inner_dst_mac: node.behind,
            checksum_v4: false,
        })
    }

    fn new(tunnel: &sluice_vxlan::Tunnel) -> Result<Self> {
        Ok(Self {
            template: Template::new(tunnel).context("both ends of a tunnel are of one family")?,
            headers: [0; CONSTANT],
            len: 0,
        })
    }

    /// Puts the headers in front; false, and the frame is of no use any more, where there is no room for them.
    #[inline]
    pub(super) fn wrap(&mut self, buf: &mut Buf) -> bool {
        if buf.push(HEADERS).is_none() {
            return false;
        }
        let frame = buf.bytes_mut();
        if frame.len() != self.len && !self.lengthen(frame) {
            return false;
        }
        let Some(head) = frame.first_chunk_mut() else {
            return false;
        };
        *head = self.headers;
        true
    }

    /// Another length: the headers are worked out once for all frames of it.
    #[cold]
    fn lengthen(&mut self, frame: &mut [u8]) -> bool {
        let written = self.template.write(frame, source_port(0), 0, 0, None);
        let Some(head) = frame.first_chunk().filter(|_| written.is_ok()) else {
            return false;
        };
        (self.headers, self.len) = (*head, frame.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use sluice_mem::{LARGE_CHUNK, Memory, Pools};

    /// As another library reads it, in any order of lengths.
    #[test]
    fn wrapped_frames_are_tunnel_packets_of_their_length() {
        let memory = |size| Memory::new(size, 64).unwrap();
        let (small, large) = (memory(4096), memory(LARGE_CHUNK));
        let mut pools = Pools::new(&small, &large);
        let mac = |n| MacAddr([2, 0, 0, 0, 1, n]);
        let mut tunnel = Tunnel::new(&sluice_vxlan::Tunnel {
            local: Addr::v4([192, 0, 2, 11]),
            remote: Addr::v4([192, 0, 2, 12]),
            outer_src_mac: mac(1),
            outer_dst_mac: mac(2),
            vni: Vni::new(VNI).unwrap(),
            port: PORT,
            inner_src_mac: mac(3),
            inner_dst_mac: mac(4),
            checksum_v4: false,
        })
        .unwrap();
        for len in [60, 60, 1464, 61, 60] {
            let mut buf = pools.small.alloc().unwrap();
            let inner: Vec<u8> = (0..len).map(|n| n as u8).collect();
            buf.extend(len).unwrap().copy_from_slice(&inner);
            assert!(tunnel.wrap(&mut buf));
            let wrapped = buf.bytes().to_vec();
            pools.free(buf);
            let packet = SlicedPacket::from_ethernet(&wrapped).unwrap();
            let Some(NetSlice::Ipv4(ip)) = &packet.net else {
                panic!()
            };
            let header = ip.header();
            assert_eq!(
                (header.source(), header.destination()),
                ([192, 0, 2, 11], [192, 0, 2, 12])
            );
            assert_eq!(usize::from(header.total_len()), len + HEADERS - 14);
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            let Some(TransportSlice::Udp(udp)) = &packet.transport else {
                panic!()
            };
            assert_eq!((udp.destination_port(), udp.checksum()), (PORT, 0));
            let vxlan = udp.payload();
            assert_eq!((&vxlan[..8], vxlan.len()), (&[8, 0, 0, 0, 0, 0, 1, 0][..], 8 + len));
            assert_eq!((&vxlan[8..14], &vxlan[14..20]), (&mac(4).0[..], &mac(3).0[..]));
            assert_eq!(vxlan[20..], inner[12..]);
        }
        let mut short = pools.small.alloc().unwrap();
        assert!(!tunnel.wrap(&mut short), "there is no frame in it");
        pools.free(short);
    }
}
