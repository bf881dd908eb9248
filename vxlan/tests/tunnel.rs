//! Tunnel packets against bytes written by hand, and against etherparse.

use etherparse::PacketBuilder;
use proptest::prelude::*;
use sluice_vxlan::{OVERHEAD_V4, OVERHEAD_V6, Template, Tunnel, decapsulate, source_port};
use sluice_wire::checksum::{sum, verify_transport};
use sluice_wire::{Addr, DropReason, MacAddr, Packet, Parsed, Proto, Vni, parse};

const V4: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [192, 0, 2, 2]);
const V6: ([u8; 16], [u8; 16]) = ([0xfd; 16], [0xfe; 16]);

fn tunnel(v6: bool, checksum_v4: bool) -> Tunnel {
    let (local, remote) = if v6 {
        (Addr::v6(V6.0), Addr::v6(V6.1))
    } else {
        (Addr::v4(V4.0), Addr::v4(V4.1))
    };
    Tunnel {
        local,
        remote,
        outer_src_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        outer_dst_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        vni: Vni::new(0x0a_0b0c).unwrap(),
        port: 8472,
        inner_src_mac: MacAddr([0x0e; 6]),
        inner_dst_mac: MacAddr([0x1e; 6]),
        checksum_v4,
    }
}

fn ip(frame: &[u8]) -> Parsed {
    match parse(frame) {
        Ok(Packet::Ip(p)) => p,
        other => panic!("{other:?}"),
    }
}

