//! Sums against a twin that adds one word at a time.

use crate::sample::{Sample, ip, sample};
use proptest::prelude::*;
use sluice_wire::checksum::{
    self, Sum, complete, copy_sum, pseudo, sum, update_addr, update16, update32, verify_transport,
};
use sluice_wire::{Addr, Checksum};

/// RFC 1071 section 4.1, as slow as it reads.
fn slow(bytes: &[u8]) -> u16 {
    let mut acc = 0u32;
    for pair in bytes.chunks(2) {
        acc += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        acc = (acc & 0xffff) + (acc >> 16);
    }
    acc as u16
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..300)
}

proptest! {
    #[test]
    fn fast_is_slow(bytes in bytes(), skip in 0usize..9) {
        let bytes = bytes.get(skip..).unwrap_or(&[]);
        prop_assert_eq!(sum(bytes).folded(), slow(bytes));
        let mut copy = vec![0x55; bytes.len() + 1];
        prop_assert_eq!(copy_sum(&mut copy, bytes), Some(sum(bytes)));
        prop_assert_eq!(&copy[..bytes.len()], bytes);
        prop_assert_eq!(copy[bytes.len()], 0x55);
    }

    #[test]
    fn pieces_add_up(bytes in bytes(), cut in any::<prop::sample::Index>()) {
        let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
        let b = if a.len() % 2 == 1 { sum(b).at_odd_offset() } else { sum(b) };
        prop_assert_eq!(sum(a) + b, sum(&bytes));
    }

    #[test]
    fn a_difference_is_a_recomputation(mut bytes in proptest::collection::vec(any::<u8>(), 40), at in 0usize..4, new in any::<[u8; 16]>()) {
        // The first word stays and is not 0, as in any header: without it, sums of 0 and of 0xffff could not be told apart.
        bytes[0] |= 1;
        let at = 2 + at * 2;
        let (old, check) = (bytes.clone(), sum(&bytes).checksum());
        let word = |b: &[u8]| u16::from_be_bytes([b[at], b[at + 1]]);
        bytes[at..at + 2].copy_from_slice(&new[..2]);
        prop_assert_eq!(update16(check, word(&old), word(&bytes)), !slow(&bytes));
        let long = |b: &[u8]| u32::from_be_bytes(*b[at..].first_chunk().unwrap());
        bytes[at..at + 4].copy_from_slice(&new[..4]);
        prop_assert_eq!(update32(check, long(&old), long(&bytes)), !slow(&bytes));
        let v4 = |b: &[u8]| Addr::v4(*b[at..].first_chunk().unwrap());
        prop_assert_eq!(update_addr(check, &v4(&old), &v4(&bytes)), !slow(&bytes));
        let v6 = |b: &[u8]| Addr::v6(*b[at..].first_chunk().unwrap());
        bytes[at..at + 16].copy_from_slice(&new);
        prop_assert_eq!(update_addr(check, &v6(&old), &v6(&bytes)), !slow(&bytes));
    }

    #[test]
    fn a_partial_checksum_completes_to_the_full_one(mut s in sample(3000)) {
        s.padding = 0;
        let whole = s.frame();
        let p = ip(&whole);
        prop_assert!(verify_transport(&whole, &p));
        let offset = p.checksum_offset().unwrap();
        let state = Checksum::Partial { start: p.l4, offset };
        prop_assert!(p.is_partial(state) && p.accepts(state));
        let mut frame = as_partial(&s, &whole);
        prop_assert!(complete(&mut frame, p.l4, offset));
        prop_assert_eq!(frame, whole);
    }

    #[test]
    fn every_flipped_bit_of_a_packet_shows(s in sample(200), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut frame = s.frame();
        let p = ip(&frame);
        let covered = usize::from(p.l4)..p.end as usize;
        let at = covered.start + at.index(covered.len());
        frame[at] ^= 1 << bit;
        // A flip may make the checksum field 0 ("none"), or the length one that does not cover everything.
        if let Ok(sluice_wire::Packet::Ip(q)) = sluice_wire::parse(&frame) {
            let udp = usize::from(p.l4) + 4..usize::from(p.l4) + 8;
            prop_assume!(p.kind != sluice_wire::Kind::Udp || !udp.contains(&at));
            prop_assert_eq!(q.tuple.proto, p.tuple.proto);
            prop_assert!(!verify_transport(&frame, &q));
        }
    }
}

/// The frame with the pseudo-header's sum in its checksum field, as a tap delivers it.
pub(crate) fn as_partial(s: &Sample, whole: &[u8]) -> Vec<u8> {
    let p = ip(whole);
    let field = usize::from(p.l4 + p.checksum_offset().unwrap());
    let has_pseudo = p.v6 || !matches!(s.l4, crate::sample::L4::EchoRequest | crate::sample::L4::EchoReply);
    let held = if has_pseudo {
        pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, p.end - u32::from(p.l4))
    } else {
        Sum::ZERO
    };
    let mut frame = whole.to_vec();
    frame[field..field + 2].copy_from_slice(&held.folded().to_be_bytes());
    frame
}

#[test]
fn the_example_of_rfc_1071() {
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).folded(), 0xddf2);
}

#[test]
fn the_example_of_rfc_1624() {
    // Section 4: the corner where the older equation of RFC 1141 goes wrong.
    assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn a_udp_checksum_of_zero_is_none_over_ipv4_and_wrong_over_ipv6() {
    for (v6, right) in [(false, true), (true, false)] {
        let mut frame = Sample::plain(v6, crate::sample::L4::Udp).frame();
        let p = ip(&frame);
        let at = usize::from(p.l4) + 6;
        frame[at..at + 2].fill(0);
        assert_eq!(verify_transport(&frame, &p), right);
    }
}

#[test]
fn completion_outside_the_frame_is_refused_and_changes_nothing() {
    let mut frame = [7u8; 40];
    for (start, offset) in [(41, 0), (40, 0), (30, 9), (0, 39), (u16::MAX, u16::MAX)] {
        assert!(!complete(&mut frame, start, offset), "{start}+{offset}");
    }
    assert_eq!(frame, [7; 40]);
    assert!(complete(&mut frame, 30, 8));
}

#[test]
fn a_sender_cannot_have_a_header_completed_over() {
    let frame = Sample::plain(false, crate::sample::L4::Udp).frame();
    let p = ip(&frame);
    let partial = |start, offset| Checksum::Partial { start, offset };
    assert!(p.accepts(partial(p.l4, 6)), "its own");
    assert!(p.accepts(partial(p.payload + 2, 6)), "a tunnel's inner one");
    for (start, offset, what) in [
        (0, 30, "the destination address"),
        (p.l4, 2, "the destination port"),
        (p.payload, 11, "behind the end"),
    ] {
        assert!(!p.accepts(partial(start, offset)), "{what}");
    }
    assert_eq!(checksum::sum(&[]), Sum::ZERO);
}
