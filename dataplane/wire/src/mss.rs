//! Decides whether a SYN announces larger segments than a path takes, and lowers what it announces (RFC 9293 section 3.7.1).
//! It never raises it.

use crate::checksum::{self, Sum};
use crate::{Checksum, Kind, Parsed, tcp_flags};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;

/// Lowers the maximum segment size that the SYN `p` announces to `most` bytes, with its checksum; true when it did.
///
/// A SYN without the option is left alone: it means 536 bytes (1220 in IPv6), which every path takes.
pub fn clamp_mss(frame: &mut [u8], p: &Parsed, checksum: Checksum, most: u16) -> bool {
    if p.kind != Kind::Tcp || p.tcp_flags & tcp_flags::SYN == 0 {
        return false;
    }
    let Some(header) = frame.get_mut(usize::from(p.l4)..usize::from(p.payload)) else {
        return false;
    };
    let Some(at) = find(header.get(20..).unwrap_or(&[])).map(|at| at + 20) else {
        return false;
    };
    let Some(field) = header.get_mut(at..at + 2) else {
        return false;
    };
    let old = u16::from_be_bytes([field[0], field[1]]);
    if old <= most {
        return false;
    }
    field.copy_from_slice(&most.to_be_bytes());
    if !p.is_partial(checksum)
        && let Some(check) = header.get_mut(16..18)
    {
        // At an odd offset each of the value's bytes counts in the other half of a word.
        let swap = |sum: Sum| if at % 2 == 1 { sum.at_odd_offset() } else { sum };
        let held = u16::from_be_bytes([check[0], check[1]]);
        check.copy_from_slice(&checksum::update(held, swap(Sum::of(old)), swap(Sum::of(most))).to_be_bytes());
    }
    true
}

/// Where the option's value lies in `options`.
fn find(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at..)? {
            [NO_OPERATION, ..] => at += 1,
            [MSS, 4, _, _, ..] => return Some(at + 2),
            [] | [END | MSS, ..] | [_] | [_, 0 | 1, ..] => return None,
            [_, len, ..] => at += usize::from(len),
        }
    }
}