/// Inner frames of every kind that has a way of its own through the checksum.
fn inner() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..400);
    (0usize..8, any::<[u8; 4]>(), any::<(u16, u16)>(), payload, 0usize..4).prop_map(
        |(kind, [a, b, c, d], (sport, dport), payload, padding)| {
            let ethernet = PacketBuilder::ethernet2([9; 6], [8; 6]);
            let ip = if kind % 2 == 0 {
                ethernet.ipv4([10, a, b, c], [10, d, a, b], 63)
            } else {
                ethernet.ipv6(
                    [0xfd, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    [0xfd, d, c, b, a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
                    63,
                )
            };
            let mut out = Vec::new();
            match kind {
                0 | 1 => ip.tcp(sport, dport, 1, 2).write(&mut out, &payload).unwrap(),
                2 => ip.icmpv4_echo_request(sport, dport).write(&mut out, &payload).unwrap(),
                3 => ip.icmpv6_echo_request(sport, dport).write(&mut out, &payload).unwrap(),
                4 | 5 => ip.udp(sport, dport).write(&mut out, &payload).unwrap(),
                _ => {
                    ip.udp(sport, dport).write(&mut out, &payload).unwrap();
                    let at = if kind % 2 == 0 { 40 } else { 60 };
                    out[at..at + 2].fill(0);
                }
            }
            out.resize(out.len() + if kind == 4 { padding } else { 0 }, 0x77);
            out
        },
    )
}

fn encapsulate(t: &Template, inner: &[u8], src_port: u16, tos: u8, complete: Option<&Parsed>) -> Vec<u8> {
    let mut frame = vec![0x55; t.overhead()];
    frame.extend_from_slice(inner);
    t.write(&mut frame, src_port, 0x1234, tos, complete).unwrap();
    frame
}

proptest! {
    #[test]
    fn is_the_packet_that_etherparse_builds(inner in inner(), v6 in any::<bool>(), with in any::<bool>(), src_port in any::<u16>()) {
        let template = Template::new(&tunnel(v6, with)).unwrap();
        let mut body = vec![8, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0];
        body.extend_from_slice(&inner);
        body[8..20].copy_from_slice(&[0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x0e, 0x0e, 0x0e, 0x0e, 0x0e, 0x0e]);
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ip_step = if v6 { ethernet.ipv6(V6.0, V6.1, 64) } else { ethernet.ipv4(V4.0, V4.1, 64) };
        let mut wanted = Vec::new();
        ip_step.udp(src_port, 8472).write(&mut wanted, &body).unwrap();
        if !v6 {
            // etherparse sets DF and no identification.
            wanted[18..22].copy_from_slice(&[0x12, 0x34, 0, 0]);
            wanted[24..26].fill(0);
            let check = sum(&wanted[14..34]).checksum();
            wanted[24..26].copy_from_slice(&check.to_be_bytes());
            if !with {
                wanted[40..42].fill(0);
            }
        }
        prop_assert_eq!(&encapsulate(&template, &inner, src_port, 0, None), &wanted);
        let complete = ip(&inner);
        prop_assert_eq!(&encapsulate(&template, &inner, src_port, 0, Some(&complete)), &wanted, "by the inner checksum");

        let outer = ip(&wanted);
        let found = decapsulate(&wanted, &outer, 8472, Vni::new(0x0a_0b0c).unwrap()).unwrap();
        prop_assert_eq!((found.offset, found.end), (template.overhead(), wanted.len()));
        prop_assert_eq!(&wanted[found.offset + 12..found.end], &inner[12..]);
    }

    #[test]
    fn nothing_in_a_tunnel_packet_can_do_harm(
        inner in inner(),
        v6 in any::<bool>(),
        damage in proptest::collection::vec((0usize..60, any::<u8>()), 1..5),
        len in any::<prop::sample::Index>(),
    ) {
        let template = Template::new(&tunnel(v6, true)).unwrap();
        let mut frame = encapsulate(&template, &inner, 50000, 0, None);
        let outer = ip(&frame);
        for (at, value) in damage {
            let at = (usize::from(outer.l4) + at).min(frame.len() - 1);
            frame[at] = value;
        }
        let vni = Vni::new(0x0a_0b0c).unwrap();
        for frame in [&frame[..], &frame[..len.index(frame.len())]] {
            if let Ok(found) = decapsulate(frame, &outer, 8472, vni) {
                prop_assert!(found.offset + 14 <= found.end && found.end <= frame.len());
            }
        }
        let mut short = vec![0; len.index(frame.len())];
        let wrong = ip(&inner);
        let _ = template.write(&mut short, 1, 2, 3, Some(&wrong));
    }

    #[test]
    fn source_ports_stay_in_the_dynamic_range(hash in any::<u64>()) {
        prop_assert!(source_port(hash) >= 49152);
    }
}

#[test]
fn bytes_by_hand() {
    let template = Template::new(&tunnel(false, false)).unwrap();
    assert_eq!(template.overhead(), OVERHEAD_V4);
    let inner = [&[0u8; 12][..], &[0x08, 0x00], &[0xab; 20]].concat();
    let frame = encapsulate(&template, &inner, 0xc001, 0x2a, None);
    #[rustfmt::skip]
    let wanted = [
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00,
        // 70 bytes; the inner packet's ECN (10) without its DSCP; identification 0x1234, no flags; TTL 64, UDP.
        0x45, 0x02, 0x00, 0x46, 0x12, 0x34, 0x00, 0x00, 0x40, 0x11, 0xe4, 0x6d, 192, 0, 2, 1, 192, 0, 2, 2,
        0xc0, 0x01, 0x21, 0x18, 0x00, 0x32, 0x00, 0x00,
        0x08, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0,
        0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x0e, 0x0e, 0x0e, 0x0e, 0x0e, 0x0e, 0x08, 0x00,
    ];
    assert_eq!(frame[..64], wanted);
    assert_eq!(frame[64..], [0xab; 20]);
    assert_eq!(template.headers().len(), 50);
}

#[test]
fn ipv6_carries_the_ecn_in_its_traffic_class() {
    let template = Template::new(&tunnel(true, false)).unwrap();
    assert_eq!(template.overhead(), OVERHEAD_V6);
    let frame = encapsulate(&template, &[0; 40], 50000, 0xff, None);
    let p = ip(&frame);
    assert_eq!((p.tos, p.ttl, p.tuple.sport, p.tuple.dport), (3, 64, 50000, 8472));
    assert!(verify_transport(&frame, &p), "IPv6 always has a checksum");
    let found = decapsulate(&frame, &p, 8472, Vni::new(0x0a_0b0c).unwrap()).unwrap();
    assert_eq!(found.outer_ecn, 3);
}

#[test]
fn rewritten_headers_do_not_spoil_the_shortcut() {
    // The inner packet was parsed, then translated and its TTL lowered: the outer checksum must follow the bytes.
    let mut inner = Vec::new();
    let ip_step = PacketBuilder::ethernet2([9; 6], [8; 6]).ipv4([10, 0, 0, 1], [10, 96, 0, 10], 64);
    ip_step.tcp(1000, 80, 1, 2).write(&mut inner, b"hello").unwrap();
    let p = ip(&inner);
    let r = sluice_wire::Rewrite {
        src: None,
        dst: Some((Addr::v4([10, 1, 2, 3]), 8080)),
    };
    assert!(sluice_wire::rewrite::apply(
        &mut inner,
        &p,
        sluice_wire::Checksum::Good,
        &r
    ));
    assert!(sluice_wire::rewrite::decrement_ttl(&mut inner, &p));
    let template = Template::new(&tunnel(true, false)).unwrap();
    let frame = encapsulate(&template, &inner, 50000, 0, Some(&p));
    assert!(verify_transport(&frame, &ip(&frame)));
}

#[test]
fn families_are_not_mixed() {
    let mut mixed = tunnel(false, false);
    mixed.remote = Addr::v6(V6.1);
    assert_eq!(Template::new(&mixed), None);
}

#[test]
fn no_room_and_too_long_are_refused_and_nothing_is_written() {
    let template = Template::new(&tunnel(false, false)).unwrap();
    let mut short = vec![7; OVERHEAD_V4 + 13];
    assert_eq!(template.write(&mut short, 1, 2, 0, None), Err(DropReason::NoHeadroom));
    assert!(short.iter().all(|b| *b == 7));
    let mut long = vec![7; 14 + 65536];
    assert_eq!(template.write(&mut long, 1, 2, 0, None), Err(DropReason::TooBig));
    assert!(long.iter().all(|b| *b == 7));
    assert_eq!(template.write(&mut long[..14 + 65535], 1, 2, 0, None), Ok(()));
}

/// A good tunnel packet with one change, and what becomes of it.
fn judged(v6: bool, checksum: bool, change: impl FnOnce(&mut [u8])) -> Result<usize, DropReason> {
    let template = Template::new(&tunnel(v6, checksum)).unwrap();
    let mut frame = encapsulate(&template, &[0; 60], 50000, 0, None);
    change(&mut frame);
    if !v6 {
        frame[24..26].fill(0);
        let check = sum(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&check.to_be_bytes());
    }
    let outer = ip(&frame);
    decapsulate(&frame, &outer, 8472, Vni::new(0x0a_0b0c).unwrap()).map(|inner| inner.offset)
}

#[test]
fn each_fault_has_its_reason() {
    assert_eq!(judged(false, false, |_| {}), Ok(50));
    assert_eq!(judged(true, false, |_| {}), Ok(70));
    assert_eq!(
        judged(false, false, |f| f[36] ^= 1),
        Err(DropReason::NotSteered),
        "another port"
    );
    assert_eq!(
        judged(false, false, |f| f[23] = 47),
        Err(DropReason::NotSteered),
        "no UDP"
    );
    assert_eq!(
        judged(false, false, |f| f[20] = 0x20),
        Err(DropReason::FragmentUnsupported)
    );
    assert_eq!(
        judged(false, false, |f| f[39] = 29),
        Err(DropReason::VxlanTruncated),
        "13 bytes of inner Ethernet"
    );
    assert_eq!(judged(false, false, |f| f[42] = 0), Err(DropReason::VxlanNoVni));
    assert_eq!(judged(false, false, |f| f[48] ^= 1), Err(DropReason::UnknownVni));
    assert_eq!(judged(false, true, |f| f[41] ^= 1), Err(DropReason::OuterChecksum));
    assert_eq!(
        judged(true, false, |f| f[60..62].fill(0)),
        Err(DropReason::OuterChecksum),
        "none over IPv6"
    );
    // Liberal in what is received: reserved flags and fields mean nothing (RFC 7348 section 5).
    assert_eq!(
        judged(false, false, |f| (f[42], f[43], f[45], f[49]) =
            (0xff, 0xff, 0xff, 0xff)),
        Ok(50)
    );
}

#[test]
fn what_follows_the_datagram_is_not_the_inner_frames() {
    let template = Template::new(&tunnel(false, false)).unwrap();
    let mut frame = encapsulate(&template, &[0; 60], 50000, 0, None);
    frame[38..40].copy_from_slice(&56u16.to_be_bytes());
    let outer = ip(&frame);
    let inner = decapsulate(&frame, &outer, 8472, Vni::new(0x0a_0b0c).unwrap()).unwrap();
    assert_eq!((inner.offset, inner.end), (50, 34 + 56));
}

#[test]
fn an_outer_checksum_that_comes_to_zero_is_sent_as_all_ones() {
    let template = Template::new(&tunnel(true, false)).unwrap();
    let held = |frame: &[u8]| u16::from_be_bytes([frame[60], frame[61]]);
    let src_port = held(&encapsulate(&template, &[3; 60], 0, 0, None));
    let frame = encapsulate(&template, &[3; 60], src_port, 0, None);
    assert_eq!(held(&frame), 0xffff);
    assert!(verify_transport(&frame, &ip(&frame)));
}

#[test]
fn a_datagram_shorter_than_its_packet_does_not_spoil_the_shortcut() {
    // Its checksum says nothing about the four bytes behind it (RFC 9868 puts options there).
    let mut inner = Vec::new();
    PacketBuilder::ethernet2([9; 6], [8; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut inner, b"data")
        .unwrap();
    inner.extend([0xde, 0xad, 0xbe, 0xef]);
    inner[17] += 4;
    inner[24..26].fill(0);
    let check = sum(&inner[14..34]).checksum();
    inner[24..26].copy_from_slice(&check.to_be_bytes());
    let p = ip(&inner);
    assert!(verify_transport(&inner, &p));
    let template = Template::new(&tunnel(true, false)).unwrap();
    assert!(verify_transport(
        &encapsulate(&template, &inner, 50000, 0, Some(&p)),
        &ip(&encapsulate(&template, &inner, 50000, 0, None))
    ));
}

#[test]
fn source_ports_never_change_between_releases() {
    let v6 = |last: u8| {
        let mut octets = [0; 16];
        (octets[0], octets[1], octets[15]) = (0xfd, 0, last);
        Addr::v6(octets)
    };
    let flows = [
        (
            Addr::v4([10, 244, 1, 5]),
            Addr::v4([10, 244, 2, 7]),
            43_112,
            80,
            Proto::TCP,
        ),
        (
            Addr::v4([10, 244, 2, 7]),
            Addr::v4([10, 244, 1, 5]),
            80,
            43_112,
            Proto::TCP,
        ),
        (v6(1), v6(2), 5353, 53, Proto::UDP),
        (v6(1), v6(2), 7, 7, Proto::ICMPV6),
    ];
    let hashes = flows.map(|(src, dst, sport, dport, proto)| {
        let tuple = sluice_wire::Tuple {
            src,
            dst,
            sport,
            dport,
            proto,
        };
        tuple.stable_hash()
    });
    let wanted = [
        9_659_038_441_145_166_628,
        10_951_372_804_860_218_264,
        10_249_634_541_096_735_358,
        18_056_624_137_316_226_265,
    ];
    assert_eq!(hashes, wanted, "nodes of different versions must agree");
    assert_eq!(hashes.map(source_port), [62762, 51065, 62378, 63177]);
}
