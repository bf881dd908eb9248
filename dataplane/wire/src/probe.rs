//! Decides which segment makes a TCP end say whether it has a connection. It never decides whom to ask.

use crate::build::Headers;
use crate::{Addr, Kind, MacAddr, Parsed, Proto, tcp_flags};

/// Far outside of any window (at most 2^30 bytes, RFC 7323 section 2.3), whichever segment this is reckoned from.
const OUT_OF_WINDOW: u32 = 1 << 30;

/// Any that is not zero will do.
const WINDOW: u16 = 1024;

/// Value and echo of the timestamp option (RFC 7323 section 3).
fn timestamp(mut options: &[u8]) -> Option<[u8; 8]> {
    loop {
        options = match options {
            [0, ..] | [] => return None,
            [1, rest @ ..] => rest,
            [8, 10, rest @ ..] => return rest.first_chunk().copied(),
            [_, len, ..] if *len >= 2 => options.get(usize::from(*len)..)?,
            _ => return None,
        };
    }
}

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
    let header = original.get(usize::from(p.l4)..usize::from(p.payload))?;
    let (fixed, options) = header.split_at_checked(20)?;
    // Built anew: a sender whose policy lets nothing out must not choose what is in it. Where timestamps were agreed on, a segment
    // without may be ignored (RFC 7323 section 3.2).
    let stamp = timestamp(options);
    let mut room = [0u8; 32];
    let len = if stamp.is_some() { 32 } else { 20 };
    let probe = &mut room[..len];
    probe[..2].copy_from_slice(&from.1.to_be_bytes());
    probe[2..4].copy_from_slice(&fixed[2..4]);
    let seq = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    probe[4..8].copy_from_slice(&seq.wrapping_sub(OUT_OF_WINDOW).to_be_bytes());
    probe[8..12].copy_from_slice(&fixed[8..12]);
    probe[12] = (len as u8 / 4) << 4;
    probe[13] = tcp_flags::ACK;
    probe[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    if let Some(stamp) = stamp {
        probe[20..24].copy_from_slice(&[1, 1, 8, 10]);
        probe[24..32].copy_from_slice(&stamp);
    }
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

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn a_timestamp_is_found_among_options_and_nothing_else_is_taken_for_one() {
        let stamp = [1, 2, 3, 4, 5, 6, 7, 8];
        let option = [[8, 10].as_slice(), &stamp].concat();
        for before in [vec![], vec![1, 1], vec![2, 4, 5, 180], vec![3, 3, 7, 1]] {
            assert_eq!(timestamp(&[before, option.clone()].concat()), Some(stamp));
        }
        for none in [
            &[][..],
            &[0, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
            &option[..9],
            &[2, 0, 8, 10],
            &[2, 40],
            &[5, 12, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        ] {
            assert_eq!(timestamp(none), None, "{none:?}");
        }
    }
}
