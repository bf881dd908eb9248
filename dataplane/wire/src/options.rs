//! Decides whether a packet's IPv4 options may pass (RFC 791 section 3.1). It never acts on one: record route, timestamp and
//! router alert pass as they are.

use crate::{DropReason, Parsed};

const END: u8 = 0;
const NOTHING: u8 = 1;
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;

/// Looks through the IPv4 options of the packet `p` in `frame`; a packet of IPv6 has none.
///
/// [`DropReason::SourceRouted`] where one names another destination, as a Linux that is left as it comes refuses it
/// (`accept_source_route`); [`DropReason::Ipv4Malformed`] where one does not lie within the header.
pub fn check_options(frame: &[u8], p: &Parsed) -> Result<(), DropReason> {
    if p.v6 || !p.ip_options {
        return Ok(());
    }
    let malformed = DropReason::Ipv4Malformed;
    let first = usize::from(p.l3) + 20;
    let mut rest = frame.get(first..usize::from(p.l4)).ok_or(malformed)?;
    while let [kind, after @ ..] = rest {
        rest = match *kind {
            END => return Ok(()),
            NOTHING => after,
            LOOSE_ROUTE | STRICT_ROUTE => return Err(DropReason::SourceRouted),
            _ => {
                let len = usize::from(*after.first().ok_or(malformed)?);
                rest.get(len..).filter(|_| len >= 2).ok_or(malformed)?
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, checksum, parse};

    /// An ICMP echo with these options, padded to whole words.
    fn verdict(options: &[u8]) -> Result<(), DropReason> {
        let len = 20 + options.len().next_multiple_of(4);
        let mut frame = vec![0; 14 + len + 8];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x40 | (len / 4) as u8;
        frame[17] = (len + 8) as u8;
        frame[23] = 1;
        frame[34..34 + options.len()].copy_from_slice(options);
        let sum = checksum::sum(&frame[14..14 + len]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame[14 + len] = 8;
        let Ok(Packet::Ip(parsed)) = parse(&frame) else {
            panic!("a sound packet")
        };
        check_options(&frame, &parsed)
    }

    #[test]
    fn source_routes_are_found_wherever_they_are_and_others_pass() {
        let (loose, strict) = ([131, 7, 4, 1, 2, 3, 4], [137, 3, 4]);
        for passes in [
            &[][..],
            &[1, 1, 1],
            &[7, 7, 4, 0, 0, 0, 0],
            &[148, 4, 0, 0],
            &[68, 4, 5, 0],
            &[0, 131, 0xff],
        ] {
            assert_eq!(verdict(passes), Ok(()), "{passes:?}");
        }
        for route in [&loose[..], &strict] {
            for before in [&[][..], &[1], &[7, 7, 4, 0, 0, 0, 0], &[148, 4, 0, 0, 1]] {
                let options = [before, route].concat();
                assert_eq!(verdict(&options), Err(DropReason::SourceRouted), "{options:?}");
            }
        }
        for cut in [&[7, 0][..], &[7, 1], &[7, 5], &[1, 1, 1, 7], &[148, 4, 0, 0, 68, 40]] {
            assert_eq!(verdict(cut), Err(DropReason::Ipv4Malformed), "{cut:?}");
        }
    }
}
