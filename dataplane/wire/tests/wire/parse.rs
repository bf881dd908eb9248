//! What valid packets are read as, against etherparse, and by which reason the others are refused.

use crate::sample::{L4, Sample, ip, sample};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use sluice_wire::{DropReason, Kind, Packet, Parsed, parse};

proptest! {
    #[test]
    fn agrees_with_etherparse(s in sample(2000)) {
        let frame = s.frame();
        let p = ip(&frame);
        let twin = SlicedPacket::from_ethernet(&frame).unwrap();
        let at = |part: &[u8]| part.as_ptr() as usize - frame.as_ptr() as usize;
        let (src, dst, end) = match twin.net.unwrap() {
            NetSlice::Ipv4(v4) => {
                let h = v4.header();
                prop_assert_eq!((h.ttl(), h.protocol().0, h.dont_fragment()), (p.ttl, p.tuple.proto.0, p.dont_fragment));
                prop_assert_eq!(h.dcp().value() << 2 | h.ecn().value(), p.tos);
                prop_assert_eq!(at(h.slice()), usize::from(p.l3));
                (h.source_addr().into(), h.destination_addr().into(), at(v4.payload().payload) + v4.payload().payload.len())
            }
            NetSlice::Ipv6(v6) => {
                let h = v6.header();
                prop_assert_eq!((h.hop_limit(), h.traffic_class()), (p.ttl, p.tos));
                prop_assert_eq!(at(h.slice()), usize::from(p.l3));
                (h.source_addr().into(), h.destination_addr().into(), at(v6.payload().payload) + v6.payload().payload.len())
            }
            NetSlice::Arp(_) => unreachable!("no sample is ARP"),
        };
        prop_assert_eq!((p.tuple.src, p.tuple.dst, p.end as usize), (src, dst, end));
        let (l4, payload, ports) = match twin.transport.unwrap() {
            TransportSlice::Tcp(t) => {
                prop_assert_eq!((p.kind, p.tcp_flags), (Kind::Tcp, s.flags));
                (at(t.slice()), at(t.payload()), (t.source_port(), t.destination_port()))
            }
            TransportSlice::Udp(u) => {
                prop_assert_eq!(p.kind, Kind::Udp);
                (at(u.slice()), at(u.payload()), (u.source_port(), u.destination_port()))
            }
            TransportSlice::Icmpv4(i) => (at(i.slice()), at(i.payload()), (s.sport, s.sport)),
            TransportSlice::Icmpv6(i) => (at(i.slice()), at(i.payload()), (s.sport, s.sport)),
            TransportSlice::Igmp(_) => unreachable!("no sample is IGMP"),
        };
        prop_assert_eq!((usize::from(p.l4), usize::from(p.payload), (p.tuple.sport, p.tuple.dport)), (l4, payload, ports));
        prop_assert_eq!((p.v6, p.ip_options, p.fragment), (s.v6, s.options > 0, false));
    }
}

#[test]
fn parsed_fits_a_cache_line() {
    assert!(size_of::<Parsed>() <= 64, "{}", size_of::<Parsed>());
}

/// A plain frame with one change, and what becomes of it.
fn refused(v6: bool, l4: L4, change: impl FnOnce(&mut Vec<u8>)) -> DropReason {
    let mut frame = Sample::plain(v6, l4).frame();
    change(&mut frame);
    if !v6 && frame.len() >= 34 {
        fix_ipv4(&mut frame);
    }
    match parse(&frame) {
        Err(reason) => reason,
        Ok(found) => panic!("accepted as {found:?}"),
    }
}

