//! Packets of our own: ICMP errors, resets, neighbour advertisements.

use crate::parse::fix_ipv4;
use crate::sample::{DST_MAC, L4, SRC_MAC, Sample, ip, sample};
use proptest::prelude::*;
use sluice_wire::checksum::{pseudo, sum, verify_transport};
use sluice_wire::icmp::{may_answer, write_error};
use sluice_wire::ndp::{self, Solicited, advertise, solicitation};
use sluice_wire::{Addr, DropReason, IcmpError, Kind, MacAddr, tcp_flags, tcp_probe, tcp_reset};

const OUR: MacAddr = MacAddr([2, 0x53, 0, 0, 0, 1]);
const ASKER: MacAddr = MacAddr([2, 0x53, 0, 0, 0, 2]);

fn router(v6: bool) -> Addr {
    if v6 {
        Addr::v6([0x20; 16])
    } else {
        Addr::v4([10, 9, 9, 9])
    }
}

proptest! {
    #[test]
    fn an_error_is_valid_and_quotes_as_much_as_it_may(s in sample(3000), mtu in any::<u16>(), pick in 0usize..6) {
        let error = [
            IcmpError::TooBig { mtu },
            IcmpError::TimeExceeded,
            IcmpError::NetUnreachable,
            IcmpError::HostUnreachable,
            IcmpError::PortUnreachable,
            IcmpError::Prohibited,
        ][pick];
        let original = s.frame();
        let p = ip(&original);
        let mut out = [0x55; 1294];
        let len = write_error(&mut out, &original, &p, error, router(s.v6), OUR, ASKER).unwrap();
        let frame = &out[..len];
        let e = ip(frame);
        prop_assert_eq!((e.end as usize, e.tuple.src, e.tuple.dst), (len, router(s.v6), p.tuple.src));
        prop_assert!(verify_transport(frame, &e));
        prop_assert_eq!((&frame[..6], &frame[6..12]), (&ASKER.0[..], &OUR.0[..]));
        let Kind::IcmpError { quoted } = e.kind else { panic!("{:?}", e.kind) };
        let packet = &original[14..p.end as usize];
        let quoted = &frame[usize::from(quoted)..];
        prop_assert!(packet.starts_with(quoted));
        let longest = if s.v6 { 1280 } else { 576 };
        prop_assert_eq!(len - 14, (packet.len() + usize::from(e.payload) - 14).min(longest));
        let icmp = &frame[usize::from(e.l4)..];
        let v4 = [(3, 4), (11, 0), (3, 0), (3, 1), (3, 3), (3, 13)];
        let v6 = [(2, 0), (3, 0), (1, 0), (1, 3), (1, 4), (1, 1)];
        prop_assert_eq!((icmp[0], icmp[1]), if s.v6 { v6[pick] } else { v4[pick] });
        let wanted = if pick == 0 { mtu } else { 0 };
        prop_assert_eq!(u32::from_be_bytes([icmp[4], icmp[5], icmp[6], icmp[7]]), u32::from(wanted));
        prop_assert_eq!(write_error(&mut out[..len - 1], &original, &p, error, router(s.v6), OUR, ASKER), None);
        prop_assert_eq!(write_error(&mut out, &original, &p, error, router(!s.v6), OUR, ASKER), None);
    }

    #[test]
    fn a_probe_is_out_of_window_and_in_anothers_name_and_carries_nothing_else(mut s in sample(500), port in any::<u16>()) {
        s.l4 = L4::Tcp;
        let original = s.frame();
        let p = ip(&original);
        let from = router(s.v6);
        let mut out = [0x55; 134];
        let written = tcp_probe(&mut out, &original, &p, (from, port), (OUR, ASKER));
        if s.flags & (tcp_flags::SYN | tcp_flags::RST | tcp_flags::ACK) != tcp_flags::ACK {
            prop_assert_eq!(written, None, "it opens or resets, or acknowledges nothing");
            return Ok(());
        }
        let len = written.unwrap();
        let frame = &out[..len];
        let q = ip(frame);
        prop_assert!(verify_transport(frame, &q));
        prop_assert_eq!((q.tuple.src, q.tuple.sport, q.tuple.dst, q.tuple.dport), (from, port, p.tuple.dst, p.tuple.dport));
        prop_assert_eq!((q.tcp_flags, q.end as usize, q.end), (tcp_flags::ACK, len, u32::from(q.payload)));
        let (was, is) = (&original[usize::from(p.l4)..usize::from(p.payload)], &frame[usize::from(q.l4)..]);
        let seq = u32::from_be_bytes(*is[4..].first_chunk().unwrap());
        // Whatever the receiver expects near the segment, this lies at least half of the largest window before it.
        prop_assert_eq!(s.seq.wrapping_sub(seq), 1 << 30);
        prop_assert_eq!(&is[8..12], &was[8..12]);
        // Of what the sender chose no more goes along: his window and options stay here, but for a timestamp.
        prop_assert_eq!(&is[14..16], &1024u16.to_be_bytes());
        let stamp = was[20..].windows(10).find(|option| option[..2] == [8, 10]);
        match is.len() {
            20 => {}
            32 => prop_assert_eq!((&is[20..24], Some(&is[24..])), (&[1, 1, 8, 10][..], stamp.map(|option| &option[2..]))),
            other => panic!("{other} bytes of header"),
        }
        prop_assert_eq!(tcp_probe(&mut out[..len - 1], &original, &p, (from, port), (OUR, ASKER)), None);
        prop_assert_eq!(tcp_probe(&mut out, &original, &p, (router(!s.v6), port), (OUR, ASKER)), None);
    }

    #[test]
    fn a_reset_is_one_that_the_sender_believes(mut s in sample(500)) {
        s.l4 = L4::Tcp;
        let original = s.frame();
        let p = ip(&original);
        let mut out = [0; 74];
        let answer = tcp_reset(&mut out, &original, &p, OUR, ASKER);
        if s.flags & tcp_flags::RST != 0 {
            prop_assert_eq!(answer, None);
            return Ok(());
        }
        let frame = &out[..answer.unwrap()];
        let r = ip(frame);
        prop_assert!(verify_transport(frame, &r));
        prop_assert_eq!(r.tuple, p.tuple.reversed());
        let word = |at: usize| u32::from_be_bytes(*frame[usize::from(r.l4) + at..].first_chunk().unwrap());
        let (seq, ack) = (word(4), word(8));
        if s.flags & tcp_flags::ACK != 0 {
            prop_assert_eq!((r.tcp_flags, seq, ack), (tcp_flags::RST, 99, 0));
        } else {
            let length = s.payload.len() as u32 + u32::from(s.flags & 1) + u32::from(s.flags >> 1 & 1);
            prop_assert_eq!((r.tcp_flags, seq, ack), (tcp_flags::RST | tcp_flags::ACK, 0, s.seq.wrapping_add(length)));
        }
    }
}

