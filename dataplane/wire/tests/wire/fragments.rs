//! Fragments: which have ports, and where each says it belongs.

use crate::parse::fix_ipv4;
use crate::sample::{L4, Sample, ip, sample};
use proptest::prelude::*;
use sluice_wire::{DropReason, Fragment, FragmentPlan, Kind, parse};

fn v4(l4: L4, field: u16) -> Vec<u8> {
    let mut frame = Sample::plain(false, l4).frame();
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    fix_ipv4(&mut frame);
    frame
}

fn v6(field: u16) -> Vec<u8> {
    let mut frame = Sample::plain(true, L4::Udp).frame();
    frame[20] = 44;
    let [high, low] = field.to_be_bytes();
    frame.splice(54..54, [17, 0, high, low, 0xde, 0xad, 0xbe, 0xef]);
    frame[19] += 8;
    frame
}

#[test]
fn the_first_has_ports_and_the_others_have_none() {
    for (frame, id) in [(v4(L4::Udp, 0x2000), 7), (v6(1), 0xdead_beef)] {
        let p = ip(&frame);
        assert_eq!(
            (p.fragment, p.kind, p.tuple.sport, p.tuple.dport),
            (true, Kind::Udp, 4321, 80)
        );
        assert_eq!(
            p.fragment_place(&frame),
            Some(Fragment {
                id,
                offset: 0,
                more: true
            })
        );
    }
    for (frame, id) in [(v4(L4::Udp, 0x0005), 7), (v6(0x0028), 0xdead_beef)] {
        let p = ip(&frame);
        assert_eq!(
            (p.fragment, p.kind, p.tuple.sport, p.tuple.dport),
            (true, Kind::Other, 0, 0)
        );
        assert_eq!(
            p.fragment_place(&frame),
            Some(Fragment {
                id,
                offset: 40,
                more: false
            })
        );
        assert_eq!((p.tuple.proto.0, p.payload), (17, p.l4));
        assert_eq!(p.fragment_len(&frame), frame.len() - usize::from(p.l4));
    }
}

#[test]
fn a_whole_packet_has_no_place() {
    let frame = v4(L4::Udp, 0x4000);
    let p = ip(&frame);
    assert!(p.dont_fragment && !p.fragment);
    assert_eq!(p.fragment_place(&frame), None);
}

#[test]
fn a_fragment_over_the_tcp_flags_is_refused() {
    assert_eq!(parse(&v4(L4::Tcp, 0x2001)), Err(DropReason::FragmentTiny));
    assert!(
        parse(&v4(L4::Udp, 0x2001)).is_ok(),
        "only TCP is judged by what lies there"
    );
}

