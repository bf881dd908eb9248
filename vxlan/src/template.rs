//! Decides the headers in front of an inner frame, for one peer and network. Everything constant is worked out once; it never
//! touches the inner packet beyond its Ethernet addresses.

use crate::{VNI_VALID, encap_ecn};
use sluice_wire::checksum::{self, Sum};
use sluice_wire::{Addr, DropReason, ETH_LEN, Kind, MAX_IP_LEN, MacAddr, Parsed, Proto, Vni, ethertype};

/// Bytes in front of the inner frame with an IPv4 outer header: Ethernet 14, IPv4 20, UDP 8, VXLAN 8.
pub const OVERHEAD_V4: usize = 50;
/// Bytes in front of the inner frame with an IPv6 outer header: Ethernet 14, IPv6 40, UDP 8, VXLAN 8.
pub const OVERHEAD_V6: usize = 70;

/// What a kernel's VXLAN device uses unless told otherwise.
const TTL: u8 = 64;

/// The outer UDP source port for a flow: 49152 to 65535, so that the underlay spreads flows and keeps each in order (RFC 7348
/// section 5). Feed it a hash that is the same on every worker.
pub const fn source_port(hash: u64) -> u16 {
    0xc000 | ((hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) as u16 & 0x3fff)
}

/// Whether [`source_port`] ever gives this one.
pub const fn is_source_port(port: u16) -> bool {
    port >= 0xc000
}

/// One direction of a tunnel: from this node to one peer, in one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// This node's address on the underlay.
    pub local: Addr,
    /// The peer's, of the same family.
    pub remote: Addr,
    /// Outer Ethernet source.
    pub outer_src_mac: MacAddr,
    /// Outer Ethernet destination: the next hop on the underlay.
    pub outer_dst_mac: MacAddr,
    /// Network identifier.
    pub vni: Vni,
    /// UDP destination port.
    pub port: u16,
    /// Inner Ethernet source: our VTEP's.
    pub inner_src_mac: MacAddr,
    /// Inner Ethernet destination: the peer's VTEP's.
    pub inner_dst_mac: MacAddr,
    /// Fill in the UDP checksum over IPv4 too, where it may be 0 (RFC 7348 section 5).
    pub checksum_v4: bool,
}

/// The prepared headers of a [`Tunnel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Outer headers, then the inner frame's two addresses; the first `overhead() + 12` bytes count.
    bytes: [u8; OVERHEAD_V6 + 12],
    v6: bool,
    /// Asked for several times a packet.
    overhead: u8,
    checksum: bool,
    /// The constant words of the IPv4 header.
    ip: Sum,
    /// The constant words of what the UDP checksum covers: pseudo-header, ports, VXLAN, inner Ethernet addresses.
    udp: Sum,
}

impl Template {
    /// Prepares the headers; `None` when the two ends are of different families.
    pub fn new(tunnel: &Tunnel) -> Option<Self> {
        let v6 = !tunnel.local.is_v4();
        if tunnel.remote.is_v4() == v6 {
            return None;
        }
        let overhead = if v6 { OVERHEAD_V6 } else { OVERHEAD_V4 };
        let mut bytes = [0; OVERHEAD_V6 + 12];
        bytes[..6].copy_from_slice(&tunnel.outer_dst_mac.0);
        bytes[6..12].copy_from_slice(&tunnel.outer_src_mac.0);
        let ether = if v6 { ethertype::IPV6 } else { ethertype::IPV4 };
        bytes[12..ETH_LEN].copy_from_slice(&ether.to_be_bytes());
        let (ip, rest) = bytes[ETH_LEN..].split_at_mut(if v6 { 40 } else { 20 });
        if v6 {
            ip[0] = 0x60;
            ip[6] = Proto::UDP.0;
            ip[7] = TTL;
            ip[8..24].copy_from_slice(&tunnel.local.octets());
            ip[24..40].copy_from_slice(&tunnel.remote.octets());
        } else {
            // Flags stay 0: the underlay may fragment, as it may with a kernel's VXLAN device.
            ip[0] = 0x45;
            ip[8] = TTL;
            ip[9] = Proto::UDP.0;
            ip[12..16].copy_from_slice(&tunnel.local.v4_octets());
            ip[16..20].copy_from_slice(&tunnel.remote.v4_octets());
        }
        rest[2..4].copy_from_slice(&tunnel.port.to_be_bytes());
        rest[8] = VNI_VALID;
        rest[12..16].copy_from_slice(&(tunnel.vni.get() << 8).to_be_bytes());
        rest[16..22].copy_from_slice(&tunnel.inner_dst_mac.0);
        rest[22..28].copy_from_slice(&tunnel.inner_src_mac.0);
        let udp = checksum::pseudo(&tunnel.local, &tunnel.remote, Proto::UDP, 0) + checksum::sum(&rest[..28]);
        let ip = checksum::sum(ip);
        Some(Self {
            bytes,
            v6,
            overhead: overhead as u8,
            checksum: v6 || tunnel.checksum_v4,
            ip,
            udp,
        })
    }

