//! Decides which segment makes a TCP end say whether it has a connection. It never decides whom to ask.

use crate::build::Headers;
use crate::{Addr, Kind, MacAddr, Parsed, Proto, tcp_flags};

/// Far outside of any window (at most 2^30 bytes, RFC 7323 section 2.3), whichever segment this is reckoned from.
const OUT_OF_WINDOW: u32 = 1 << 30;

/// Writes a whole frame to `out`: an empty segment to whom the segment `p` in `original` goes, as if `from` had sent it, with
/// a sequence number that is out of window. Returns its length.
///
/// Who has the connection answers with what it expects next (RFC 9293 section 3.10.7.4), and nothing else comes of it; who does
/// not, with a reset without ACK (section 3.5.2). `None` when `p` is no TCP segment with ACK, opens or resets a connection, or
/// is a fragment; or when `out` is too small for it.
pub fn tcp_probe(
    out: &mut [u8],
    original: &[u8],
    p: &Parsed,
    from: (Addr, u16),
    (eth_src, eth_dst): (MacAddr, MacAddr),
) -> Option<usize> {
    let control = p.tcp_flags & (tcp_flags::SYN | tcp_flags::RST | tcp_flags::ACK);
    if p.kind != Kind::Tcp || p.fragment || control != tcp_flags::ACK {
        return None;
    }
    // With its options: where timestamps were agreed on, a segment without may be ignored (RFC 7323 section 3.2).
    let header = original.get(usize::from(p.l4)..usize::from(p.payload))?;
    let mut room = [0u8; 60];
    let probe = room.get_mut(..header.len()).filter(|probe| probe.len() >= 20)?;
    probe.copy_from_slice(header);
    probe[..2].copy_from_slice(&from.1.to_be_bytes());
    let seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    probe[4..8].copy_from_slice(&seq.wrapping_sub(OUT_OF_WINDOW).to_be_bytes());
    probe[13] = tcp_flags::ACK;
    // Checksum and urgent pointer.
    probe[16..20].fill(0);
    Headers {
        eth_src,
        eth_dst,
        src: from.0,
        dst: p.tuple.dst,
        proto: Proto::TCP,
        tos: 0,
        ttl: 64,
    }
    .write(out, 16, &[probe])
}
