//! Decides ports, kind and payload from a transport header. It never looks at the payload.

use super::{Kind, Parsed};
use crate::{DropReason, Proto};

/// Reads the transport header at the front of `segment` (the rest of the IP packet) into `parsed`, which already has
/// family, protocol, `l4` and `fragment`.
#[inline]
pub(super) fn parse(segment: &[u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    // Without the header in the first fragment nobody could judge the packet (RFC 1858 section 3, RFC 7112 section 5).
    let truncated = if parsed.fragment {
        DropReason::FragmentTiny
    } else {
        DropReason::TransportTruncated
    };
    let header_len = match (parsed.tuple.proto, parsed.v6) {
        (Proto::TCP, _) => {
            let header = segment.first_chunk::<20>().ok_or(truncated)?;
            let len = header[12] >> 4;
            if len < 5 || usize::from(len) * 4 > segment.len() {
                return Err(truncated);
            }
            parsed.kind = Kind::Tcp;
            parsed.tcp_flags = header[13];
            u16::from(len) * 4
        }
        (Proto::UDP, _) => {
            let header = segment.first_chunk::<8>().ok_or(truncated)?;
            let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if len < 8 || (len > segment.len() && !parsed.fragment) {
                return Err(truncated);
            }
            parsed.kind = Kind::Udp;
            8
        }
        (Proto::SCTP, _) => {
            segment.first_chunk::<12>().ok_or(truncated)?;
            parsed.kind = Kind::Sctp;
            12
        }
        (Proto::ICMP, false) | (Proto::ICMPV6, true) => {
            let header = segment.first_chunk::<8>().ok_or(truncated)?;
            parsed.kind = icmp_kind(header[0], parsed.v6, parsed.l4.checked_add(8).ok_or(truncated)?);
            8
        }
        _ => return Ok(()),
    };
    (parsed.tuple.sport, parsed.tuple.dport) = ports(parsed.kind, segment).ok_or(truncated)?;
    parsed.payload = parsed.l4.checked_add(header_len).ok_or(truncated)?;
    Ok(())
}

/// What an ICMP type is. Error messages: RFC 1122 section 3.2.2, and every type below 128 in RFC 4443 section 2.1.
pub(super) const fn icmp_kind(kind: u8, v6: bool, quoted: u16) -> Kind {
    match (kind, v6) {
        (8, false) | (128, true) => Kind::EchoRequest,
        (0, false) | (129, true) => Kind::EchoReply,
        (3 | 4 | 5 | 11 | 12, false) | (0..=127, true) => Kind::IcmpError { quoted },
        (133..=137, true) => Kind::Ndp(kind),
        _ => Kind::OtherIcmp,
    }
}

/// Source and destination port in the first eight bytes of a transport header: 0 for kinds without, twice the identifier
/// for echo. `None` when there are fewer than eight.
pub(super) fn ports(kind: Kind, segment: &[u8]) -> Option<(u16, u16)> {
    let h = segment.first_chunk::<8>()?;
    Some(match kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp => (u16::from_be_bytes([h[0], h[1]]), u16::from_be_bytes([h[2], h[3]])),
        Kind::EchoRequest | Kind::EchoReply => {
            let id = u16::from_be_bytes([h[4], h[5]]);
            (id, id)
        }
        _ => (0, 0),
    })
}
