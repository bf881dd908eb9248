//! Packets that are not easy: each passes as it is or ends for a reason of its own.

use super::bench::{Bench, coming};
use super::hand_made::{Extension, tagged, with_extensions, with_options, with_protocol};
use super::packet::{L4, Packet};
use super::world::{
    A, B, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, OUR_VTEP, OUTSIDE, PEER_VTEP, REMOTE, ROUTER_MAC, SERVICE, UPLINK,
    UPLINK_MAC, World,
};
use sluice_wire::{Addr, DropReason, MacAddr, Proto};

fn datagram(v4: bool, to: Addr) -> Packet {
    Packet::udp((A.addr(v4), 1000), (to, 2000)).between(A.mac, GATEWAY_MAC)
}

/// The only frame that left, without tunnel headers where it went to the other node.
fn inner(sent: &[super::bench::Sent], v4: bool) -> Vec<u8> {
    assert_eq!(sent.len(), 1, "{sent:?}");
    let outer = match (sent[0].port == UPLINK, v4) {
        (false, _) => 0,
        (true, true) => 50,
        (true, false) => 70,
    };
    sent[0].bytes[outer..].to_vec()
}

/// What `made` makes of a packet passes from A to B, into the tunnel and out of it, changed by the hop only.
fn passes(v4: bool, what: &str, made: &dyn Fn(&Packet) -> Vec<u8>) {
    let mut bench = Bench::new();
    let family = usize::from(!v4);
    // Twice: nothing that the first one left behind must stop the second.
    for _ in 0..2 {
        let packet = datagram(v4, B.addr(v4));
        let sent = bench.send(A.slot, &made(&packet));
        let want = packet.hop().between(GATEWAY_MAC, B.mac);
        assert_eq!((sent[0].port, inner(&sent, v4)), (B.slot, made(&want)), "{what}");

        let packet = datagram(v4, REMOTE.addr(v4));
        let sent = bench.send(A.slot, &made(&packet));
        let want = packet.hop().between(OUR_VTEP[family], PEER_VTEP[family]);
        assert_eq!(inner(&sent, v4), made(&want), "{what}, into the tunnel");

        let packet = Packet::udp((REMOTE.addr(v4), 7), (A.addr(v4), 9)).between(PEER_VTEP[family], OUR_VTEP[family]);
        let sent = bench.send(UPLINK, &coming(v4).around(&made(&packet)));
        let want = packet.hop().between(GATEWAY_MAC, A.mac);
        assert_eq!(inner(&sent, v4), made(&want), "{what}, out of the tunnel");
    }
}

/// What `made` makes of a packet gets nowhere, from a pod nor out of the tunnel.
fn ends(v4: bool, reason: DropReason, made: &dyn Fn(&Packet) -> Vec<u8>) {
    let mut bench = Bench::new();
    let family = usize::from(!v4);
    for to in [B, REMOTE, OUTSIDE] {
        let honest = datagram(v4, to.addr(v4));
        assert_eq!(bench.pod_sends(A, &honest).len(), 1);
        bench.refused(A.slot, &made(&honest), reason);
    }
    let packet = Packet::udp((REMOTE.addr(v4), 7), (A.addr(v4), 9)).between(PEER_VTEP[family], OUR_VTEP[family]);
    bench.refused(UPLINK, &coming(v4).around(&made(&packet)), reason);
}