#[test]
fn nobody_is_answered_whom_the_rfcs_forbid_to_answer() {
    let answered = |v6: bool, l4: L4, change: &dyn Fn(&mut Sample), patch: &dyn Fn(&mut [u8])| {
        let mut s = Sample::plain(v6, l4);
        change(&mut s);
        let mut frame = s.frame();
        patch(&mut frame);
        if !v6 {
            fix_ipv4(&mut frame);
        }
        may_answer(&frame, &ip(&frame))
    };
    let same = &|_: &mut Sample| {};
    let raw = &|_: &mut [u8]| {};
    for v6 in [false, true] {
        assert!(answered(v6, L4::Udp, same, raw));
        assert!(answered(v6, L4::EchoRequest, same, raw), "a query may be answered");
        assert!(
            !answered(v6, L4::Udp, same, &|f| f[0] |= 1),
            "sent to a group on the link"
        );
    }
    assert!(!answered(false, L4::EchoRequest, same, &|f| f[34] = 11), "ICMP error");
    assert!(!answered(true, L4::EchoRequest, same, &|f| f[54] = 3), "ICMPv6 error");
    assert!(!answered(true, L4::EchoRequest, same, &|f| f[54] = 137), "redirect");
    assert!(!answered(false, L4::Udp, same, &|f| f[21] = 9), "later fragment");
    assert!(answered(false, L4::Udp, same, &|f| f[20] = 0x20), "first fragment");
    for last in [[224, 0, 0, 1], [255, 255, 255, 255]] {
        assert!(
            !answered(false, L4::Udp, &|s| s.dst[12..].copy_from_slice(&last), raw),
            "to {last:?}"
        );
    }
    for last in [
        [0, 0, 0, 0],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
    ] {
        assert!(
            !answered(false, L4::Udp, &|s| s.src[12..].copy_from_slice(&last), raw),
            "from {last:?}"
        );
    }
    assert!(!answered(true, L4::Udp, &|s| s.dst[0] = 0xff, raw), "to a group");
    assert!(!answered(true, L4::Udp, &|s| s.src[0] = 0xff, raw), "from a group");
    for last in [0, 1] {
        let low = |s: &mut Sample| {
            s.src = [0; 16];
            s.src[15] = last;
        };
        assert!(!answered(true, L4::Udp, &low, raw), "from ::{last}");
    }
}

const TARGET: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78];
const ASKING: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x34, 0x56, 0x78];