    /// Bytes in front of the inner frame: [`OVERHEAD_V4`] or [`OVERHEAD_V6`].
    #[inline(always)]
    pub const fn overhead(&self) -> usize {
        self.overhead as usize
    }

    /// Whether the outer UDP checksum is filled in.
    #[inline(always)]
    pub const fn sums(&self) -> bool {
        self.checksum
    }

    /// Addresses of this node and of the peer on the underlay.
    pub fn ends(&self) -> (Addr, Addr) {
        let ip = &self.bytes[ETH_LEN..];
        if self.v6 {
            let addr = |at: usize| ip[at..].first_chunk().map_or(Addr::v6([0; 16]), |a| Addr::v6(*a));
            (addr(8), addr(24))
        } else {
            let addr = |at: usize| ip[at..].first_chunk().map_or(Addr::v4([0; 4]), |a| Addr::v4(*a));
            (addr(12), addr(16))
        }
    }

    /// The headers alone as a slice of [`Self::overhead`] bytes, with length, identification and source port still 0.
    pub fn headers(&self) -> &[u8] {
        &self.bytes[..self.overhead()]
    }

    /// Writes the outer headers, and the inner Ethernet addresses, into `frame`: it begins at the outer Ethernet header, the inner
    /// frame follows at [`Self::overhead`] and fills the rest.
    ///
    /// `inner_tos` is the inner type of service or traffic class, `ip_id` the identification of an IPv4 outer header.
    /// `complete` is the inner packet as parsed when the frame began with its Ethernet header, if its transport checksum is
    /// known to be complete and right: the outer checksum then costs the same for any length.
    ///
    /// Nothing is written on an error: [`DropReason::NoHeadroom`] when there is no inner Ethernet header behind the overhead,
    /// [`DropReason::TooBig`] when the outer IP packet would pass 65535 bytes.
    #[inline(always)]
    pub fn write(
        &self,
        frame: &mut [u8],
        src_port: u16,
        ip_id: u16,
        inner_tos: u8,
        complete: Option<&Parsed>,
    ) -> Result<(), DropReason> {
        self.write_unsummed(frame, src_port, ip_id, inner_tos)?;
        if self.checksum {
            self.write_checksum(frame, src_port, complete);
        }
        Ok(())
    }