#[test]
fn source_routes_end_here_and_other_options_pass_as_they_are() {
    let options: [(&str, &[u8]); 5] = [
        ("record route", &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp", &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("router alert", &[148, 4, 0, 0]),
        ("nothing", &[1, 1, 1, 0]),
        ("unknown", &[30, 6, 1, 2, 3, 4]),
    ];
    for (what, options) in options {
        passes(true, what, &|p| with_options(p, options));
    }
    for route in [&[131, 7, 4, 10, 244, 2, 9][..], &[1, 137, 7, 4, 10, 244, 2, 9]] {
        ends(true, DropReason::SourceRouted, &|p| with_options(p, route));
    }
    ends(true, DropReason::Ipv4Malformed, &|p| with_options(p, &[7, 44, 4, 0]));
}

#[test]
fn extension_headers_pass_as_they_are_unless_they_lead_elsewhere() {
    const HOP_BY_HOP: Extension<'_> = (0, &[0, 0, 5, 2, 0, 0, 1, 0]);
    const DESTINATION: Extension<'_> = (60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    const LAST_ROUTE: Extension<'_> = (43, &[0, 0, 0, 0, 0, 0, 0, 0]);
    const MOBILE: Extension<'_> = (
        43,
        &[0, 2, 2, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    );
    let several: [(&str, &[Extension<'_>]); 4] = [
        ("hop by hop", &[HOP_BY_HOP]),
        ("destination", &[DESTINATION]),
        ("a route that is at its end", &[LAST_ROUTE]),
        ("all of them", &[HOP_BY_HOP, DESTINATION, LAST_ROUTE, DESTINATION]),
    ];
    for (what, headers) in several {
        passes(false, what, &|p| with_extensions(p, headers));
    }
    for kind in [0, 2, 3, 4, 253] {
        let route = [&[0, 2, kind, 1, 0, 0, 0, 0][..], &REMOTE.addr(false).octets()[..]].concat();
        ends(false, DropReason::SourceRouted, &|p| {
            with_extensions(p, &[(43, &route)])
        });
        ends(false, DropReason::SourceRouted, &|p| {
            with_extensions(p, &[HOP_BY_HOP, (43, &route)])
        });
    }
    ends(false, DropReason::SourceRouted, &|p| with_extensions(p, &[MOBILE]));
    ends(false, DropReason::Ipv6ExtensionUnsupported, &|p| {
        with_extensions(p, &[DESTINATION; 9])
    });
    ends(false, DropReason::Ipv6Malformed, &|p| {
        with_extensions(p, &[DESTINATION, HOP_BY_HOP])
    });
    ends(false, DropReason::Ipv6Malformed, &|p| {
        with_extensions(p, &[(60, &[0, 200, 1, 4, 0, 0, 0, 0])])
    });
}

#[test]
fn protocols_without_ports_pass_between_pods() {
    for v4 in [true, false] {
        // ESP, AH, no next header, GRE, mobility, and one that nobody has assigned.
        for proto in [50, 51, 59, 47, 135, 200] {
            passes(v4, &format!("protocol {proto}"), &|p| with_protocol(p, Proto(proto)));
        }
    }
}

/// A datagram with an extension header is translated where its UDP header is.
#[test]
fn extension_headers_do_not_hide_a_service() {
    let mut world = World::new();
    world.serve(&[B]);
    let mut bench = Bench::with(world, 1);
    let headers: &[Extension<'_>] = &[(60, &[0, 0, 1, 4, 0, 0, 0, 0])];
    let packet = datagram(false, SERVICE.addr(false)).to((SERVICE.addr(false), 80));
    let sent = bench.send(A.slot, &with_extensions(&packet, headers));
    let want = packet.to((B.addr(false), 8080)).hop().between(GATEWAY_MAC, B.mac);
    assert_eq!(
        (sent[0].port, &sent[0].bytes),
        (B.slot, &with_extensions(&want, headers))
    );
}

#[test]
fn groups_and_addresses_of_nobody_are_told_apart() {
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().into();
    let table: [(Addr, DropReason); 14] = [
        (Addr::v4([224, 0, 0, 251]), DropReason::Multicast),
        (Addr::v4([239, 255, 255, 250]), DropReason::Multicast),
        (v6("ff02::fb"), DropReason::Multicast),
        (v6("ff0e::1"), DropReason::Multicast),
        (Addr::v4([255; 4]), DropReason::Broadcast),
        (Addr::v4([169, 254, 169, 254]), DropReason::LinkLocal),
        (v6("fe80::1"), DropReason::LinkLocal),
        (v6("febf::1"), DropReason::LinkLocal),
        (Addr::v4([0, 1, 2, 3]), DropReason::Martian),
        (Addr::v4([127, 0, 0, 1]), DropReason::Martian),
        (Addr::v4([127, 255, 255, 254]), DropReason::Martian),
        (v6("::"), DropReason::Martian),
        (v6("::1"), DropReason::Martian),
        (v6("::ffff:10.244.1.3"), DropReason::Martian),
    ];
    let mut bench = Bench::new();
    for (bad, reason) in table {
        // As etherparse sees it: a mapped address is one of IPv6.
        let mapped = bad == Addr::v4([10, 244, 1, 3]);
        let v4 = bad.is_v4() && !mapped;
        for (slot, mac, own) in [(A.slot, A.mac, A), (HOST, HOST_MAC, BASE)] {
            let mut to = Packet::udp((own.addr(v4), 5), (own.addr(v4), 5))
                .between(mac, GATEWAY_MAC)
                .frame();
            let mut from = to.clone();
            let (src, dst, len) = if v4 { (26, 30, 4) } else { (22, 38, 16) };
            let bytes = &bad.octets()[16 - len..];
            to[dst..dst + len].copy_from_slice(bytes);
            from[src..src + len].copy_from_slice(bytes);
            if v4 {
                (to, from) = (resum(to), resum(from));
            }
            bench.refused(slot, &to, reason);
            let reason = match reason {
                DropReason::Multicast | DropReason::Broadcast => DropReason::SpoofedSource,
                other => other,
            };
            bench.refused(slot, &from, reason);
        }
    }
    // Asking for an address of one's own (DHCP).
    let discover = Packet::udp((Addr::v4([0; 4]), 68), (Addr::v4([255; 4]), 67)).between(A.mac, MacAddr::BROADCAST);
    bench.refused(A.slot, &discover.frame(), DropReason::Broadcast);
    // To all of the subnet.
    for last in [Addr::v4([10, 244, 1, 255]), B.addr(true), REMOTE.addr(true)] {
        let all = datagram(true, last).between(A.mac, MacAddr::BROADCAST);
        bench.refused(A.slot, &all.frame(), DropReason::Broadcast);
    }
    assert_eq!(bench.shared.connections.len(), 0);
    // Reserved, and in use all the same.
    assert_eq!(bench.pod_sends(A, &datagram(true, Addr::v4([240, 1, 2, 3]))).len(), 1);
}

fn resum(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24..26].fill(0);
    let sum = sluice_wire::checksum::sum(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn memberships_of_groups_are_not_mistaken_for_traffic() {
    let mut bench = Bench::new();
    let group: Addr = std::net::Ipv6Addr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x16]).into();
    for kind in [130, 131, 132, 143] {
        for from in [A.addr(false), std::net::Ipv6Addr::UNSPECIFIED.into()] {
            let report = Packet::icmp(from, group, kind, 0, [0, 0, 0, 1], &[0; 20])
                .ttl(1)
                .between(A.mac, GATEWAY_MAC);
            let frame = with_extensions(&report, &[(0, &[0, 0, 5, 2, 0, 0, 1, 0])]);
            bench.refused(A.slot, &frame, DropReason::GroupMembership);
        }
    }
    let report = Packet::udp((A.addr(true), 5), (Addr::v4([224, 0, 0, 22]), 5))
        .ttl(1)
        .between(A.mac, GATEWAY_MAC);
    bench.refused(A.slot, &with_protocol(&report, Proto(2)), DropReason::GroupMembership);
    bench.refused(A.slot, &report.frame(), DropReason::Multicast);
}

#[test]
fn frames_of_other_kinds_have_a_reason_each() {
    let mut bench = Bench::new();
    let packet = datagram(true, B.addr(true));
    let frame = packet.frame();
    for tag in [
        &[0x81, 0, 0, 5][..],
        // Priority only: no VLAN.
        &[0x81, 0, 0xe0, 0],
        &[0x88, 0xa8, 0, 7],
        &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5],
    ] {
        bench.refused(A.slot, &tagged(&frame, tag), DropReason::VlanTagged);
        bench.refused(UPLINK, &tagged(&frame, tag), DropReason::VlanTagged);
        let inner = packet.clone().between(PEER_VTEP[0], OUR_VTEP[0]).frame();
        bench.refused(
            UPLINK,
            &coming(true).around(&tagged(&inner, tag)),
            DropReason::VlanTagged,
        );
    }
    for (kind, reason) in [
        (38u16, DropReason::LlcFrame),
        (0x05ff, DropReason::LlcFrame),
        (0x0600, DropReason::EtherTypeUnknown),
        (0x8035, DropReason::EtherTypeUnknown),
        (0x88cc, DropReason::EtherTypeUnknown),
        (0x8847, DropReason::EtherTypeUnknown),
    ] {
        let mut other = frame.clone();
        other[12..14].copy_from_slice(&kind.to_be_bytes());
        bench.refused(A.slot, &other, reason);
    }
}

#[test]
fn nobody_redirects_anothers_traffic() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1000), (B.addr(true), 2000));
    assert_eq!(bench.pod_sends(A, &packet).len(), 1);
    let frame = packet.clone().hop().frame();
    let gateway = B.addr(true).v4_octets();
    let redirect = Packet::icmp(B.addr(true), A.addr(true), 5, 1, gateway, &frame[14..42]).between(B.mac, GATEWAY_MAC);
    bench.refused(B.slot, &redirect.frame(), DropReason::RogueRouter);
    // An error of the same shape passes.
    let unreachable = Packet::icmp(B.addr(true), A.addr(true), 3, 1, [0; 4], &frame[14..42]);
    assert_eq!(bench.pod_sends(B, &unreachable).len(), 1);
}