#[test]
fn a_first_fragment_without_its_whole_transport_header_is_refused() {
    for (frame, whole) in [
        (v4(L4::Tcp, 0x2000), 34 + 20),
        (v4(L4::Udp, 0x2000), 34 + 8),
        (v6(1), 62 + 8),
    ] {
        let cut = |len: usize| {
            let mut frame = frame.clone();
            frame.truncate(len);
            if frame[14] >> 4 == 4 {
                frame[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
                fix_ipv4(&mut frame);
            } else {
                frame[18..20].copy_from_slice(&((len - 54) as u16).to_be_bytes());
            }
            frame
        };
        assert!(parse(&cut(whole)).is_ok());
        assert_eq!(parse(&cut(whole - 1)), Err(DropReason::FragmentTiny));
    }
}

#[test]
fn a_first_fragment_without_all_its_extension_headers_is_refused() {
    let mut frame = v6(1);
    frame[54] = 60;
    let mut whole = frame.clone();
    whole.splice(62..62, [17, 0, 1, 4, 0, 0, 0, 0]);
    whole[19] += 8;
    assert!(parse(&whole).is_ok());
    // Options behind the fragment header are divided like the rest.
    assert_eq!(ip(&whole).fragment_len(&whole), whole.len() - 62);
    assert_eq!(ip(&whole).l4, 70);
    let options = |len: u8, cut: usize| {
        let mut frame = whole.clone();
        frame[63] = len;
        frame.truncate(cut);
        frame[18..20].copy_from_slice(&((cut - 54) as u16).to_be_bytes());
        parse(&frame)
    };
    assert_eq!(options(0, 62), Err(DropReason::FragmentTiny), "their first eight bytes");
    assert_eq!(options(1, 77), Err(DropReason::FragmentTiny), "their end");
}

#[test]
fn a_fragment_past_the_longest_packet_is_refused() {
    // Twenty bytes at 65504 end at 65524, at 65528 they would end at 65548.
    for (field, fits) in [(0x1ffc, true), (0x1fff, false)] {
        assert_eq!(parse(&v4(L4::Udp, field)).is_ok(), fits, "IPv4 {field:x}");
        assert_eq!(parse(&v6(field << 3)).is_ok(), fits, "IPv6 {field:x}");
    }
}

#[test]
fn two_fragment_headers_are_refused() {
    let mut frame = v6(1);
    frame[54] = 44;
    frame.splice(62..62, [17, 0, 0, 1, 0, 0, 0, 1]);
    frame[19] += 8;
    assert_eq!(parse(&frame), Err(DropReason::Ipv6Malformed));
}

proptest! {
    #[test]
    fn pieces_make_the_packet_again(mut s in sample(3000), mtu in 76u16..1500, offset in 0u16..1000, more in any::<bool>()) {
        s.v6 = false;
        let mut frame = s.frame();
        // A packet that is itself a fragment somewhere in a larger one; 1 is where a TCP fragment is refused.
        let offset = if offset == 1 { 0 } else { offset };
        frame[20..22].copy_from_slice(&(offset | if more { 0x2000 } else { 0 }).to_be_bytes());
        fix_ipv4(&mut frame);
        let p = ip(&frame);
        let front = 34 + s.options * 4;
        let plan = FragmentPlan::new(&frame, &p, mtu).unwrap();
        let mut payload = Vec::new();
        for i in 0..plan.count() {
            let mut out = vec![0x55; plan.fragment_len(i)];
            prop_assert!(plan.write(i, &frame, &mut out));
            prop_assert!(out.len() - 14 <= mtu.into());
            let q = ip(&out);
            let last = i + 1 == plan.count();
            let wanted = Fragment { id: s.id.into(), offset: offset * 8 + payload.len() as u16, more: more || !last };
            prop_assert_eq!(q.fragment_place(&out), Some(wanted).filter(|f| f.offset > 0 || f.more));
            prop_assert!(last || (out.len() - front).is_multiple_of(8));
            prop_assert_eq!((q.tuple.src, q.tuple.dst, q.ttl, q.tos), (p.tuple.src, p.tuple.dst, p.ttl, p.tos));
            payload.extend_from_slice(&out[front..]);
            let len = out.len();
            prop_assert!(!plan.write(i, &frame, &mut out[..len - 1]));
        }
        prop_assert_eq!(payload, &frame[front..p.end as usize]);
        prop_assert_eq!(plan.fragment_len(plan.count()), 0);
    }
}

#[test]
fn what_must_not_be_cut_is_not() {
    for frame in [v4(L4::Udp, 0x4000), Sample::plain(true, L4::Udp).frame()] {
        assert_eq!(
            FragmentPlan::new(&frame, &ip(&frame), 1280).map(|plan| plan.count()),
            Err(DropReason::TooBig)
        );
    }
    let frame = v4(L4::Udp, 0);
    assert_eq!(
        FragmentPlan::new(&frame, &ip(&frame), 27).map(|plan| plan.count()),
        Err(DropReason::TooBig)
    );
}

#[test]
fn options_of_the_first_fragment_stay_there() {
    let mut s = Sample::plain(false, L4::Udp);
    s.options = 3;
    let mut frame = s.frame();
    // Record route (7) goes along with the first only; a copied option (0x94, router alert) with all.
    frame[34..46].copy_from_slice(&[7, 7, 4, 1, 1, 1, 1, 0x94, 4, 0, 0, 0]);
    frame[20..22].fill(0);
    fix_ipv4(&mut frame);
    let plan = FragmentPlan::new(&frame, &ip(&frame), 40).unwrap();
    let (mut first, mut second) = ([0; 54], [0; 54]);
    assert!(plan.write(0, &frame, &mut first) && plan.write(1, &frame, &mut second));
    assert_eq!(first[34..46], frame[34..46]);
    assert_eq!(second[34..46], [1, 1, 1, 1, 1, 1, 1, 0x94, 4, 0, 0, 0]);
}
