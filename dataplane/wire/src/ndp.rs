//! Decides what a neighbour solicitation asks, and answers it (RFC 4861). It never decides whether we should answer.

use crate::build::Headers;
use crate::{Addr, DropReason, Kind, MacAddr, Parsed, Proto, checksum};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Addr = Addr::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// Bytes of the frame that [`advertise`] writes.
pub const ADVERTISEMENT_LEN: usize = 86;

/// What a neighbour solicitation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicited {
    /// The address whose owner is wanted.
    pub target: Addr,
    /// The asker's own hardware address, where it gives one.
    pub source_link: Option<MacAddr>,
    /// Duplicate address detection: the asker wants to use `target` itself (RFC 4862 section 5.4).
    pub dad: bool,
}

/// Reads the neighbour solicitation `p` in `frame`, with every check that RFC 4861 section 7.1.1 asks for.
///
/// [`DropReason::NdpNotForUs`] for other neighbour discovery, [`DropReason::NdpMalformed`] where a check fails,
/// [`DropReason::TransportChecksum`] where it is the checksum.
pub fn solicitation(frame: &[u8], p: &Parsed) -> Result<Solicited, DropReason> {
    let malformed = DropReason::NdpMalformed;
    if p.kind != Kind::Ndp(SOLICITATION) {
        return Err(DropReason::NdpNotForUs);
    }
    let message = frame.get(usize::from(p.l4)..p.end as usize).ok_or(malformed)?;
    let (fixed, options) = message.split_first_chunk::<24>().ok_or(malformed)?;
    // Fragmented neighbour discovery is refused: RFC 6980 section 5.
    if p.ttl != 255 || fixed[1] != 0 || p.fragment {
        return Err(malformed);
    }
    let target = Addr::v6(*fixed[8..].first_chunk().ok_or(malformed)?);
    let source_link = source_link(options)?;
    let dad = p.tuple.src.octets() == [0; 16];
    // A group that is not the target's is heard by nobody who could answer (RFC 4291 section 2.7.1).
    let to_group = p.tuple.dst.is_multicast_or_broadcast();
    if target.is_v4()
        || target.is_multicast_or_broadcast()
        || (to_group && !is_solicited_node(&p.tuple.dst, &target))
        || (dad && (source_link.is_some() || !to_group))
    {
        return Err(malformed);
    }
    if !checksum::verify_transport(frame, p) {
        return Err(DropReason::TransportChecksum);
    }
    Ok(Solicited {
        target,
        source_link,
        dad,
    })
}

/// Walks the options; each says its length in units of eight bytes, never 0.
fn source_link(mut options: &[u8]) -> Result<Option<MacAddr>, DropReason> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len > 0) else {
            return Err(DropReason::NdpMalformed);
        };
        if let (SOURCE_LINK, [_, _, a, b, c, d, e, f]) = (kind, option) {
            found = Some(MacAddr([*a, *b, *c, *d, *e, *f]));
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(DropReason::NdpMalformed)
    }
}

/// ff02::1:ff00:0/104 with the end of the target (RFC 4291 section 2.7.1).
const fn is_solicited_node(addr: &Addr, target: &Addr) -> bool {
    let [.., a, b, c] = target.octets();
    matches!(addr.octets(), [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z] if x == a && y == b && z == c)
}

/// Writes the frame that tells the asker of `solicited` that its target is at `our`, a router: to `asker` and `asker_mac`, or
/// for duplicate address detection to all nodes. Returns [`ADVERTISEMENT_LEN`]; `None` when `out` is smaller.
pub fn advertise(
    out: &mut [u8],
    solicited: &Solicited,
    asker: Addr,
    asker_mac: MacAddr,
    our: MacAddr,
) -> Option<usize> {
    let (dst, eth_dst, flags) = if solicited.dad {
        (ALL_NODES, ALL_NODES_MAC, ROUTER | OVERRIDE)
    } else {
        (
            asker,
            solicited.source_link.unwrap_or(asker_mac),
            ROUTER | SOLICITED | OVERRIDE,
        )
    };
    let [a, b, c, d, e, f] = our.0;
    let headers = Headers {
        eth_src: our,
        eth_dst,
        src: solicited.target,
        dst,
        proto: Proto::ICMPV6,
        tos: 0,
        ttl: 255,
    };
    headers.write(
        out,
        2,
        &[
            &[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0],
            &solicited.target.octets(),
            &[TARGET_LINK, 1, a, b, c, d, e, f],
        ],
    )
}