#[test]
fn dscp_crosses_the_node_and_the_tunnel_inside() {
    for v4 in [true, false] {
        let family = usize::from(!v4);
        for tos in [0, 0xb8, 0x28 | 1, 0xfc | 2] {
            let mut bench = Bench::new();
            let mut packet = datagram(v4, REMOTE.addr(v4));
            packet.tos = tos;
            let sent = bench.send(A.slot, &packet.frame());
            let want = packet.clone().hop().between(OUR_VTEP[family], PEER_VTEP[family]);
            assert_eq!(inner(&sent, v4), want.frame());
            let mut packet = packet.to((B.addr(v4), 2000));
            let sent = bench.send(A.slot, &packet.frame());
            packet = packet.hop().between(GATEWAY_MAC, B.mac);
            assert_eq!(inner(&sent, v4), packet.frame());
        }
    }
}

/// RFC 6040 section 4.2: congestion on the way cannot be told to who does not understand it.
#[test]
fn congestion_that_cannot_be_told_is_a_loss() {
    for v4 in [true, false] {
        let family = usize::from(!v4);
        let mut bench = Bench::new();
        let packet = Packet::udp((REMOTE.addr(v4), 7), (A.addr(v4), 9)).between(PEER_VTEP[family], OUR_VTEP[family]);
        let mut wrapping = coming(v4);
        for (outer, inner, out) in [
            (0, 2, Some(2)),
            (1, 2, Some(1)),
            (3, 1, Some(3)),
            (2, 0, Some(0)),
            (3, 0, None),
        ] {
            wrapping.outer.tos = outer;
            let mut packet = packet.clone();
            packet.tos = inner;
            let frame = wrapping.around(&packet.frame());
            match out {
                None => bench.refused(UPLINK, &frame, DropReason::TunnelCongestion),
                Some(tos) => {
                    let sent = bench.send(UPLINK, &frame);
                    packet.tos = tos;
                    assert_eq!(
                        sent[0].bytes,
                        packet.hop().between(GATEWAY_MAC, A.mac).frame(),
                        "{outer} {inner}"
                    );
                }
            }
        }
    }
}

