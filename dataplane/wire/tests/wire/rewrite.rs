//! Changes in place against the frame that etherparse builds with the new values.

use crate::checksum::as_partial;
use crate::sample::{L4, Sample, address, ip, sample};
use proptest::prelude::*;
use sluice_wire::checksum::{complete, verify_transport};
use sluice_wire::rewrite::{apply, decrement_ttl, set_dscp, set_ecn, set_macs};
use sluice_wire::{Addr, Checksum, Gso, GsoKind, MacAddr, Rewrite, SegmentPlan};

/// An address and a port.
type End = ([u8; 16], u16);

/// New values for either end, or both.
fn change() -> impl Strategy<Value = (Option<End>, Option<End>)> {
    let port = || prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
    (
        proptest::option::of((address(), port())),
        proptest::option::of((address(), port())),
    )
}

/// The sample after a change, and the change as the product knows it.
fn changed(s: &Sample, src: Option<End>, dst: Option<End>) -> (Sample, Rewrite) {
    let mut after = s.clone();
    let echo = matches!(s.l4, L4::EchoRequest | L4::EchoReply);
    if let Some((addr, port)) = src {
        (after.src, after.sport) = (addr, port);
    }
    if let Some((addr, port)) = dst {
        (after.dst, after.dport) = (addr, port);
        if echo {
            // One identifier: whoever changes both ends gives both the same.
            after.sport = src.map_or(port, |(_, id)| id);
        }
    }
    let (sport, dport) = (after.sport, if echo { after.sport } else { after.dport });
    (
        after.clone(),
        Rewrite {
            src: src.map(|_| (after.src(), sport)),
            dst: dst.map(|_| (after.dst(), dport)),
        },
    )
}

proptest! {
    #[test]
    fn is_building_it_anew(s in sample(1500), (src, dst) in change()) {
        let (after, r) = changed(&s, src, dst);
        let mut frame = s.frame();
        let p = ip(&frame);
        prop_assert!(apply(&mut frame, &p, Checksum::Unverified, &r));
        prop_assert_eq!(&frame, &after.frame());
        let q = ip(&frame);
        prop_assert_eq!(Rewrite::between(&q.tuple, &q.tuple), Rewrite::default());
        prop_assert!(apply(&mut frame, &q, Checksum::Good, &Rewrite::between(&q.tuple, &p.tuple)));
        prop_assert_eq!(frame, s.frame(), "and there is a way back");
    }

    #[test]
    fn keeps_a_partial_checksum_partial(s in sample(300), (src, dst) in change()) {
        let (after, r) = changed(&s, src, dst);
        let whole = s.frame();
        let p = ip(&whole);
        let mut frame = as_partial(&s, &whole);
        let state = Checksum::Partial { start: p.l4, offset: p.checksum_offset().unwrap() };
        prop_assert!(apply(&mut frame, &p, state, &r));
        prop_assert_eq!(frame, as_partial(&after, &after.frame()));
    }

    #[test]
    fn keeps_a_wrong_checksum_wrong(s in sample(300), (src, dst) in change(), noise in 1u16..0xffff) {
        let (_, r) = changed(&s, src, dst);
        let mut frame = s.frame();
        let p = ip(&frame);
        let at = usize::from(p.l4 + p.checksum_offset().unwrap());
        let bad = u16::from_be_bytes([frame[at], frame[at + 1]]) ^ noise;
        prop_assume!(bad != 0 || s.l4 != L4::Udp);
        frame[at..at + 2].copy_from_slice(&bad.to_be_bytes());
        let wrong = !verify_transport(&frame, &p);
        apply(&mut frame, &p, Checksum::Unverified, &r);
        prop_assert_eq!(!verify_transport(&frame, &ip(&frame)), wrong);
    }

    #[test]
    fn leaves_a_missing_udp_checksum_missing(mut s in sample(300), (src, dst) in change()) {
        (s.v6, s.l4) = (false, L4::Udp);
        let (after, r) = changed(&s, src, dst);
        let none = |s: &Sample| {
            let mut frame = s.frame();
            let at = usize::from(ip(&frame).l4) + 6;
            frame[at..at + 2].fill(0);
            frame
        };
        let mut frame = none(&s);
        let p = ip(&frame);
        prop_assert!(apply(&mut frame, &p, Checksum::Unverified, &r));
        prop_assert_eq!(frame, none(&after));
    }

    #[test]
    fn ttl_and_tos_are_as_built_anew(s in sample(100), tos in any::<u8>()) {
        let mut frame = s.frame();
        let p = ip(&frame);
        prop_assert!(decrement_ttl(&mut frame, &p));
        let mut after = s.clone();
        after.ttl -= 1;
        prop_assert_eq!(&frame, &after.frame());
        set_ecn(&mut frame, &p, tos);
        after.tos = s.tos & 0xfc | tos & 3;
        prop_assert_eq!(&frame, &after.frame());
        set_dscp(&mut frame, &p, tos >> 2);
        after.tos = tos;
        prop_assert_eq!(frame, after.frame());
    }
}

#[test]
fn the_last_hop_is_not_taken() {
    for (v6, ttl) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut s = Sample::plain(v6, L4::Udp);
        s.ttl = ttl;
        let mut frame = s.frame();
        let p = ip(&frame);
        assert!(!decrement_ttl(&mut frame, &p));
        assert_eq!(frame, s.frame());
    }
}

