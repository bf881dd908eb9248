//! Decides whether a packet is a tunnel packet for us, and where its inner frame lies. It never judges who sent it.

use crate::VNI_VALID;
use sluice_wire::{DropReason, ETH_LEN, Kind, Parsed, Plain, Vni, checksum};

const UDP_LEN: usize = 8;
const VXLAN_LEN: usize = 8;

/// Where the inner frame of a tunnel packet lies, from the outer frame's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The inner Ethernet header, all 14 bytes of which are there.
    pub offset: usize,
    /// End of the UDP datagram: what follows is padding, and no part of the inner frame.
    pub end: usize,
    /// ECN bits of the outer header, for [`crate::decap_ecn`].
    pub outer_ecn: u8,
}

/// Finds the inner frame of the packet `outer` in `frame`.
///
/// Reserved bits and reserved flags are ignored (RFC 7348 section 5). A UDP checksum of 0 is taken over IPv4 only, as a kernel
/// does unless told otherwise; any other must be right. Errors:
/// [`DropReason::FragmentUnsupported`], [`DropReason::NotSteered`] (no UDP, or to another port), [`DropReason::VxlanTruncated`],
/// [`DropReason::VxlanNoVni`], [`DropReason::UnknownVni`], [`DropReason::OuterChecksum`].
pub fn decapsulate(frame: &[u8], outer: &Parsed, port: u16, vni: Vni) -> Result<Inner, DropReason> {
    if outer.fragment {
        return Err(DropReason::FragmentUnsupported);
    }
    if outer.kind != Kind::Udp || outer.tuple.dport != port {
        return Err(DropReason::NotSteered);
    }
    let (inner, _) = read(frame, outer.l4.into(), outer.end as usize, outer.tos, vni)?;
    if !checksum::verify_transport(frame, outer) {
        return Err(DropReason::OuterChecksum);
    }
    Ok(inner)
}

/// The same for a plain packet, which is known to be UDP to the right port, without the reason.
#[inline(always)]
pub fn decapsulate_plain(frame: &[u8], outer: &Plain, vni: Vni) -> Option<Inner> {
    let (l4, _) = outer.checksum_place();
    let (inner, summed) = read(frame, l4.into(), outer.end as usize, outer.tos, vni).ok()?;
    let unsummed = !summed && !outer.words.is_v6();
    (unsummed || checksum::verify_transport(frame, &outer.parsed(frame))).then_some(inner)
}

/// Reads the headers at `l4` of a packet that ends at `end`; also says whether there is a checksum.
#[inline(always)]
fn read(frame: &[u8], l4: usize, end: usize, tos: u8, vni: Vni) -> Result<(Inner, bool), DropReason> {
    let truncated = DropReason::VxlanTruncated;
    let datagram = frame.get(l4..end).ok_or(truncated)?;
    let header = datagram.first_chunk::<{ UDP_LEN + VXLAN_LEN }>().ok_or(truncated)?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if len > datagram.len() || len < UDP_LEN + VXLAN_LEN + ETH_LEN {
        return Err(truncated);
    }
    if header[UDP_LEN] & VNI_VALID == 0 {
        return Err(DropReason::VxlanNoVni);
    }
    if u32::from_be_bytes([0, header[12], header[13], header[14]]) != vni.get() {
        return Err(DropReason::UnknownVni);
    }
    let inner = Inner {
        offset: l4 + UDP_LEN + VXLAN_LEN,
        end: l4 + len,
        outer_ecn: tos & 0b11,
    };
    Ok((inner, header[6..8] != [0, 0]))
}
