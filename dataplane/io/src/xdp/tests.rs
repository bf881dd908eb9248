//! The program in the kernel against a slow twin in Rust, by test runs of single frames; and its life over restarts.

use super::twin::{Twin, half, twin};
use super::*;
use crate::afxdp::Attach;
use crate::testing::{Namespace, until};
use aya::programs::{TestRun, TestRunOptions};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sluice_wire::{Addr, MacAddr, Proto};
use std::path::Path;

pub(super) const TUNNEL: u16 = 8472;
pub(super) const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const NODE4: Addr = Addr::v4([192, 0, 2, 11]);
pub(super) const NODE6: Addr = Addr::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11]);
pub(super) const SERVICE4: Addr = Addr::v4([203, 0, 113, 5]);
pub(super) const SERVICE6: Addr = Addr::v6([0xfd, 0, 0, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a]);
const OTHER4: Addr = Addr::v4([198, 51, 100, 7]);
const OTHER6: Addr = Addr::v6([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
pub(super) const POD4: Addr = Addr::v4([10, 244, 9, 7]);
pub(super) const POD6: Addr = Addr::v6([0xfd, 0, 2, 0x44, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
/// 10.244.0.0/16 and fd00:244::/32.
const RANGES: [(Addr, u8); 2] = [
    (Addr::v4([10, 244, 0, 0]), 112),
    (Addr::v6([0xfd, 0, 2, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 32),
];
const PINS: &str = "/sys/fs/bpf/sluice";
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// A program that owns one of everything.
fn filled() -> Steering {
    let mut steering = Steering::load(TUNNEL).unwrap_or_else(|err| panic!("this test needs root: {err}"));
    steering.set_mac(MAC).unwrap();
    steering.set_node_addresses(&[NODE4, NODE6]).unwrap();
    steering.set_pod_ranges(&RANGES).unwrap();
    steering
        .set_frontends(&[
            (SERVICE4, Proto::TCP, 80),
            (SERVICE6, Proto::UDP, 53),
            (NODE4, Proto::SCTP, 5000),
        ])
        .unwrap();
    steering
        .set_node_ports(&[
            (Proto::TCP, 30_080, true),
            (Proto::UDP, 30_053, false),
            (Proto::SCTP, 30_132, true),
            (Proto::SCTP, 30_132, false),
        ])
        .unwrap();
    let owned = steering.owned_ports();
    for (proto, port) in [
        (Proto::TCP, 40_001),
        (Proto::UDP, 40_002),
        (Proto::SCTP, 40_003),
        (Proto::ICMP, 77),
        (Proto::ICMPV6, 78),
    ] {
        assert!(owned.own(proto, port, true));
    }
    steering
}

fn verdict(steering: &mut Steering, frame: &[u8]) -> u32 {
    let options = TestRunOptions {
        data_in: Some(frame),
        ..TestRunOptions::new()
    };
    steering.program().test_run(options).unwrap().return_value
}

fn ip(src: Addr, dst: Addr, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut out;
    if dst.is_v4() {
        out = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0];
        out[2..4].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
        out.extend_from_slice(&src.v4_octets());
        out.extend_from_slice(&dst.v4_octets());
    } else {
        out = vec![0x60, 0, 0, 0, 0, 0, proto, 64];
        out[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        out.extend_from_slice(&src.octets());
        out.extend_from_slice(&dst.octets());
    }
    out.extend_from_slice(payload);
    out
}

fn ether(packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], kind.as_slice(), packet].concat()
}

fn l4(sport: u16, dport: u16) -> Vec<u8> {
    [sport.to_be_bytes().as_slice(), &dport.to_be_bytes(), &[0; 16]].concat()
}

fn icmp(kind: u8, id: u16, quoted: &[u8]) -> Vec<u8> {
    [[kind, 0, 0, 0].as_slice(), &id.to_be_bytes(), &[0, 0], quoted].concat()
}

fn to(dst: Addr, proto: u8, dport: u16) -> Vec<u8> {
    ether(&ip(
        if dst.is_v4() { OTHER4 } else { OTHER6 },
        dst,
        proto,
        &l4(1234, dport),
    ))
}

fn error(kind: u8, dst: Addr, quoted_src: Addr, proto: u8, ports: (u16, u16)) -> Vec<u8> {
    let (far, own) = if dst.is_v4() { (OTHER4, 1) } else { (OTHER6, 58) };
    let quoted = ip(quoted_src, far, proto, &l4(ports.0, ports.1)[..8]);
    ether(&ip(far, dst, own, &icmp(kind, 0, &quoted)))
}

/// The beginning of a masqueraded fragment at this offset.
fn quoted_fragment(offset: u8) -> Vec<u8> {
    ip(
        NODE6,
        OTHER6,
        44,
        &[&[17, 0, 0, offset | 1, 0, 0, 0, 9], &l4(40_002, 53)[..8]].concat(),
    )
}

#[test]
fn each_class_is_ours_and_its_neighbours_are_the_kernels() {
    let mut steering = filled();
    let reply = |kind, proto, dst: Addr, id| {
        ether(&ip(
            if dst.is_v4() { OTHER4 } else { OTHER6 },
            dst,
            proto,
            &icmp(kind, id, &[]),
        ))
    };
    let fragment = |mut frame: Vec<u8>| {
        frame[20] = 0x20;
        frame
    };
    let tagged = [
        &to(NODE4, 17, TUNNEL)[..12],
        &[0x81, 0, 0, 5],
        &to(NODE4, 17, TUNNEL)[12..],
    ]
    .concat();
    let later = |mut frame: Vec<u8>| {
        frame[21] = 1;
        frame
    };
    let extended = |first: u8, header: [u8; 8], l4: &[u8]| ether(&ip(OTHER6, NODE6, first, &[&header, l4].concat()));
    let tunnelled = l4(1, TUNNEL);
    let many = ether(&ip(
        OTHER6,
        NODE6,
        60,
        &[[60, 0, 0, 0, 0, 0, 0, 0].repeat(8), tunnelled.clone()].concat(),
    ));
    let ours = [
        ("tunnel", to(NODE4, 17, TUNNEL)),
        ("tunnel over IPv6", to(NODE6, 17, TUNNEL)),
        ("service", to(SERVICE4, 6, 80)),
        ("service over IPv6", to(SERVICE6, 17, 53)),
        ("node port", to(NODE4, 6, 30_080)),
        ("node port over IPv6", to(NODE6, 17, 30_053)),
        ("node port of both families", to(NODE4, 132, 30_132)),
        ("node port of both families over IPv6", to(NODE6, 132, 30_132)),
        ("masqueraded reply", to(NODE4, 6, 40_001)),
        ("masqueraded reply over IPv6", to(NODE6, 17, 40_002)),
        ("echo reply", reply(0, 1, NODE4, 77)),
        ("echo reply over IPv6", reply(129, 58, NODE6, 78)),
        ("too big for the tunnel", error(3, NODE4, NODE4, 17, (55_555, TUNNEL))),
        (
            "too big for the tunnel over IPv6",
            error(2, NODE6, NODE6, 17, (55_555, TUNNEL)),
        ),
        ("a pod", to(POD4, 6, 22)),
        ("a pod over IPv6", to(POD6, 17, 9)),
        ("a pod's ping", reply(8, 1, POD4, 1)),
        ("later fragment for a pod", later(to(POD4, 6, 22))),
        ("first fragment", fragment(to(NODE4, 17, 40_002))),
        (
            "first fragment with eight bytes of TCP",
            fragment(ether(&ip(OTHER4, NODE4, 6, &l4(1, 40_001)[..8]))),
        ),
        ("hop-by-hop options", extended(0, [17, 0, 0, 0, 0, 0, 0, 0], &tunnelled)),
        (
            "first fragment over IPv6",
            extended(44, [17, 0, 0, 1, 0, 0, 0, 9], &l4(1, 40_002)),
        ),
        (
            "too big for a first fragment",
            ether(&ip(OTHER6, NODE6, 58, &icmp(2, 0, &quoted_fragment(0)))),
        ),
        (
            "error about a masqueraded flow",
            error(11, NODE4, NODE4, 6, (40_001, 443)),
        ),
        (
            "error about a service's answer",
            error(3, SERVICE4, SERVICE4, 6, (80, 1234)),
        ),
        (
            "error about a node port's answer",
            error(1, NODE6, NODE6, 17, (30_053, 1234)),
        ),
    ];
    let kernels = [
        ("ssh", to(NODE4, 6, 22)),
        ("tunnel port of another host", to(OTHER4, 17, TUNNEL)),
        ("tunnel port by TCP", to(NODE4, 6, TUNNEL)),
        ("service address, other port", to(SERVICE4, 6, 81)),
        ("service address, other protocol", to(SERVICE4, 17, 80)),
        ("node port number of another host", to(OTHER4, 6, 30_080)),
        ("node port of IPv4 over IPv6", to(NODE6, 6, 30_080)),
        ("node port of IPv6 over IPv4", to(NODE4, 17, 30_053)),
        (
            "first fragment for a node port of the other family",
            fragment(to(NODE4, 17, 30_053)),
        ),
        (
            "error about the answer of a program at a node port of the other family",
            error(3, NODE4, NODE4, 17, (30_053, 1234)),
        ),
        ("owned TCP port by UDP", to(NODE4, 17, 40_001)),
        ("ping", reply(8, 1, NODE4, 77)),
        ("echo reply to the kernel's own ping", reply(0, 1, NODE4, 78)),
        ("neighbour solicitation", reply(135, 58, NODE6, 78)),
        (
            "error about the kernel's own flow",
            error(3, NODE4, NODE4, 6, (22, 1234)),
        ),
        (
            "error that quotes another host",
            error(3, NODE4, OTHER4, 17, (1, TUNNEL)),
        ),
        ("redirect", error(5, NODE4, NODE4, 17, (1, TUNNEL))),
        ("later fragment of nobody knows what", later(to(NODE4, 132, 40_003))),
        ("first fragment for the tunnel", fragment(to(NODE4, 17, TUNNEL))),
        (
            "first fragment for the tunnel over IPv6",
            extended(44, [17, 0, 0, 1, 0, 0, 0, 8], &tunnelled),
        ),
        (
            "error about a later fragment",
            ether(&ip(OTHER6, NODE6, 58, &icmp(2, 0, &quoted_fragment(8)))),
        ),
        (
            "later fragment of nobody knows what over IPv6",
            extended(44, [17, 0, 0, 9, 0, 0, 0, 7], &tunnelled),
        ),
        ("extension headers without end", many),
        ("VLAN tag", tagged),
        ("cut off UDP header", ether(&ip(OTHER4, NODE4, 17, &l4(1, TUNNEL)[..7]))),
        ("ARP", [&[0xff; 6], [2; 6].as_slice(), &[8, 6], &[0; 46]].concat()),
        ("just Ethernet", to(NODE4, 17, TUNNEL)[..14].to_vec()),
    ];
    for (name, frame) in ours {
        assert_eq!(
            (verdict(&mut steering, &frame), twin(&frame)),
            (XDP_DROP, true),
            "{name}: ours, and no socket lives"
        );
    }
    for (name, frame) in kernels {
        assert_eq!(
            (verdict(&mut steering, &frame), twin(&frame)),
            (XDP_PASS, false),
            "{name}: the kernel's"
        );
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let addr = |v6: bool| {
        let [node, service, pod, other] = if v6 {
            [NODE6, SERVICE6, POD6, OTHER6]
        } else {
            [NODE4, SERVICE4, POD4, OTHER4]
        };
        prop_oneof![8 => Just(node), 4 => Just(service), 1 => Just(pod), 2 => Just(other)]
    };
    let port = || {
        let known = vec![
            TUNNEL, 80, 53, 5000, 30_080, 30_053, 30_132, 40_001, 40_002, 40_003, 77, 78, 22,
        ];
        prop_oneof![9 => prop::sample::select(known), 1 => any::<u16>()]
    };
    let proto = || prop_oneof![8 => prop::sample::select(vec![1u8, 6, 17, 58, 132]), 1 => any::<u8>()];
    let kind = || prop_oneof![6 => prop::sample::select(vec![0u8, 1, 2, 3, 4, 8, 11, 12, 128, 129]), 1 => any::<u8>()];
    any::<bool>().prop_flat_map(move |v6| {
        let quoted = (
            prop::option::weighted(0.3, addr(v6)),
            addr(v6),
            proto(),
            port(),
            port(),
            kind(),
        );
        let mutation = prop::option::of((prop_oneof![19 => 12usize..100, 1 => 0usize..6], any::<u8>()));
        let cut = prop::option::weighted(0.2, 14usize..110);
        // Few packets, so that fragments meet.
        let piece = prop::option::weighted(0.5, (0u8..2, prop::sample::select(vec![0u8, 1, 1, 4]), any::<bool>()));
        (
            quoted,
            addr(v6),
            proto(),
            kind(),
            port(),
            port(),
            any::<bool>(),
            mutation,
            (cut, piece),
        )
            .prop_map(
                move |((qs, qd, qp, q1, q2, qk), dst, proto, kind, p1, p2, nested, mutation, (cut, piece))| {
                    let src = if v6 { OTHER6 } else { OTHER4 };
                    let own = if v6 { 58 } else { 1 };
                    let inner = if qp == own { icmp(qk, q1, &[]) } else { l4(q1, q2) };
                    let qs = qs.unwrap_or(dst);
                    let payload = if nested || proto == own {
                        icmp(kind, p1, &ip(qs, qd, qp, &inner))
                    } else {
                        l4(p1, p2)
                    };
                    let proto = if nested { own } else { proto };
                    let mut frame = match piece {
                        Some((id, at, more)) if v6 => {
                            let header = [proto, 0, 0, at << 3 | u8::from(more), 0, 0, 0, id];
                            ether(&ip(src, dst, 44, &[&header, payload.as_slice()].concat()))
                        }
                        _ => ether(&ip(src, dst, proto, &payload)),
                    };
                    if let (Some((id, at, more)), false) = (piece, v6) {
                        frame[18..22].copy_from_slice(&[0, id, u8::from(more) << 5, at]);
                    }
                    if let Some((at, value)) = mutation
                        && let Some(byte) = frame.get_mut(at)
                    {
                        *byte = value;
                    }
                    frame.truncate(cut.unwrap_or(usize::MAX));
                    frame
                },
            )
    })
}

/// The frame as a later fragment of the same packet, where its headers make it one.
fn later_of(mut frame: Vec<u8>) -> Vec<u8> {
    match (half(&frame, 12), frame.get(20)) {
        (Some(0x0800), _) if frame.len() >= 22 => frame[21] = 9,
        (Some(0x86dd), Some(44)) if frame.len() >= 58 => frame[57] = 73,
        _ => {}
    }
    frame
}

#[test]
fn the_program_agrees_with_its_twin() {
    let mut steering = filled();
    let (mut ours, mut followed) = (0, 0);
    let mut remembering = Twin::default();
    // Until enough of them were fragments that follow a first one: how many there are depends on which came before.
    for _ in 0..8 {
        let state = std::cell::RefCell::new((&mut steering, &mut remembering, &mut ours, &mut followed));
        let config = ProptestConfig {
            cases: 4000,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        TestRunner::new(config)
            .run(&any_frame(), |frame| {
                let (steering, remembering, ours, followed) = &mut *state.borrow_mut();
                for frame in [frame.clone(), later_of(frame)] {
                    let take = remembering.takes(&frame);
                    **ours += u32::from(take);
                    **followed += u32::from(take && !twin(&frame));
                    let want = if take { XDP_DROP } else { XDP_PASS };
                    prop_assert_eq!(verdict(steering, &frame), want);
                }
                Ok(())
            })
            .unwrap();
        if ours > 100 && followed > 30 {
            return;
        }
    }
    panic!("the generator hardly reaches what is ours: {ours}, {followed} of them later fragments");
}

#[test]
fn later_fragments_go_the_way_of_their_first() {
    let mut steering = filled();
    let mut is = |frame: &[u8]| verdict(&mut steering, frame) == XDP_DROP;
    let v4 = |port: u16, id: u8, field: [u8; 2]| {
        let mut frame = to(NODE4, 17, port);
        frame[18..22].copy_from_slice(&[0, id, field[0], field[1]]);
        frame
    };
    let v6 = |port: u16, id: u8, field: u8| {
        let packet = [&[17, 0, 0, field, 0, 0, 0, id], l4(1, port).as_slice()].concat();
        ether(&ip(OTHER6, NODE6, 44, &packet))
    };
    for (first, later, other, kernels) in [
        (
            v4(40_002, 5, [0x20, 0]),
            v4(0, 5, [0, 9]),
            v4(0, 6, [0, 9]),
            v4(53, 5, [0x20, 0]),
        ),
        (v6(40_002, 5, 1), v6(0, 5, 72), v6(0, 6, 72), v6(53, 5, 1)),
    ] {
        assert!(!is(&later), "nobody knows yet");
        assert!(is(&first) && is(&later) && is(&later));
        assert!(!is(&other), "of another packet");
        // The identification comes round: a packet of the kernel's own.
        assert!(!is(&kernels) && !is(&later));
    }
}

#[test]
fn only_frames_for_the_uplinks_own_mac_are_taken() {
    let mut steering = Steering::load(TUNNEL).unwrap();
    steering.set_node_addresses(&[NODE4]).unwrap();
    let frame = |mac: [u8; 6]| {
        let mut frame = to(NODE4, 17, TUNNEL);
        frame[..6].copy_from_slice(&mac);
        frame
    };
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    let is = |steering: &mut Steering, mac: [u8; 6]| verdict(steering, &frame(mac)) == XDP_DROP;
    assert!(
        !is(&mut steering, MAC.0) && !is(&mut steering, [0; 6]),
        "it is not known yet"
    );
    for (own, not) in [(MAC, other), (other, MAC)] {
        steering.set_mac(own).unwrap();
        assert!(is(&mut steering, own.0) && !is(&mut steering, not.0) && !is(&mut steering, [0xff; 6]));
        // Each byte counts, the group bit, too.
        for at in 0..6 {
            let mut near = own.0;
            near[at] ^= 1;
            assert!(!is(&mut steering, near), "{near:?}");
        }
    }
}

#[test]
fn a_node_port_is_ours_in_the_families_it_was_told_for() {
    let mut steering = filled();
    let port = 31_000;
    for families in [&[][..], &[true], &[false], &[true, false], &[false], &[]] {
        let ports: Vec<_> = families.iter().map(|v4| (Proto::TCP, port, *v4)).collect();
        steering.set_node_ports(&ports).unwrap();
        for node in [NODE4, NODE6] {
            let ours = verdict(&mut steering, &to(node, 6, port)) == XDP_DROP;
            assert_eq!(ours, families.contains(&node.is_v4()), "{families:?} at {node}");
        }
    }
}

#[test]
fn maps_follow_what_they_are_told() {
    let mut steering = filled();
    steering.set_frontends(&[(SERVICE4, Proto::TCP, 81)]).unwrap();
    steering.set_node_ports(&[(Proto::UDP, 30_080, true)]).unwrap();
    let owned = steering.owned_ports();
    assert!(owned.own(Proto::TCP, 40_001, false) && !owned.own(Proto(47), 1, true));
    assert!(owned.owns(Proto::UDP, 40_002) && !owned.owns(Proto::TCP, 40_001));
    let mut is = |frame: &[u8]| verdict(&mut steering, frame) == XDP_DROP;
    assert!(is(&to(SERVICE4, 6, 81)) && !is(&to(SERVICE4, 6, 80)));
    assert!(is(&to(NODE4, 17, 30_080)) && !is(&to(NODE4, 6, 30_080)) && !is(&to(NODE6, 17, 30_080)));
    assert!(!is(&to(NODE6, 17, 30_053)) && !is(&to(NODE4, 132, 30_132)) && !is(&to(NODE6, 132, 30_132)));
    assert!(is(&to(NODE4, 17, 40_002)) && !is(&to(NODE4, 6, 40_001)));
    steering.set_pod_ranges(&RANGES[1..]).unwrap();
    let mut is = |frame: &[u8]| verdict(&mut steering, frame) == XDP_DROP;
    assert!(is(&to(POD6, 6, 1)) && !is(&to(POD4, 6, 1)));
    steering.set_node_addresses(&[NODE6]).unwrap();
    let mut is = |frame: &[u8]| verdict(&mut steering, frame) == XDP_DROP;
    assert!(is(&to(NODE6, 17, TUNNEL)) && !is(&to(NODE4, 17, TUNNEL)));
    assert!(matches!(
        steering.set_node_ports(&[(Proto::ICMP, 1, true)]),
        Err(SteeringError::Protocol { proto: 1 })
    ));
    let many: Vec<Addr> = (0..1025u32).map(|n| Addr::v4(n.to_be_bytes())).collect();
    let text = steering.set_node_addresses(&many).unwrap_err().to_string();
    assert!(text.contains("1024"), "{text}");
    steering.set_node_addresses(&many[..1024]).unwrap();
    steering.set_node_addresses(&many[1..]).unwrap();
}

#[test]
fn a_restart_replaces_the_program_and_a_clean_stop_leaves_nothing() {
    let (a, b) = (Namespace::new(), Namespace::new());
    a.wire("up0", &b, "peer0", 1);
    let attach = || {
        let mut steering = filled();
        let mode = steering.attach("up0", Path::new(PINS)).unwrap();
        (steering, mode)
    };
    let (first, mode) = a.run(attach);
    assert_eq!((mode, first.mode()), (Attach::Native, Some(Attach::Native)));
    let (link, program) = first.ids().unwrap();
    // Another agent's program would be in the way.
    let text = a.run(|| {
        filled()
            .attach("up0", Path::new("/sys/fs/bpf/other"))
            .unwrap_err()
            .to_string()
    });
    assert!(text.contains("bpftool net"), "{text}");
    drop(first);
    assert!(a.ip("link show up0").contains("xdp"), "the pin keeps the program");
    let (second, mode) = a.run(attach);
    assert_eq!(mode, Attach::Native);
    let again = second.ids().unwrap();
    assert!(again.0 == link && again.1 != program, "same link, new program");
    a.run(move || second.detach().unwrap());
    until("the program to go", || {
        (!a.ip("link show up0").contains("xdp")).then_some(())
    });
    let left = a.run(|| std::fs::read_dir(PINS).unwrap().count());
    assert_eq!(left, 0);
}

#[test]
fn pins_of_deleted_interfaces_do_not_stand_in_the_way() {
    let (a, b) = (Namespace::new(), Namespace::new());
    let attach = || {
        let mut steering = filled();
        steering.attach("up0", Path::new(PINS)).unwrap();
        std::fs::read_dir(PINS)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    a.wire("up0", &b, "peer0", 1);
    let pins = a.run(attach);
    assert_eq!(pins.len(), 1, "{pins:?}");
    // The same name with another index, then the same index too.
    a.ip("link del up0");
    a.wire("up0", &b, "peer0", 1);
    let pins = a.run(attach);
    assert_eq!(pins.len(), 1, "{pins:?}");
    let index = a.run(|| nix::net::if_::if_nametoindex("up0").unwrap());
    a.ip("link del up0");
    a.ip(&format!(
        "link add up0 index {index} type veth peer name peer0 netns {}",
        b.tid
    ));
    let pins = a.run(attach);
    assert_eq!(pins.len(), 1, "{pins:?}");
    assert!(a.ip("link show up0").contains("xdp"));
    assert!(matches!(
        a.run(|| filled().attach("nope0", Path::new(PINS))),
        Err(SteeringError::Interface { .. })
    ));
}
