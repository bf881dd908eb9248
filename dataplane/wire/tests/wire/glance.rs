//! A glance agrees with the parser about what the parser takes, with little of the frame, and survives the rest.

use crate::sample::{L4, Sample, ip, sample};
use proptest::prelude::*;
use sluice_wire::{Addr, Glance, MacAddr, Proto};

const SEEN: usize = 128;

fn cut(frame: &[u8]) -> &[u8] {
    &frame[..frame.len().min(SEEN)]
}

proptest! {
    #[test]
    fn agrees_with_the_parser_of_whole_packets(sample in sample(3000)) {
        let frame = sample.frame();
        let parsed = ip(&frame);
        let claim = Glance::new(cut(&frame)).ip.expect("addresses");
        let tuple = parsed.tuple;
        prop_assert_eq!((claim.src, claim.dst), (tuple.src, tuple.dst));
        // The protocol behind extension headers is known where these end.
        if usize::from(parsed.l4) <= SEEN {
            prop_assert_eq!(claim.proto, Some(tuple.proto));
        }
        let has_ports = matches!(tuple.proto, Proto::TCP | Proto::UDP);
        let seen = usize::from(parsed.l4) + 4 <= SEEN;
        prop_assert_eq!(claim.ports, (has_ports && seen).then_some((tuple.sport, tuple.dport)));
    }

    #[test]
    fn any_bytes_are_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..SEEN), kind in 0usize..4) {
        let mut bytes = bytes;
        if let Some(field) = bytes.get_mut(12..14) {
            field.copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0x12, 0x34]][kind]);
        }
        let glance = Glance::new(&bytes);
        prop_assert_eq!(glance.macs.is_some(), bytes.len() >= 14);
        for port in [0, 8472] {
            if let Some(inner) = glance.inside(&bytes, port) {
                prop_assert!(inner.len() < bytes.len());
            }
        }
    }
}

#[test]
fn what_the_parser_refuses_still_has_addresses() {
    for v6 in [false, true] {
        let sample = Sample::plain(v6, L4::Tcp);
        let mut frame = sample.frame();
        // Length and, in IPv4, the checksum are wrong now.
        frame[if v6 { 18 } else { 16 }] = 0xff;
        assert!(sluice_wire::parse(&frame).is_err());
        let claim = Glance::new(&frame).ip.unwrap();
        assert_eq!(
            (claim.src, claim.dst, claim.ports),
            (sample.src(), sample.dst(), Some((4321, 80)))
        );
        // Cut off behind the addresses.
        let claim = Glance::new(&frame[..if v6 { 54 } else { 34 }]).ip.unwrap();
        assert_eq!((claim.src, claim.ports), (sample.src(), None));
    }
}

#[test]
fn questions_and_tunnels_are_told_apart() {
    let mac = [2, 0, 0, 0, 0, 1];
    let mut frame = [
        &[0xff; 6][..],
        &mac,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &mac,
        &[10, 0, 0, 1],
    ]
    .concat();
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let glance = Glance::new(&frame);
    assert_eq!(glance.macs, Some((MacAddr(mac), MacAddr::BROADCAST)));
    let claim = glance.ip.unwrap();
    assert_eq!(
        (claim.src, claim.dst),
        (Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 0, 2]))
    );
    assert_eq!((claim.proto, claim.ports), (None, None));

    let inner = Sample::plain(true, L4::Tcp);
    let mut outer = Sample::plain(false, L4::Udp);
    outer.dport = 8472;
    outer.payload = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner.frame()].concat();
    let frame = outer.frame();
    let frame = cut(&frame);
    let glance = Glance::new(frame);
    assert_eq!(glance.inside(frame, 4789), None);
    let inside = Glance::new(glance.inside(frame, 8472).unwrap()).ip.unwrap();
    assert_eq!((inside.src, inside.ports), (inner.src(), Some((4321, 80))));
}
