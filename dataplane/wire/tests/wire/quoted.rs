//! The packet inside an ICMP error: read, and translated.

use crate::sample::{L4, Sample, address, ip, sample};
use proptest::prelude::*;
use sluice_wire::checksum::{sum, verify_transport};
use sluice_wire::icmp::write_error;
use sluice_wire::rewrite::rewrite_quoted;
use sluice_wire::{Addr, IcmpError, Kind, MacAddr, Rewrite, parse_quoted};

/// An error about `s`, from a router of the same family.
fn error_about(s: &Sample) -> Vec<u8> {
    let original = s.frame();
    let p = ip(&original);
    let router = if s.v6 {
        Addr::v6([0x20; 16])
    } else {
        Addr::v4([10, 9, 9, 9])
    };
    let mut out = vec![0; 1500];
    let len = write_error(
        &mut out,
        &original,
        &p,
        IcmpError::TimeExceeded,
        router,
        MacAddr([4; 6]),
        MacAddr([6; 6]),
    )
    .unwrap();
    out.truncate(len);
    out
}

fn quote(frame: &[u8]) -> usize {
    let Kind::IcmpError { quoted } = ip(frame).kind else {
        panic!("no ICMP error")
    };
    usize::from(quoted)
}

proptest! {
    #[test]
    fn is_read_as_the_whole_packet_is(s in sample(2000)) {
        let frame = error_about(&s);
        let p = ip(&s.frame());
        let q = parse_quoted(&frame[quote(&frame)..ip(&frame).end as usize]).unwrap();
        prop_assert_eq!((q.tuple, q.v6, q.l3_len, q.kind), (p.tuple, p.v6, p.l4 - p.l3, p.kind));
    }

    #[test]
    fn eight_bytes_of_transport_are_enough_and_needed(s in sample(200)) {
        let frame = s.frame();
        let p = ip(&frame);
        let packet = &frame[14..];
        let enough = usize::from(p.l4 - p.l3) + 8;
        prop_assert_eq!(parse_quoted(&packet[..enough]).map(|q| q.tuple), Some(p.tuple));
        for len in 0..enough {
            prop_assert_eq!(parse_quoted(&packet[..len]), None);
        }
    }

    #[test]
    fn is_translated_as_the_whole_packet_would_be(s in sample(2000), src in address(), dst in address(), id in any::<u16>(), both in any::<bool>()) {
        let mut after = s.clone();
        (after.src, after.sport) = (src, id);
        if both {
            after.dst = dst;
            after.dport = if matches!(s.l4, L4::Tcp | L4::Udp) { id ^ 1 } else { id };
        }
        let r = Rewrite { src: Some((after.src(), after.sport)), dst: both.then(|| (after.dst(), after.dport)) };
        let mut frame = error_about(&s);
        let p = ip(&frame);
        prop_assert!(rewrite_quoted(&mut frame, &p, &r));
        prop_assert!(verify_transport(&frame, &ip(&frame)));
        // What is quoted must be the beginning of the translated packet.
        let quoted = &frame[quote(&frame)..p.end as usize];
        prop_assert_eq!(quoted, &after.frame()[14..14 + quoted.len()]);
    }

    #[test]
    fn a_wrong_icmp_checksum_stays_wrong(s in sample(100), src in address()) {
        let mut frame = error_about(&s);
        let p = ip(&frame);
        let last = p.end as usize - 1;
        frame[last] ^= 4;
        let mut after = s.clone();
        after.src = src;
        let r = Rewrite { src: Some((after.src(), s.sport)), dst: None };
        prop_assert!(rewrite_quoted(&mut frame, &p, &r));
        prop_assert!(!verify_transport(&frame, &ip(&frame)));
    }
}

#[test]
fn what_cannot_be_told_is_not_read() {
    let mut fragment = Sample::plain(false, L4::Udp).frame();
    fragment[21] = 9;
    assert_eq!(parse_quoted(&fragment[14..]), None, "a later fragment");
    let error = error_about(&Sample::plain(true, L4::Udp));
    assert_eq!(parse_quoted(&error[14..]), None, "an error");
    let mut odd = Sample::plain(false, L4::Udp).frame();
    odd[14] = 0x42;
    assert_eq!(parse_quoted(&odd[14..]), None, "a header of eight bytes");
    assert_eq!(parse_quoted(&[]), None);
}

#[test]
fn a_quote_with_a_changed_ttl_and_no_transport_checksum_is_translated_too() {
    // Eight bytes of TCP: ports and sequence number, but no checksum to correct.
    let s = Sample::plain(false, L4::Tcp);
    let mut frame = error_about(&s);
    let at = quote(&frame);
    frame.truncate(at + 28);
    frame[at + 8] = 1;
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    crate::parse::fix_ipv4(&mut frame);
    frame[36..38].fill(0);
    let check = sum(&frame[34..]).checksum();
    frame[36..38].copy_from_slice(&check.to_be_bytes());
    let p = ip(&frame);
    let seq = frame[at + 24..].to_vec();
    assert!(rewrite_quoted(
        &mut frame,
        &p,
        &Rewrite {
            src: Some((Addr::v4([1, 2, 3, 4]), 5)),
            dst: None
        }
    ));
    assert!(verify_transport(&frame, &p));
    let q = parse_quoted(&frame[at..]).unwrap();
    assert_eq!((q.tuple.src, q.tuple.sport), (Addr::v4([1, 2, 3, 4]), 5));
    assert_eq!(frame[at + 24..], seq);
}

#[test]
fn the_other_family_is_refused() {
    let frame = error_about(&Sample::plain(false, L4::Udp));
    let mut copy = frame.clone();
    assert!(!rewrite_quoted(
        &mut copy,
        &ip(&frame),
        &Rewrite {
            src: Some((Addr::v6([1; 16]), 5)),
            dst: None
        }
    ));
    assert_eq!(copy, frame);
}