#[test]
fn the_other_family_and_another_frame_are_refused_whole() {
    let frame = Sample::plain(false, L4::Tcp).frame();
    let p = ip(&frame);
    let six = Rewrite {
        src: Some((Addr::v4([1, 2, 3, 4]), 1)),
        dst: Some((Addr::v6([0x20; 16]), 1)),
    };
    let mut copy = frame.clone();
    assert!(!apply(&mut copy, &p, Checksum::Unverified, &six));
    assert_eq!(copy, frame);
    let four = Rewrite {
        src: None,
        dst: Some((Addr::v4([1, 2, 3, 4]), 1)),
    };
    for len in 0..p.end as usize {
        let mut short = frame[..len].to_vec();
        assert!(!apply(&mut short, &p, Checksum::Unverified, &four));
        assert_eq!(short, frame[..len]);
    }
}

#[test]
fn an_inner_partial_checksum_is_not_taken_for_the_packets_own() {
    let mut after = Sample::plain(false, L4::Udp);
    let mut frame = after.frame();
    let p = ip(&frame);
    after.src[15] = 77;
    let inner = Checksum::Partial {
        start: p.payload + 2,
        offset: 6,
    };
    assert!(apply(
        &mut frame,
        &p,
        inner,
        &Rewrite {
            src: Some((after.src(), after.sport)),
            dst: None
        }
    ));
    assert_eq!(frame, after.frame());
}

#[test]
fn a_later_fragment_gets_addresses_only() {
    let mut s = Sample::plain(false, L4::Udp);
    let as_fragment = |s: &Sample| {
        let mut frame = s.frame();
        frame[21] = 5;
        crate::parse::fix_ipv4(&mut frame);
        frame
    };
    let mut frame = as_fragment(&s);
    let p = ip(&frame);
    let before = frame[34..].to_vec();
    s.dst[15] = 99;
    assert!(apply(
        &mut frame,
        &p,
        Checksum::Unverified,
        &Rewrite {
            src: None,
            dst: Some((s.dst(), 9))
        }
    ));
    assert_eq!(frame[..34], as_fragment(&s)[..34]);
    assert_eq!(frame[34..], before);
}

#[test]
fn sctp_gets_a_new_checksum_with_new_ports_and_keeps_it_with_new_addresses() {
    let mut frame = Sample::plain(false, L4::Udp).frame();
    frame[23] = 132;
    crate::parse::fix_ipv4(&mut frame);
    let p = ip(&frame);
    assert!(!verify_transport(&frame, &p));
    let address = Rewrite {
        src: Some((Addr::v4([9, 9, 9, 9]), 4321)),
        dst: None,
    };
    let held = frame[42..46].to_vec();
    assert!(apply(&mut frame, &p, Checksum::Unverified, &address));
    assert_eq!(frame[42..46], held);
    let port = Rewrite {
        src: None,
        dst: Some((Addr::v4([8, 8, 8, 8]), 5)),
    };
    assert!(apply(&mut frame, &p, Checksum::Unverified, &port));
    assert!(verify_transport(&frame, &ip(&frame)));
    assert_eq!(ip(&frame).tuple.dport, 5);
}

#[test]
fn macs_are_destination_first() {
    let mut frame = [0u8; 14];
    set_macs(&mut frame, MacAddr([1; 6]), MacAddr([2; 6]));
    assert_eq!(frame, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0]);
    set_macs(&mut frame[..11], MacAddr::BROADCAST, MacAddr::BROADCAST);
    assert_eq!(frame[..12], [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_sent_as_all_ones() {
    for v6 in [false, true] {
        let mut s = Sample::plain(v6, L4::Udp);
        s.sport = 0;
        let mut frame = s.frame();
        let p = ip(&frame);
        let field = usize::from(p.l4) + 6;
        // The port that the checksum of all else amounts to makes the sum come out as all ones.
        s.sport = u16::from_be_bytes([frame[field], frame[field + 1]]);
        let r = Rewrite {
            src: Some((s.src(), s.sport)),
            dst: None,
        };
        assert!(apply(&mut frame, &p, Checksum::Unverified, &r));
        assert_eq!(frame[field..field + 2], [0xff, 0xff]);
        assert_eq!(frame, s.frame());

        let mut partial = as_partial(&s, &frame);
        assert!(complete(&mut partial, p.l4, 6));
        assert_eq!(partial, frame);

        let plan = SegmentPlan::new(
            &frame,
            &ip(&frame),
            Gso {
                kind: GsoKind::Udp,
                size: 100,
                ecn: false,
            },
        )
        .unwrap();
        let mut segment = vec![0; plan.segment_len(0)];
        assert!(plan.write(0, &frame, &mut segment));
        assert_eq!(segment, frame);
    }
}

/// Found by fuzzing: the only sum without a single bit, which arithmetic on differences takes for its other zero.
#[test]
fn an_echo_reply_of_zeros_gets_its_identifier_back() {
    let mut frame = Sample {
        sport: 0,
        payload: vec![0; 20],
        ..Sample::plain(false, L4::EchoReply)
    }
    .frame();
    // Its sequence number too; its checksum is all ones.
    let l4 = usize::from(ip(&frame).l4);
    frame[l4..].fill(0);
    frame[l4 + 2..l4 + 4].fill(0xff);
    let blank = frame.clone();
    let p = ip(&frame);
    let to = |id| Rewrite {
        src: Some((p.tuple.src, id)),
        dst: None,
    };
    assert!(apply(&mut frame, &p, Checksum::Unverified, &to(7)) && verify_transport(&frame, &p));
    assert!(apply(&mut frame, &p, Checksum::Unverified, &to(0)) && verify_transport(&frame, &p));
    assert_eq!(frame, blank);
}