/// Pods that use one identifier are told apart outside, and hear their own answers and errors only.
#[test]
fn pings_of_several_pods_with_one_identifier() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let to = OUTSIDE.addr(v4);
        let mut seen = Vec::new();
        for pod in [A, B] {
            for _ in 0..2 {
                let ping = Packet::ping(pod.addr(v4), to, 40007);
                let sent = bench.pod_sends(pod, &ping);
                let (source, id) = super::bench::source_of(&sent, 0);
                assert_eq!(source, NODE.addr(v4));
                seen.push((pod, id));
            }
        }
        assert_eq!(
            (seen[0].1, seen[2].1),
            (seen[1].1, seen[3].1),
            "a pod's identifier stays"
        );
        assert_eq!(seen[0].1, 40007, "a free one is kept");
        assert_ne!(seen[0].1, seen[2].1);
        assert_eq!(bench.shared.connections.len(), 2);
        for (pod, id) in [seen[2], seen[0]] {
            let answer = Packet {
                l4: L4::EchoReply,
                ..Packet::ping(to, NODE.addr(v4), id)
            };
            let mut want = answer.clone().to((pod.addr(v4), 40007));
            want.src.1 = 40007;
            super::bench::expect_at_pod(&bench.outside_sends(&answer), pod, want.hop());

            let (kind, code) = if v4 { (11, 0) } else { (3, 0) };
            let router = Addr::v4([198, 51, 100, 9]);
            let router = if v4 { router } else { Addr::v6([0x20; 16]) };
            let sent = Packet::ping(NODE.addr(v4), to, id).hop().frame();
            let error = Packet::icmp(router, NODE.addr(v4), kind, code, [0; 4], &sent[14..]);
            let own = Packet::ping(pod.addr(v4), to, 40007).hop().frame();
            let want = Packet::icmp(router, pod.addr(v4), kind, code, [0; 4], &own[14..]);
            super::bench::expect_at_pod(&bench.outside_sends(&error), pod, want.hop());
        }
        // An identifier that nobody uses, and an answer to nobody's question.
        let stray = Packet {
            l4: L4::EchoReply,
            ..Packet::ping(to, NODE.addr(v4), 40099)
        };
        bench.refused(
            UPLINK,
            &stray.between(ROUTER_MAC, UPLINK_MAC).frame(),
            DropReason::NoConnection,
        );
    }
}

