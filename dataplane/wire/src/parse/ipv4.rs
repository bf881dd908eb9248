//! Decides whether an IPv4 header is sound (RFC 791). It never reassembles.

use super::{Fragment, Kind, MAX_IP_LEN, Parsed, transport};
use crate::{Addr, DropReason, Proto, Tuple, checksum};

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

pub(super) const fn fragment(header: &[u8; 20]) -> Option<Fragment> {
    let field = u16::from_be_bytes([header[6], header[7]]);
    if field & (MORE_FRAGMENTS | OFFSET) == 0 {
        return None;
    }
    let id = u16::from_be_bytes([header[4], header[5]]) as u32;
    Some(Fragment {
        id,
        offset: (field & OFFSET) << 3,
        more: field & MORE_FRAGMENTS != 0,
    })
}

/// Source and destination of a header.
pub(super) const fn addresses(h: &[u8; 20]) -> (Addr, Addr) {
    (
        Addr::v4([h[12], h[13], h[14], h[15]]),
        Addr::v4([h[16], h[17], h[18], h[19]]),
    )
}

#[inline]
pub(super) fn parse(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let malformed = DropReason::Ipv4Malformed;
    let bytes = frame.get(l3..).filter(|b| b.len() <= MAX_IP_LEN).ok_or(malformed)?;
    let header = bytes.first_chunk::<20>().ok_or(malformed)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < 20 || total < header_len {
        return Err(malformed);
    }
    let packet = bytes.get(..total).ok_or(malformed)?;
    if checksum::sum(packet.get(..header_len).ok_or(malformed)?).folded() != 0xffff {
        return Err(DropReason::Ipv4Checksum);
    }
    let place = fragment(header);
    let later = place.is_some_and(|f| f.offset != 0);
    let proto = Proto(header[9]);
    if place.is_some_and(|f| usize::from(f.offset) + total - header_len > MAX_IP_LEN) {
        return Err(malformed);
    }
    // A second fragment at 8 bytes would overwrite the flags that the first one was judged by (RFC 3128).
    if proto == Proto::TCP && place.is_some_and(|f| f.offset == 8) {
        return Err(DropReason::FragmentTiny);
    }
    let (src, dst) = addresses(header);
    let l4 = u16::try_from(l3 + header_len).map_err(|_| malformed)?;
    let mut parsed = Parsed {
        tuple: Tuple {
            src,
            dst,
            sport: 0,
            dport: 0,
            proto,
        },
        end: (l3 + total) as u32,
        l3: l4 - header_len as u16,
        l4,
        payload: l4,
        kind: Kind::Other,
        ttl: header[8],
        tos: header[1],
        tcp_flags: 0,
        v6: false,
        ip_options: header_len > 20,
        fragment: place.is_some(),
        dont_fragment: u16::from_be_bytes([header[6], header[7]]) & DONT_FRAGMENT != 0,
    };
    if !later {
        transport::parse(&packet[header_len..], &mut parsed)?;
    }
    Ok(parsed)
}