/// A neighbour solicitation with the given source and options.
fn solicit(src: [u8; 16], options: &[u8]) -> Vec<u8> {
    let mut frame = [
        &DST_MAC[..],
        &SRC_MAC,
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24 + options.len() as u8, 58, 255],
    ]
    .concat();
    frame.extend([&src[..], &GROUP, &[135, 0, 0, 0, 0, 0, 0, 0], &TARGET, options].concat());
    fix(&mut frame);
    frame
}

fn fix(frame: &mut [u8]) {
    let p = ip(frame);
    frame[56..58].fill(0);
    let total = sum(&frame[54..p.end as usize]) + pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, p.end - 54);
    frame[56..58].copy_from_slice(&total.checksum().to_be_bytes());
}

const LINK: [u8; 8] = [1, 1, 2, 0x53, 0, 0, 0, 7];

#[test]
fn a_solicitation_is_read_and_answered() {
    let frame = solicit(ASKING, &LINK);
    let asked = solicitation(&frame, &ip(&frame)).unwrap();
    let link = MacAddr([2, 0x53, 0, 0, 0, 7]);
    assert_eq!(
        asked,
        Solicited {
            target: Addr::v6(TARGET),
            source_link: Some(link),
            dad: false
        }
    );
    let mut out = [0x55; 90];
    let len = advertise(&mut out, &asked, Addr::v6(ASKING), ASKER, OUR).unwrap();
    assert_eq!(len, ndp::ADVERTISEMENT_LEN);
    let p = ip(&out[..len]);
    assert!(verify_transport(&out[..len], &p));
    assert_eq!(
        (p.kind, p.ttl, p.tuple.src, p.tuple.dst),
        (Kind::Ndp(136), 255, Addr::v6(TARGET), Addr::v6(ASKING))
    );
    assert_eq!((&out[..6], &out[6..12]), (&link.0[..], &OUR.0[..]));
    assert_eq!(out[58], 0xe0, "router, solicited, override");
    assert_eq!(out[62..78], TARGET);
    assert_eq!(out[78..86], [2, 1, 2, 0x53, 0, 0, 0, 1]);
    assert_eq!(advertise(&mut out[..85], &asked, Addr::v6(ASKING), ASKER, OUR), None);
}

#[test]
fn duplicate_address_detection_is_answered_to_everybody() {
    let frame = solicit([0; 16], &[]);
    let asked = solicitation(&frame, &ip(&frame)).unwrap();
    assert!(asked.dad && asked.source_link.is_none());
    let mut out = [0; 86];
    let len = advertise(&mut out, &asked, Addr::v6([0; 16]), ASKER, OUR).unwrap();
    let p = ip(&out[..len]);
    assert!(verify_transport(&out[..len], &p));
    assert_eq!(p.tuple.dst.to_string(), "ff02::1");
    assert_eq!((out[58], &out[..6]), (0xa0, &[0x33, 0x33, 0, 0, 0, 1][..]));
}

#[test]
fn every_check_of_the_rfc_is_made() {
    let refused = |src: [u8; 16], options: &[u8], patch: &dyn Fn(&mut [u8])| {
        let mut frame = solicit(src, options);
        patch(&mut frame);
        fix(&mut frame);
        solicitation(&frame, &ip(&frame)).unwrap_err()
    };
    let malformed = DropReason::NdpMalformed;
    assert_eq!(refused(ASKING, &[], &|f| f[21] = 254), malformed, "hop limit");
    assert_eq!(refused(ASKING, &[], &|f| f[55] = 1), malformed, "code");
    assert_eq!(refused(ASKING, &[], &|f| f[19] = 23), malformed, "length");
    assert_eq!(refused(ASKING, &[], &|f| f[62] = 0xff), malformed, "multicast target");
    assert_eq!(
        refused(ASKING, &[1, 0, 0, 0, 0, 0, 0, 0], &|_| {}),
        malformed,
        "option of no length"
    );
    assert_eq!(
        refused(ASKING, &[1, 2, 0, 0, 0, 0, 0, 0], &|_| {}),
        malformed,
        "option past the end"
    );
    assert_eq!(refused(ASKING, &[1], &|_| {}), malformed, "half an option");
    assert_eq!(
        refused([0; 16], &LINK, &|_| {}),
        malformed,
        "a link address without an address"
    );
    assert_eq!(
        refused([0; 16], &[], &|f| f[49] = 0),
        malformed,
        "from nobody to one node"
    );
    assert_eq!(refused(ASKING, &[], &|f| f[54] = 136), DropReason::NdpNotForUs);
    let mut frame = solicit(ASKING, &LINK);
    frame[56] ^= 1;
    assert_eq!(solicitation(&frame, &ip(&frame)), Err(DropReason::TransportChecksum));
}
