//! Where reading in words could differ from reading field by field: every value of every byte of the headers, keys that differ in one
//! place, sums at their edges.

use crate::plain::{check, plain};
use crate::sample::{L4, Sample, ip};
use sluice_wire::rewrite::{apply, decrement_ttl};
use sluice_wire::{
    Addr, Checksum, ETH_LEN, FlowKey, FlowWords, MAX_IP_LEN, Patch, Plain, Proto, Rewrite, Scope, Tuple, checksum,
};
use std::hash::{BuildHasher, RandomState};

const KINDS: [(bool, L4); 4] = [(false, L4::Udp), (false, L4::Tcp), (true, L4::Udp), (true, L4::Tcp)];

/// Corrects the sum of the IPv4 header.
fn resum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = checksum::sum(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn every_value_of_every_byte_is_read_as_the_parser_reads_it() {
    for (v6, l4) in KINDS {
        let frame = Sample::plain(v6, l4).frame();
        for at in 12..frame.len().min(75) {
            for value in 0..=255 {
                let mut edited = frame.clone();
                edited[at] = value;
                check(&edited).unwrap();
                if !v6 {
                    resum(&mut edited);
                    check(&edited).unwrap();
                }
            }
        }
    }
}

#[test]
fn sums_carry_as_the_parsers_do() {
    let frame = Sample::plain(false, L4::Udp).frame();
    for bits in 0..1u32 << 10 {
        let fill = |n: u32| if bits >> n & 1 == 0 { 0 } else { 255 };
        let mut edited = frame.clone();
        for (n, range) in [
            15..16,
            18..19,
            19..20,
            22..23,
            26..28,
            28..29,
            29..30,
            30..32,
            32..33,
            33..34,
        ]
        .into_iter()
        .enumerate()
        {
            edited[range].fill(fill(n as u32));
        }
        edited[20..22].fill(0);
        resum(&mut edited);
        assert!(plain(&edited).is_some());
        check(&edited).unwrap();
        edited[33] ^= 1;
        assert!(plain(&edited).is_none());
    }
}

#[test]
fn mapped_addresses_are_refused_at_either_end_and_their_likes_are_not() {
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];
    for at in [22, 38] {
        let mut frame = Sample::plain(true, L4::Udp).frame();
        frame[at..at + 12].copy_from_slice(&mapped);
        assert!(plain(&frame).is_none());
        for n in at..at + 12 {
            let mut edited = frame.clone();
            edited[n] ^= 1;
            assert!(plain(&edited).is_some());
            check(&edited).unwrap();
        }
    }
}

#[test]
fn a_frame_is_as_long_as_the_longest_packet_at_most() {
    for (v6, l4) in KINDS {
        let mut frame = Sample::plain(v6, l4).frame();
        frame.resize(ETH_LEN + MAX_IP_LEN, 0);
        assert!(plain(&frame).is_some());
        check(&frame).unwrap();
        frame.push(0);
        assert!(plain(&frame).is_none());
        check(&frame).unwrap();
    }
}

/// Packets are read into the place of others.
#[test]
fn nothing_of_the_packet_before_is_left() {
    for (before, now) in KINDS.iter().flat_map(|a| KINDS.iter().map(move |b| (a, b))) {
        let mut used = Plain::NONE;
        let mut first = Sample::plain(before.0, before.1).frame();
        if before.1 == L4::Tcp {
            let l4 = usize::from(ip(&first).l4);
            first[l4 + 13] = 0xff;
        }
        assert!(used.read(&first));
        let frame = Sample::plain(now.0, now.1).frame();
        assert!(used.read(&frame));
        assert_eq!(
            Some(used.parsed(&frame)),
            plain(&frame).map(|fresh| fresh.parsed(&frame))
        );
        assert_eq!(used.words, plain(&frame).unwrap().words);
    }
}

#[test]
fn keys_that_differ_anywhere_are_others_and_hash_as_others() {
    let state = RandomState::new();
    for v6 in [false, true] {
        let bytes = if v6 { 16 } else { 4 };
        let addr = |octets: [u8; 16]| {
            if v6 {
                Addr::v6(octets)
            } else {
                Addr::v4([octets[0], octets[1], octets[2], octets[3]])
            }
        };
        // Two addresses, ports, protocol and scope, of which one byte at most is another one.
        let key = |other: Option<usize>| {
            let mut all = [0xfd; 41];
            if let Some(at) = other {
                all[at] ^= 1;
            }
            let port = |at: usize| u16::from_be_bytes([all[at], all[at + 1]]);
            let ends = |at: usize| addr(*all[at..].first_chunk().unwrap());
            FlowKey {
                tuple: Tuple {
                    src: ends(0),
                    dst: ends(16),
                    sport: port(32),
                    dport: port(34),
                    proto: Proto(all[36]),
                },
                scope: Scope::port(u32::from_be_bytes([0, all[38], all[39], all[40]])),
            }
        };
        let one = FlowWords::from(&key(None));
        let places = (0..bytes).chain(16..16 + bytes).chain(32..37).chain(38..41);
        for at in places {
            let other = FlowWords::from(&key(Some(at)));
            assert_ne!(one, other, "{v6} {at}");
            assert_ne!(state.hash_one(one), state.hash_one(other), "{v6} {at}");
        }
    }
    let short = FlowWords {
        what: FlowWords::NONE.what ^ 1 << 8,
        ..FlowWords::NONE
    };
    assert_ne!(short, FlowWords::NONE, "a family for each");
}

/// Zero and all ones are the same number in these sums, and not the same field.
#[test]
fn any_checksum_becomes_what_rewriting_makes_of_it() {
    for (v6, l4) in KINDS {
        let frame = Sample::plain(v6, l4).frame();
        let p = ip(&frame);
        let at = usize::from(p.l4 + p.checksum_offset().unwrap());
        let seen = plain(&frame).unwrap();
        let moved = Tuple {
            dport: p.tuple.dport ^ 0x5a5a,
            ..p.tuple
        };
        for leaving in [p.tuple, moved, p.tuple.reversed()] {
            let rewrite = Rewrite::between(&p.tuple, &leaving);
            let patch = Patch::new(&p.tuple, &rewrite);
            for held in 0..=u16::MAX {
                let (mut one, mut other) = (frame.clone(), frame.clone());
                for frame in [&mut one, &mut other] {
                    frame[at..at + 2].copy_from_slice(&held.to_be_bytes());
                }
                assert!(patch.apply(&mut one, &seen, false, true));
                assert!(rewrite.is_empty() || apply(&mut other, &p, Checksum::Unverified, &rewrite));
                assert!(decrement_ttl(&mut other, &p));
                assert!(one == other, "{held:04x} {leaving:?}");
            }
        }
    }
}