/// Both ends of one UDP flow send before either has heard the other, each at its own worker.
#[test]
fn datagrams_of_both_sides_at_once_are_one_connection() {
    use sluice_wire::Meta;
    for v4 in [true, false] {
        for first in [0, 1] {
            let mut world = World::new();
            world.serve(&[B]);
            let mut bench = Bench::with(world, 2);
            let there = Packet::udp((A.addr(v4), 1000), (B.addr(v4), 8080)).between(A.mac, GATEWAY_MAC);
            let back = Packet::udp(there.dst, there.src).between(B.mac, GATEWAY_MAC);
            for round in 0..3 {
                for worker in [first, 1 - first] {
                    let (packet, from, to) = if worker == 0 { (&there, A, B) } else { (&back, B, A) };
                    let sent = bench.burst(worker, &[(Meta::from_port(from.slot), &packet.frame())]);
                    super::bench::expect_at_pod(&sent, to, packet.clone().hop());
                    assert_eq!(bench.shared.connections.len(), 1, "round {round}");
                }
            }
            // The same client reaches the same port through the service: its answers must not look like the flow's.
            let asked = Packet::udp((A.addr(v4), 1000), (SERVICE.addr(v4), 80)).between(A.mac, GATEWAY_MAC);
            let sent = bench.burst(0, &[(Meta::from_port(A.slot), &asked.frame())]);
            let source = super::bench::source_of(&sent, 0);
            assert_eq!(source.0, BASE.addr(v4), "with another source");
            let answer = Packet::udp((B.addr(v4), 8080), source).between(B.mac, GATEWAY_MAC);
            let sent = bench.burst(1, &[(Meta::from_port(B.slot), &answer.frame())]);
            super::bench::expect_at_pod(&sent, A, answer.clone().from(asked.dst).to(asked.src).hop());
            let sent = bench.burst(1, &[(Meta::from_port(B.slot), &back.frame())]);
            super::bench::expect_at_pod(&sent, A, back.clone().hop());
        }
    }
}
