//! Decides which reset refuses a TCP segment (RFC 9293 section 3.5.2). It never decides that one should.

use crate::build::Headers;
use crate::{Kind, MacAddr, Parsed, Proto, icmp, tcp_flags};

/// Writes a whole frame to `out`: the reset that answers the segment `p` in `original`. Returns its length.
///
/// `None` when `p` is no TCP, a fragment, itself a reset, or sent to or from more than one host; or when `out` is smaller
/// than 74 bytes.
pub fn tcp_reset(out: &mut [u8], original: &[u8], p: &Parsed, eth_src: MacAddr, eth_dst: MacAddr) -> Option<usize> {
    if p.kind != Kind::Tcp || p.fragment || p.tcp_flags & tcp_flags::RST != 0 || !icmp::may_answer(original, p) {
        return None;
    }
    let header = original.get(usize::from(p.l4)..)?.first_chunk::<20>()?;
    let mut reset = [0u8; 20];
    reset[..2].copy_from_slice(&header[2..4]);
    reset[2..4].copy_from_slice(&header[..2]);
    reset[12] = 5 << 4;
    if p.tcp_flags & tcp_flags::ACK != 0 {
        reset[4..8].copy_from_slice(&header[8..12]);
        reset[13] = tcp_flags::RST;
    } else {
        let control = (p.tcp_flags & (tcp_flags::SYN | tcp_flags::FIN)).count_ones();
        let seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let next = seq.wrapping_add(p.end - u32::from(p.payload)).wrapping_add(control);
        reset[8..12].copy_from_slice(&next.to_be_bytes());
        reset[13] = tcp_flags::RST | tcp_flags::ACK;
    }
    let (src, dst) = (p.tuple.dst, p.tuple.src);
    Headers {
        eth_src,
        eth_dst,
        src,
        dst,
        proto: Proto::TCP,
        tos: 0,
        ttl: 64,
    }
    .write(out, 16, &[&reset])
}