    /// The same but for the outer UDP checksum, which stays 0: [`Self::write_checksum`] is still to come where [`Self::sums`] says so.
    #[inline(always)]
    pub fn write_unsummed(&self, frame: &mut [u8], src_port: u16, ip_id: u16, inner_tos: u8) -> Result<(), DropReason> {
        const ETH_V4: usize = OVERHEAD_V4 + ETH_LEN;
        const ETH_V6: usize = OVERHEAD_V6 + ETH_LEN;
        let len = frame.len();
        if len > ETH_LEN + MAX_IP_LEN {
            return Err(DropReason::TooBig);
        }
        let tos = encap_ecn(inner_tos);
        // Arrays, because copies of a known length are a few wide stores.
        if self.v6 {
            let Some(head) = frame.first_chunk_mut::<ETH_V6>() else {
                return Err(DropReason::NoHeadroom);
            };
            let udp_len = (len - (ETH_LEN + 40)) as u16;
            head[..V6].copy_from_slice(&self.bytes[..V6]);
            head[ETH_LEN + 1] = tos << 4;
            put(head, ETH_LEN + 4, udp_len);
            put(head, ETH_LEN + 40, src_port);
            put(head, ETH_LEN + 44, udp_len);
        } else {
            let Some(head) = frame.first_chunk_mut::<ETH_V4>() else {
                return Err(DropReason::NoHeadroom);
            };
            let ip_len = (len - ETH_LEN) as u16;
            head[..V4].copy_from_slice(&self.bytes[..V4]);
            let sum = self.ip + Sum::of(u16::from(tos)) + Sum::of(ip_len) + Sum::of(ip_id);
            head[ETH_LEN + 1] = tos;
            put(head, ETH_LEN + 2, ip_len);
            put(head, ETH_LEN + 4, ip_id);
            put(head, ETH_LEN + 10, sum.checksum());
            put(head, ETH_LEN + 20, src_port);
            put(head, ETH_LEN + 24, ip_len - 20);
        }
        Ok(())
    }

    /// Fills the outer UDP checksum in, over headers that are written.
    pub fn write_checksum(&self, frame: &mut [u8], src_port: u16, complete: Option<&Parsed>) {
        let Some((head, body)) = frame.split_at_mut_checked(self.overhead() + 12) else {
            return;
        };
        // All that is behind the IP header: UDP's and VXLAN's, and the inner frame.
        let udp_len = Sum::of((28 + body.len()) as u16);
        let inner = complete
            .and_then(|p| sum_by_checksum(body, p))
            .unwrap_or_else(|| checksum::sum(body));
        // The length counts twice: in the pseudo-header and in the header.
        let sum = self.udp + Sum::of(src_port) + udp_len + udp_len + inner;
        let at = self.overhead() - 10;
        head[at..at + 2].copy_from_slice(&sum.udp_checksum().to_be_bytes());
    }
}

/// Bytes that are written: the overhead and the inner frame's addresses.
const V4: usize = OVERHEAD_V4 + 12;
const V6: usize = OVERHEAD_V6 + 12;

#[inline(always)]
fn put<const N: usize>(bytes: &mut [u8; N], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The sum of an inner frame from its Ethernet type on (`body`), from its headers only: a transport segment whose checksum is
/// right sums, with its pseudo-header, to all ones, so alone it sums to what cancels the pseudo-header.
///
/// `None` where that is not so: no checksum, one that covers only part of the packet, padding behind it, fragments.
fn sum_by_checksum(body: &[u8], p: &Parsed) -> Option<Sum> {
    // Offsets in `p` count from the inner Ethernet header, 12 bytes before `body`.
    let at = |offset: usize| offset.checked_sub(ETH_LEN - 2);
    let (l3, l4, end) = (at(p.l3.into())?, at(p.l4.into())?, at(p.end as usize)?);
    if p.fragment || end != body.len() || l3 != 2 || l4 > end {
        return None;
    }
    let headers = body.get(..l4)?;
    let len = end - l4;
    let proto = match p.kind {
        Kind::Tcp => Proto::TCP,
        Kind::Udp => {
            let header = body.get(l4..)?.first_chunk::<8>()?;
            let covered = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if header[6..] == [0, 0] || covered != len {
                return None;
            }
            Proto::UDP
        }
        Kind::EchoRequest | Kind::EchoReply if p.v6 => Proto::ICMPV6,
        // ICMP has no pseudo-header.
        Kind::EchoRequest | Kind::EchoReply => return Some(checksum::sum(headers)),
        _ => return None,
    };
    // From the bytes, not from `p.tuple`: addresses may have been rewritten since it was parsed.
    let addresses = checksum::sum(if p.v6 {
        headers.get(l3 + 8..l3 + 40)?
    } else {
        headers.get(l3 + 12..l3 + 20)?
    });
    let pseudo = addresses + Sum::of(u16::from(proto.0)) + Sum::of_u32(len as u32);
    Some(checksum::sum(headers) + pseudo.negated())
}
