//! What is read in words is what is read field by field, and what was worked out for a flow is what is worked out for each packet.

use crate::sample::{L4, Sample, ip, sample};
use proptest::prelude::*;
use sluice_wire::rewrite::{apply, decrement_ttl};
use sluice_wire::{
    Addr, Checksum, FlowKey, FlowWords, Kind, Packet, Patch, Plain, Proto, Rewrite, Scope, Tuple, parse,
};
use std::hash::{BuildHasher, RandomState};

pub(super) fn plain(frame: &[u8]) -> Option<Plain> {
    let mut plain = Plain::NONE;
    plain.read(frame).then_some(plain)
}

/// Whether `frame` is read by the one exactly if the other finds nothing unusual, and as the same.
pub(super) fn check(frame: &[u8]) -> Result<(), TestCaseError> {
    let usual = match parse(frame) {
        Ok(Packet::Ip(p)) if !p.fragment && !p.ip_options && matches!(p.kind, Kind::Tcp | Kind::Udp) => Some(p),
        _ => None,
    };
    let seen = plain(frame);
    prop_assert_eq!(seen.map(|plain| plain.parsed(frame)), usual);
    if let (Some(plain), Some(parsed)) = (seen, usual) {
        prop_assert_eq!(plain.ip_len(), parsed.end as usize - usize::from(parsed.l3));
        prop_assert_eq!(plain.checksum_place(), (parsed.l4, parsed.checksum_offset().unwrap()));
        prop_assert_eq!(plain.moves_state(), parsed.tcp_flags & 7 != 0);
    }
    Ok(())
}

fn addr() -> impl Strategy<Value = Addr> {
    let last = prop_oneof![Just([0, 0, 0, 0]), any::<[u8; 4]>()];
    (any::<bool>(), last, any::<bool>()).prop_map(|(v4, last, mapped)| {
        let mut bytes = [0; 16];
        bytes[12..].copy_from_slice(&last);
        if mapped {
            (bytes[9], bytes[11]) = (1, 0xff);
        } else {
            bytes[0] = 0xfd;
        }
        if v4 { Addr::v4(last) } else { Addr::v6(bytes) }
    })
}

fn key() -> impl Strategy<Value = FlowKey> {
    let small = || prop_oneof![3 => 0u16..2, 1 => any::<u16>()];
    let ends = (addr(), addr(), small(), small());
    let scope = prop_oneof![(0u32..3).prop_map(Scope::port), (0u32..3).prop_map(Scope::tunnel)];
    (ends, any::<u8>(), scope)
        .prop_filter("one family", |((src, dst, ..), ..)| src.is_v4() == dst.is_v4())
        .prop_map(|((src, dst, sport, dport), proto, scope)| {
            let proto = Proto(proto);
            let tuple = Tuple {
                src,
                dst,
                sport,
                dport,
                proto,
            };
            FlowKey { tuple, scope }
        })
}

proptest! {
    #[test]
    fn a_plain_packet_is_the_parsed_one(s in sample(100)) {
        check(&s.frame())?;
    }

    #[test]
    fn so_is_a_damaged_one(
        s in sample(100),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut frame = s.frame();
        for (at, value) in &edits {
            // Mostly in the headers.
            let at = at.index(frame.len().min(70));
            frame[at] = *value;
        }
        // The sum is right again, so that the other fields are looked at.
        if frame.len() >= 34 && frame[12..14] == [8, 0] {
            frame[24..26].fill(0);
            let sum = sluice_wire::checksum::sum(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        if !whole {
            frame.truncate(cut.index(frame.len() + 1));
        }
        check(&frame)?;
    }

    #[test]
    fn keys_in_words_are_the_keys(a in key(), b in key()) {
        let (x, y) = (FlowWords::from(&a), FlowWords::from(&b));
        prop_assert_eq!(x.key(), a);
        prop_assert_eq!(x == y, a == b);
        // What another packet left behind the words of IPv4 is nobody's.
        let mut z = x;
        if !x.is_v6() {
            z.ends[1..].fill(7);
        }
        prop_assert_eq!(z, x);
        let state = RandomState::new();
        prop_assert_eq!(state.hash_one(z), state.hash_one(x));
        prop_assert_eq!(x.dport(), a.tuple.dport);
    }

    #[test]
    fn a_patch_is_the_rewriting_and_the_hop(
        mut s in sample(200),
        to in (any::<[[u8; 16]; 2]>(), any::<[u16; 2]>(), any::<[bool; 2]>()),
        hop in any::<bool>(),
        checksum in 0..4,
        held in any::<u16>(),
    ) {
        s.options = 0;
        s.l4 = if matches!(s.l4, L4::Tcp | L4::EchoReply) { L4::Tcp } else { L4::Udp };
        let mut frame = s.frame();
        let p = ip(&frame);
        let at = usize::from(p.l4 + p.checksum_offset().unwrap());
        let state = match checksum {
            0 => Checksum::Good,
            // Wrong, or none at all.
            1 => {
                frame[at..at + 2].copy_from_slice(&held.to_be_bytes());
                Checksum::Unverified
            }
            2 => {
                frame[at..at + 2].fill(0);
                Checksum::Unverified
            }
            _ => Checksum::Partial { start: p.l4, offset: p.checksum_offset().unwrap() },
        };
        let end = |n: usize, own: (Addr, u16)| {
            let addr = match (s.v6, to.2[n]) {
                // The same address, and a port that may be, too.
                (_, false) => own.0,
                (true, true) => Addr::v6([0x20; 16].map(|b| b ^ to.0[n][0])),
                (false, true) => Addr::v4(*to.0[n].last_chunk().unwrap()),
            };
            (addr, (to.1[n] % 3).wrapping_add(if to.2[n] { 0 } else { own.1 }))
        };
        let leaving = Tuple {
            src: end(0, (p.tuple.src, p.tuple.sport)).0,
            dst: end(1, (p.tuple.dst, p.tuple.dport)).0,
            sport: end(0, (p.tuple.src, p.tuple.sport.min(9999))).1,
            dport: end(1, (p.tuple.dst, p.tuple.dport.min(9999))).1,
            proto: p.tuple.proto,
        };
        let rewrite = Rewrite::between(&p.tuple, &leaving);
        let patch = Patch::new(&p.tuple, &rewrite);
        prop_assert_eq!(patch.leaving(&p.tuple), leaving);

        let mut wanted = frame.clone();
        if !rewrite.is_empty() {
            prop_assert!(apply(&mut wanted, &p, state, &rewrite));
        }
        if hop {
            prop_assert!(decrement_ttl(&mut wanted, &p));
        }
        let plain = plain(&frame).unwrap();
        let done = patch.apply(&mut frame, &plain, checksum > 2, hop);
        prop_assert!(done);
        prop_assert_eq!(frame, wanted);
    }
}

#[test]
fn a_patch_of_another_frame_changes_nothing_outside() {
    for (v6, l4) in [(false, L4::Udp), (false, L4::Tcp), (true, L4::Udp), (true, L4::Tcp)] {
        let frame = Sample::plain(v6, l4).frame();
        let plain = plain(&frame).unwrap();
        let tuple = ip(&frame).tuple;
        let patch = Patch::new(&tuple, &Rewrite::between(&tuple, &tuple.reversed()));
        for len in 0..frame.len() {
            let mut shorter = vec![0; len];
            patch.apply(&mut shorter, &plain, false, true);
        }
    }
}
