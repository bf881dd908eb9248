//! Decides whether an ICMP error about a packet may be sent, and writes it. It never decides that one is due, and never limits their rate.

use crate::build::Headers;
use crate::{Addr, ETH_LEN, Kind, MacAddr, Parsed, Proto};

/// What we tell a sender about its packet. (RFC 792, RFC 1191, RFC 1812 section 5.2.7, RFC 4443.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Larger than the next hop takes: 3/4 with the MTU in bytes, IPv6 2/0.
    TooBig {
        /// The largest IP packet that passes, in bytes.
        mtu: u16,
    },
    /// TTL or hop limit used up: 11/0, IPv6 3/0.
    TimeExceeded,
    /// No route: 3/0, IPv6 1/0.
    NetUnreachable,
    /// The address does not answer: 3/1, IPv6 1/3.
    HostUnreachable,
    /// Nobody serves this port: 3/3, IPv6 1/4.
    PortUnreachable,
    /// Administratively prohibited: 3/13, IPv6 1/1.
    Prohibited,
}

impl IcmpError {
    /// Type and code, then four bytes of which only the MTU is ever set.
    fn header(self, v6: bool) -> [u8; 8] {
        let (kind, code) = match (self, v6) {
            (Self::TooBig { .. }, false) => (3, 4),
            (Self::TooBig { .. }, true) => (2, 0),
            (Self::TimeExceeded, false) => (11, 0),
            (Self::TimeExceeded, true) => (3, 0),
            (Self::NetUnreachable, false) => (3, 0),
            (Self::NetUnreachable, true) => (1, 0),
            (Self::HostUnreachable, false) => (3, 1),
            (Self::HostUnreachable, true) => (1, 3),
            (Self::PortUnreachable, false) => (3, 3),
            (Self::PortUnreachable, true) => (1, 4),
            (Self::Prohibited, false) => (3, 13),
            (Self::Prohibited, true) => (1, 1),
        };
        // The low half of the four bytes is where both families read the MTU.
        let [high, low] = if let Self::TooBig { mtu } = self {
            mtu.to_be_bytes()
        } else {
            [0; 2]
        };
        [kind, code, 0, 0, 0, 0, high, low]
    }
}

/// The MTU that the error `p` in `frame` tells of a packet that was too big; `None` for other errors, and where a router before
/// RFC 1191 left it out.
pub fn told_mtu(frame: &[u8], p: &Parsed) -> Option<u32> {
    let Kind::IcmpError { .. } = p.kind else { return None };
    let header = frame.get(usize::from(p.l4)..)?.first_chunk::<8>()?;
    let mtu = match (p.v6, header[0], header[1]) {
        (false, 3, 4) => u32::from(u16::from_be_bytes([header[6], header[7]])),
        (true, 2, _) => u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        _ => return None,
    };
    (mtu > 0).then_some(mtu)
}

/// Longest error packet in IPv4 (RFC 1812 section 4.3.2.3), IP header included.
const LONGEST_V4: usize = 576;
/// Longest error packet in IPv6, the minimum MTU (RFC 4443 section 2.4c).
const LONGEST_V6: usize = 1280;

/// Whether RFC 1122 section 3.2.2 and RFC 4443 section 2.4e let anybody answer this packet with an error: not when it is an
/// ICMP error itself, a fragment but the first, sent to more than one host, or from no single host.
pub fn may_answer(original: &[u8], p: &Parsed) -> bool {
    // A redirect is an informational type to RFC 4443, and excluded by name.
    let about_error = matches!(p.kind, Kind::IcmpError { .. } | Kind::Ndp(137));
    let later = p.fragment_place(original).is_some_and(|f| f.offset != 0);
    let link = usize::from(p.l3).checked_sub(ETH_LEN).and_then(|at| original.get(at));
    let to_group = p.tuple.dst.is_multicast_or_broadcast() || link.is_none_or(|first| first & 1 != 0);
    !about_error && !later && !to_group && names_one_host(&p.tuple.src)
}

fn names_one_host(addr: &Addr) -> bool {
    if addr.is_v4() {
        let [first, ..] = addr.v4_octets();
        !matches!(first, 0 | 127 | 224..)
    } else {
        let [first, middle @ .., last] = addr.octets();
        first != 0xff && !(first == 0 && last <= 1 && middle == [0; 14])
    }
}

/// Writes a whole frame to `out`: `error` about the packet `p` in `original` (as it arrived), from `from` to its source.
/// Returns the frame's length.
///
/// `None` when such a packet must not be answered with an error (see [`may_answer`]), `from` is of the other family, or `out`
/// is too small; 1294 bytes always do.
pub fn write_error(
    out: &mut [u8],
    original: &[u8],
    p: &Parsed,
    error: IcmpError,
    from: Addr,
    eth_src: MacAddr,
    eth_dst: MacAddr,
) -> Option<usize> {
    if !may_answer(original, p) {
        return None;
    }
    // Precedence "internetwork control" for IPv4 errors: RFC 1812 section 4.3.2.5.
    let (proto, tos, longest) = if p.v6 {
        (Proto::ICMPV6, 0, LONGEST_V6)
    } else {
        (Proto::ICMP, 0xc0, LONGEST_V4)
    };
    let headers = Headers {
        eth_src,
        eth_dst,
        src: from,
        dst: p.tuple.src,
        proto,
        tos,
        ttl: 64,
    };
    let header = error.header(p.v6);
    let room = longest - (headers.len() - ETH_LEN) - header.len();
    let packet = original.get(usize::from(p.l3)..p.end as usize)?;
    headers.write(out, 2, &[&header, &packet[..packet.len().min(room)]])
}
