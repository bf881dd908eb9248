//! Decides which packet an ICMP error is about, from the beginning of it that the error quotes. It never trusts a length
//! or a checksum in there: the quote is truncated, and routers on the way changed it.

use super::transport::{icmp_kind, ports};
use super::{Kind, ipv4, ipv6};
use crate::{Proto, Tuple};

/// The packet quoted in an ICMP error, in the direction in which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Addresses, ports (or the echo identifier) and protocol.
    pub tuple: Tuple,
    /// Bytes from the quoted IP header to the quoted transport header; eight or more follow.
    pub l3_len: u16,
    /// IPv6.
    pub v6: bool,
    /// What the quoted transport is. Never an ICMP error: nobody may send one about one.
    pub kind: Kind,
}

/// Reads the packet quoted at the front of `bytes`.
///
/// `None` when it cannot be told which flow it is of: no sound IP header, fewer than eight bytes of transport, a fragment
/// that is not the first, or itself an ICMP error.
pub fn parse_quoted(bytes: &[u8]) -> Option<Quoted> {
    let (src, dst, proto, l3_len, v6) = match bytes.first()? >> 4 {
        4 => {
            let header = bytes.first_chunk::<20>()?;
            let header_len = usize::from(header[0] & 0x0f) * 4;
            if header_len < 20 || ipv4::fragment(header).is_some_and(|f| f.offset != 0) {
                return None;
            }
            let (src, dst) = ipv4::addresses(header);
            (src, dst, Proto(header[9]), header_len, false)
        }
        6 => {
            let (src, dst) = ipv6::addresses(bytes.first_chunk()?)?;
            let walk = ipv6::walk(bytes).ok()?;
            if walk.fragment.is_some_and(|f| f.offset != 0) {
                return None;
            }
            (src, dst, walk.proto, walk.l4, true)
        }
        _ => return None,
    };
    let segment = bytes.get(l3_len..)?;
    let kind = match (proto, v6) {
        (Proto::TCP, _) => Kind::Tcp,
        (Proto::UDP, _) => Kind::Udp,
        (Proto::SCTP, _) => Kind::Sctp,
        (Proto::ICMP, false) | (Proto::ICMPV6, true) => icmp_kind(*segment.first()?, v6, 0),
        _ => Kind::Other,
    };
    if matches!(kind, Kind::IcmpError { .. }) {
        return None;
    }
    let (sport, dport) = ports(kind, segment)?;
    let l3_len = u16::try_from(l3_len).ok()?;
    Some(Quoted {
        tuple: Tuple {
            src,
            dst,
            sport,
            dport,
            proto,
        },
        l3_len,
        v6,
        kind,
    })
}
