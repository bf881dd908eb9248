//! Decides whether an IPv6 header and its extension headers are sound (RFC 8200), and where they end. It never reassembles.

use super::{Fragment, Kind, MAX_IP_LEN, Parsed, transport};
use crate::{Addr, DropReason, Proto, Tuple};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// More than any sender has a use for (RFC 8200 section 4.1 orders six, the last before the transport header).
const MOST_EXTENSIONS: usize = 8;

/// Where a packet's extension headers lead.
pub(super) struct Walk {
    pub(super) proto: Proto,
    /// Bytes from the IPv6 header to the transport header.
    pub(super) l4: usize,
    pub(super) extensions: bool,
    pub(super) fragment: Option<Fragment>,
    /// Bytes from the IPv6 header to what the fragment header divides; 0 without one.
    pub(super) divided: usize,
}

/// Source and destination of a header; `None` where one of them is a mapped IPv4 address, which no wire may carry.
pub(super) fn addresses(header: &[u8; 40]) -> Option<(Addr, Addr)> {
    let src = Addr::v6(*header[8..24].first_chunk()?);
    let dst = Addr::v6(*header[24..40].first_chunk()?);
    (!src.is_v4() && !dst.is_v4()).then_some((src, dst))
}

/// Walks the extension headers of `packet`, which begins with its IPv6 header and may be cut short behind the transport header.
pub(super) fn walk(packet: &[u8]) -> Result<Walk, DropReason> {
    let malformed = DropReason::Ipv6Malformed;
    let mut next = *packet.get(6).ok_or(malformed)?;
    let mut at = 40;
    let mut fragment: Option<Fragment> = None;
    let mut divided = 0;
    for count in 0..=MOST_EXTENSIONS {
        // The first fragment holds all headers, or nobody could judge the packet (RFC 7112 section 5).
        let cut_short = if fragment.is_some() {
            DropReason::FragmentTiny
        } else {
            malformed
        };
        let len = match next {
            HOP_BY_HOP if count > 0 => return Err(malformed),
            HOP_BY_HOP | DESTINATION | ROUTING | FRAGMENT => {
                let header = packet.get(at..).and_then(|b| b.first_chunk::<8>()).ok_or(cut_short)?;
                // With segments left the destination field is not where the packet finally goes, so nothing that was
                // decided by it would hold (RFC 5095 says the same of type 0).
                if next == ROUTING && header[3] != 0 {
                    return Err(DropReason::SourceRouted);
                }
                let len = if next == FRAGMENT {
                    8
                } else {
                    (usize::from(header[1]) + 1) * 8
                };
                if next == FRAGMENT {
                    if fragment.is_some() {
                        return Err(malformed);
                    }
                    let field = u16::from_be_bytes([header[2], header[3]]);
                    let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                    fragment = Some(Fragment {
                        id,
                        offset: field & 0xfff8,
                        more: field & 1 != 0,
                    });
                    divided = at + 8;
                }
                next = header[0];
                len
            }
            _ => {
                return Ok(Walk {
                    proto: Proto(next),
                    l4: at,
                    extensions: count > 0,
                    fragment,
                    divided,
                });
            }
        };
        at += len;
        if at > packet.len() {
            return Err(cut_short);
        }
        if fragment.is_some_and(|f| f.offset != 0) {
            return Ok(Walk {
                proto: Proto(next),
                l4: at,
                extensions: true,
                fragment,
                divided,
            });
        }
    }
    Err(DropReason::Ipv6ExtensionUnsupported)
}

#[inline]
pub(super) fn parse(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let malformed = DropReason::Ipv6Malformed;
    let bytes = frame.get(l3..).filter(|b| b.len() <= MAX_IP_LEN).ok_or(malformed)?;
    let header = bytes.first_chunk::<40>().ok_or(malformed)?;
    let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 {
        return Err(malformed);
    }
    let packet = bytes.get(..total).ok_or(malformed)?;
    let (src, dst) = addresses(header).ok_or(DropReason::Martian)?;
    let walk = walk(packet)?;
    if walk
        .fragment
        .is_some_and(|f| usize::from(f.offset) + total - walk.l4 > MAX_IP_LEN)
    {
        return Err(malformed);
    }
    let l4 = u16::try_from(l3 + walk.l4).map_err(|_| malformed)?;
    let mut parsed = Parsed {
        tuple: Tuple {
            src,
            dst,
            sport: 0,
            dport: 0,
            proto: walk.proto,
        },
        end: (l3 + total) as u32,
        l3: l4 - walk.l4 as u16,
        l4,
        payload: l4,
        kind: Kind::Other,
        ttl: header[7],
        tos: header[0] << 4 | header[1] >> 4,
        tcp_flags: 0,
        v6: true,
        ip_options: walk.extensions,
        fragment: walk.fragment.is_some(),
        dont_fragment: true,
    };
    if walk.fragment.is_none_or(|f| f.offset == 0) {
        transport::parse(packet.get(walk.l4..).ok_or(malformed)?, &mut parsed)?;
    }
    Ok(parsed)
}
