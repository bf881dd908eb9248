//! Nothing on the wire can make this crate panic: random bytes, damaged packets, and frames that are not the parsed one.

use crate::sample::sample;
use proptest::prelude::*;
use sluice_wire::rewrite::{apply, decrement_ttl, rewrite_quoted, set_dscp, set_ecn};
use sluice_wire::{
    Addr, Checksum, FragmentPlan, Gso, GsoKind, IcmpError, Kind, MacAddr, Packet, Parsed, Rewrite, SegmentPlan, arp,
    checksum, clamp_mss, icmp, ndp, parse, parse_quoted, tcp_reset,
};

/// Calls everything that takes a parsed packet, with `frame`, which need not be the one that was parsed.
fn everything(frame: &[u8], p: &Parsed) {
    let mac = MacAddr([2; 6]);
    let (v4, v6) = (Addr::v4([10, 0, 0, 1]), Addr::v6([0x20; 16]));
    let own = if p.v6 { v6 } else { v4 };
    checksum::verify_transport(frame, p);
    p.fragment_place(frame);
    let mut copy = frame.to_vec();
    for state in [
        Checksum::Unverified,
        Checksum::Partial {
            start: p.l4,
            offset: p.checksum_offset().unwrap_or(0),
        },
    ] {
        apply(
            &mut copy,
            p,
            state,
            &Rewrite {
                src: Some((own, 7)),
                dst: Some((own, 9)),
            },
        );
        p.accepts(state);
    }
    rewrite_quoted(
        &mut copy,
        p,
        &Rewrite {
            src: Some((own, 7)),
            dst: None,
        },
    );
    decrement_ttl(&mut copy, p);
    set_ecn(&mut copy, p, 3);
    set_dscp(&mut copy, p, 63);
    clamp_mss(&mut copy, p, Checksum::Unverified, 0);
    if let Ok(plan) = FragmentPlan::new(frame, p, 68) {
        let mut piece = vec![0; plan.fragment_len(0)];
        plan.write(0, frame, &mut piece);
    }
    checksum::complete(&mut copy, p.l4, 6);
    let mut out = [0; 1294];
    icmp::write_error(&mut out, frame, p, IcmpError::TooBig { mtu: 1450 }, own, mac, mac);
    tcp_reset(&mut out, frame, p, mac, mac);
    let _ = ndp::solicitation(frame, p);
    for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp] {
        if let Ok(plan) = SegmentPlan::new(
            frame,
            p,
            Gso {
                kind,
                size: 8,
                ecn: true,
            },
        ) {
            let mut segment = vec![0; plan.segment_len(0)];
            plan.write(0, frame, &mut segment);
        }
    }
    if let Kind::IcmpError { quoted } = p.kind {
        parse_quoted(frame.get(usize::from(quoted)..).unwrap_or(&[]));
    }
}

fn judge(frame: &[u8], shorter: usize) -> Result<(), TestCaseError> {
    parse_quoted(frame);
    arp::reply(&mut frame.to_vec(), MacAddr([2; 6]));
    if let Ok(Packet::Ip(p)) = parse(frame) {
        let (l3, l4, payload, end) = (p.l3.into(), u32::from(p.l4), u32::from(p.payload), p.end);
        prop_assert!(
            14u32 == l3 && l3 < l4 && l4 <= payload && payload <= end && end as usize <= frame.len(),
            "{p:?}"
        );
        prop_assert!(p.v6 != p.tuple.src.is_v4() && p.v6 != p.tuple.dst.is_v4());
        everything(frame, &p);
        everything(&frame[..shorter % (frame.len() + 1)], &p);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn random_bytes(mut frame in proptest::collection::vec(any::<u8>(), 0..200), family in 0usize..4, fix in any::<bool>(), shorter in any::<usize>()) {
        if let (Some([_, _]), Some(ethertype)) = (frame.get(12..14), [0x0800u16, 0x86dd, 0x0806].get(family)) {
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            if frame.len() > 40 && fix {
                frame[14] = if family == 1 { 0x60 } else { 0x45 };
                let len = (frame.len() - if family == 1 { 54.min(frame.len()) } else { 14 }) as u16;
                let at = if family == 1 { 18 } else { 16 };
                frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
                if family == 0 {
                    crate::parse::fix_ipv4(&mut frame);
                }
            }
        }
        judge(&frame, shorter)?;
    }

    #[test]
    fn damaged_packets(
        s in sample(300),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        protocol in proptest::option::of(prop_oneof![Just(0u8), Just(1), Just(6), Just(17), Just(43), Just(44), Just(58), Just(60), Just(132)]),
        shorter in any::<usize>(),
        cut in 0usize..40,
    ) {
        let mut frame = s.frame();
        if let Some(protocol) = protocol {
            frame[if s.v6 { 20 } else { 23 }] = protocol;
        }
        for (at, value) in damage {
            // Mostly headers: the payload is read by nobody.
            let at = 14 + at.index(frame.len().min(100) - 14);
            frame[at] = value;
        }
        frame.truncate(frame.len() - cut.min(frame.len() - 34));
        if !s.v6 {
            crate::parse::fix_ipv4(&mut frame);
        }
        judge(&frame, shorter)?;
    }
}