pub(crate) fn fix_ipv4(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let len = usize::from(frame[14] & 15) * 4;
    let check = sluice_wire::checksum::sum(&frame[14..(14 + len).min(frame.len())]).checksum();
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

#[test]
fn each_fault_has_its_reason() {
    use DropReason::{
        EthTruncated, EtherTypeUnknown, Ipv4Malformed, Ipv6ExtensionUnsupported, Ipv6Malformed, LlcFrame, Martian,
        SourceRouted, TransportTruncated, VlanTagged,
    };
    assert_eq!(refused(false, L4::Tcp, |f| f.truncate(13)), EthTruncated);
    assert_eq!(
        refused(false, L4::Tcp, |f| drop(f.splice(12..12, [0x81, 0, 0, 5]))),
        VlanTagged,
        "802.1Q"
    );
    let typed = |kind: [u8; 2]| refused(false, L4::Tcp, |f| f[12..14].copy_from_slice(&kind));
    assert_eq!((typed([5, 0xff]), typed([6, 0])), (LlcFrame, EtherTypeUnknown), "802.3");
    assert_eq!(typed([0x88, 0xa8]), VlanTagged, "802.1ad");
    assert_eq!(refused(false, L4::Tcp, |f| f[14] = 0x65), Ipv4Malformed, "version");
    assert_eq!(
        refused(false, L4::Tcp, |f| f[14] = 0x44),
        Ipv4Malformed,
        "header of 16 bytes"
    );
    assert_eq!(
        refused(false, L4::Tcp, |f| f[17] = 19),
        Ipv4Malformed,
        "shorter than its header"
    );
    assert_eq!(
        refused(false, L4::Tcp, |f| f[16] = 1),
        Ipv4Malformed,
        "longer than the frame"
    );
    assert_eq!(refused(false, L4::Tcp, |f| f.truncate(33)), Ipv4Malformed);
    assert_eq!(
        refused(false, L4::Tcp, |f| f.resize(14 + 65536, 0)),
        Ipv4Malformed,
        "longer than any packet"
    );
    assert_eq!(
        refused(false, L4::Tcp, |f| f[46] = 0x40),
        TransportTruncated,
        "TCP header of 16 bytes"
    );
    assert_eq!(
        refused(false, L4::Tcp, |f| f[46] = 0xf0),
        TransportTruncated,
        "TCP header longer than the packet"
    );
    assert_eq!(
        refused(false, L4::Udp, |f| f[39] = 7),
        TransportTruncated,
        "UDP length below 8"
    );
    assert_eq!(
        refused(false, L4::Udp, |f| f[39] = 21),
        TransportTruncated,
        "UDP length over the packet"
    );
    assert_eq!(
        refused(false, L4::EchoRequest, |f| f[17] = 27),
        TransportTruncated,
        "seven bytes of ICMP"
    );
    assert_eq!(refused(true, L4::Tcp, |f| f[14] = 0x40), Ipv6Malformed, "version");
    assert_eq!(
        refused(true, L4::Tcp, |f| f[18] = 1),
        Ipv6Malformed,
        "longer than the frame"
    );
    assert_eq!(
        refused(true, L4::Tcp, |f| f[18..20].fill(0)),
        TransportTruncated,
        "a jumbogram's length"
    );
    assert_eq!(refused(true, L4::Tcp, |f| f.truncate(53)), Ipv6Malformed);
    for at in [22, 38] {
        let mapped = |f: &mut Vec<u8>| f[at..at + 12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        assert_eq!(refused(true, L4::Tcp, mapped), Martian, "mapped IPv4 at {at}");
    }
    let extend = |f: &mut Vec<u8>, kind: u8, header: [u8; 8]| {
        f[20] = kind;
        f.splice(54..54, header);
        f[19] += 8;
    };
    assert_eq!(
        refused(true, L4::Tcp, |f| extend(f, 43, [6, 0, 0, 1, 0, 0, 0, 0])),
        SourceRouted,
        "segments left"
    );
    assert_eq!(
        refused(true, L4::Tcp, |f| extend(f, 60, [6, 9, 1, 4, 0, 0, 0, 0])),
        Ipv6Malformed,
        "past the end"
    );
    let hop_by_hop_second = |f: &mut Vec<u8>| {
        extend(f, 0, [6, 0, 1, 4, 0, 0, 0, 0]);
        extend(f, 60, [0, 0, 1, 4, 0, 0, 0, 0]);
    };
    assert_eq!(refused(true, L4::Tcp, hop_by_hop_second), Ipv6Malformed);
    let many = |f: &mut Vec<u8>| (0..9).for_each(|i| extend(f, 60, [if i == 0 { 6 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]));
    assert_eq!(
        refused(true, L4::Tcp, many),
        Ipv6ExtensionUnsupported,
        "nine extensions"
    );
}

#[test]
fn the_header_checksum_must_be_right() {
    let mut frame = Sample::plain(false, L4::Tcp).frame();
    frame[25] ^= 1;
    assert_eq!(parse(&frame), Err(DropReason::Ipv4Checksum));
}

#[test]
fn a_super_frame_of_the_greatest_length_is_read() {
    let mut s = Sample::plain(false, L4::Udp);
    s.payload = vec![1; 65535 - 28];
    let p = ip(&s.frame());
    assert_eq!((p.end, p.payload), (14 + 65535, 42));
}

#[test]
fn sctp_has_ports_and_unknown_protocols_have_none() {
    let mut frame = Sample::plain(false, L4::Udp).frame();
    frame[23] = 132;
    fix_ipv4(&mut frame);
    let p = ip(&frame);
    assert_eq!(
        (p.kind, p.tuple.sport, p.tuple.dport, p.payload),
        (Kind::Sctp, 4321, 80, p.l4 + 12)
    );
    frame[23] = 47;
    fix_ipv4(&mut frame);
    let p = ip(&frame);
    assert_eq!(
        (p.kind, p.tuple.sport, p.tuple.dport, p.payload),
        (Kind::Other, 0, 0, p.l4)
    );
}

#[test]
fn icmp_types_have_their_kind() {
    let of = |v6: bool, icmp: u8| {
        let mut frame = Sample::plain(v6, L4::EchoRequest).frame();
        let l4 = ip(&frame).l4;
        frame[usize::from(l4)] = icmp;
        let p = ip(&frame);
        assert!(
            matches!(p.kind, Kind::EchoReply | Kind::EchoRequest) || p.tuple.sport == 0,
            "only echo has an identifier"
        );
        p.kind
    };
    for (icmp, kind) in [
        (0, Kind::EchoReply),
        (8, Kind::EchoRequest),
        (13, Kind::OtherIcmp),
        (9, Kind::OtherIcmp),
    ] {
        assert_eq!(of(false, icmp), kind);
    }
    for icmp in [3, 4, 5, 11, 12] {
        assert_eq!(of(false, icmp), Kind::IcmpError { quoted: 42 });
    }
    for (icmp, kind) in [
        (128, Kind::EchoRequest),
        (129, Kind::EchoReply),
        (135, Kind::Ndp(135)),
        (143, Kind::OtherIcmp),
    ] {
        assert_eq!(of(true, icmp), kind);
    }
    for icmp in [1, 2, 3, 4, 127] {
        assert_eq!(of(true, icmp), Kind::IcmpError { quoted: 62 });
    }
}

#[test]
fn arp_is_told_apart() {
    let mut frame = vec![0xff; 12];
    frame.extend([
        8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 10, 1, 2, 1,
    ]);
    assert!(matches!(parse(&frame), Ok(Packet::Arp(_))));
    frame.pop();
    assert_eq!(parse(&frame), Err(DropReason::ArpMalformed));
}
