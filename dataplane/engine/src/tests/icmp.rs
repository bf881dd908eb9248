//! ICMP errors of others about connections that we translate.

use super::bench::{Bench, coming, expect_at_pod, expect_outside, in_tunnel, source_of, wrapped};
use super::packet::{Packet, SYN};
use super::world::{
    A, B, GATEWAY_MAC, NODE, NODE_PORT, OUR_VTEP, OUTSIDE, PEER_VTEP, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC,
    World,
};
use sluice_wire::{Addr, DropReason};

/// What a router or receiver quotes of a packet: 28 bytes over IPv4, all over IPv6.
fn quote(packet: &Packet) -> Vec<u8> {
    let frame = packet.frame();
    let most = if packet.is_v4() { 28 } else { frame.len() - 14 };
    frame[14..14 + most].to_vec()
}

fn too_big(v4: bool, from: Addr, to: Addr, about: &Packet) -> Packet {
    let code = if v4 { (3, 4) } else { (2, 0) };
    Packet::icmp(from, to, code.0, code.1, [0, 0, 5, 0], &quote(about))
}

#[test]
fn a_routers_error_about_a_masqueraded_packet_reaches_the_pod() {
    for v4 in [true, false] {
        let router = if v4 {
            Addr::v4([198, 51, 100, 9])
        } else {
            Addr::v6([0x20; 16])
        };
        for packet in [
            Packet::tcp((A.addr(v4), 1000), (OUTSIDE.addr(v4), 443), SYN),
            Packet::udp((A.addr(v4), 1000), (OUTSIDE.addr(v4), 53)),
            Packet::ping(A.addr(v4), OUTSIDE.addr(v4), 7),
        ] {
            let mut bench = Bench::new();
            let source = source_of(&bench.pod_sends(A, &packet), 0);
            let mut seen = packet.clone().from(source).hop();
            if packet.l4 == super::packet::L4::EchoRequest {
                seen.dst.1 = source.1;
            }
            let error = too_big(v4, router, NODE.addr(v4), &seen);
            let want = too_big(v4, router, A.addr(v4), &packet.clone().hop());
            expect_at_pod(&bench.outside_sends(&error), A, want.hop());
        }
    }
}

#[test]
fn an_endpoints_own_error_comes_in_the_services_name() {
    for v4 in [true, false] {
        for tunnel in [false, true] {
            let by = if tunnel { REMOTE } else { B };
            let mut world = World::new();
            world.serve(&[by]);
            let mut bench = Bench::with(world, 1);
            let packet = Packet::udp((A.addr(v4), 1000), (SERVICE.addr(v4), 80));
            let seen = packet.clone().to((by.addr(v4), 8080)).hop();
            assert_eq!(bench.pod_sends(A, &packet).len(), 1);
            let code = if v4 { (3, 3) } else { (1, 4) };
            let error = Packet::icmp(by.addr(v4), A.addr(v4), code.0, code.1, [0; 4], &quote(&seen));
            let want = Packet::icmp(
                SERVICE.addr(v4),
                A.addr(v4),
                code.0,
                code.1,
                [0; 4],
                &quote(&packet.hop()),
            );
            let sent = if tunnel {
                bench.tunnel_sends(&error)
            } else {
                bench.pod_sends(B, &error)
            };
            expect_at_pod(&sent, A, want.hop());
        }
    }
}

/// Client outside, endpoint here or on another node, path too small on the way back to the client.
#[test]
fn an_error_about_a_services_answer_reaches_the_endpoint() {
    for v4 in [true, false] {
        for by in [B, REMOTE] {
            let mut world = World::new();
            world.serve(&[by]);
            let mut bench = Bench::with(world, 1);
            let request = Packet::udp((OUTSIDE.addr(v4), 1000), (NODE.addr(v4), NODE_PORT));
            let overhead = if v4 { 50 } else { 70 };
            let source = source_of(&bench.outside_sends(&request), if by == B { 0 } else { overhead });
            let seen = request.clone().from(source).to((by.addr(v4), 8080));
            let answered = request.reply().hop();
            let sent = match by {
                B => bench.pod_sends(B, &seen.reply()),
                _ => bench.tunnel_sends(&seen.reply()),
            };
            expect_outside(&sent, answered.clone());
            let router = if v4 {
                Addr::v4([198, 51, 100, 9])
            } else {
                Addr::v6([0x20; 16])
            };
            let error = too_big(v4, router, NODE.addr(v4), &answered);
            let sent = bench.outside_sends(&error);
            if by == B {
                let want = too_big(v4, router, B.addr(v4), &seen.reply().hop());
                expect_at_pod(&sent, B, want.hop());
                continue;
            }
            // The other node lets only our own addresses in.
            let want = too_big(v4, source.0, REMOTE.addr(v4), &seen.reply().hop());
            let flow = seen.tuple();
            assert_eq!(sent[0].bytes, in_tunnel(want.hop(), &flow, &sent[0].bytes));
        }
    }
}

#[test]
fn an_error_from_another_nodes_outside_reaches_the_endpoint_here() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        // The other node's base address, which it masquerades to.
        let base = if v4 {
            Addr::v4([10, 244, 2, 0])
        } else {
            super::world::prefix("fd00:244:0:2::/64").base()
        };
        let seen = Packet::udp((base, 40_001), (A.addr(v4), 8080));
        assert_eq!(bench.tunnel_sends(&seen).len(), 1);
        let error = too_big(v4, base, A.addr(v4), &seen.reply().hop());
        expect_at_pod(&bench.tunnel_sends(&error), A, error.hop());
    }
}

#[test]
fn only_who_could_have_sent_the_packets_may_send_errors_about_them() {
    let v4 = true;
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(v4), 1000), (REMOTE.addr(v4), 2000));
    bench.pod_sends(A, &packet);
    let about = packet.clone().hop();
    // B is honest about its address, and has nothing to do with it.
    let by_b = too_big(v4, B.addr(v4), A.addr(v4), &about)
        .between(B.mac, GATEWAY_MAC)
        .frame();
    bench.refused(B.slot, &by_b, DropReason::SpoofedSource);
    let from_outside = too_big(v4, OUTSIDE.addr(v4), A.addr(v4), &about).between(ROUTER_MAC, UPLINK_MAC);
    bench.refused(UPLINK, &from_outside.frame(), DropReason::SpoofedSource);
    let by_other_pod = too_big(v4, Addr::v4([10, 244, 2, 0]), A.addr(v4), &about);
    expect_at_pod(&bench.send(UPLINK, &wrapped(&by_other_pod)), A, by_other_pod.hop());
}

#[test]
fn errors_about_nothing_we_know_end_here() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 2000));
    let error = too_big(true, REMOTE.addr(true), A.addr(true), &packet);
    bench.refused(UPLINK, &wrapped(&error), DropReason::IcmpUnrelated);
    bench.pod_sends(A, &packet);
    let mut cut = error.clone();
    for len in [0, 1, 19, 20, 27] {
        cut.payload.truncate(28);
        let cut = cut.clone().with(error.payload[..len].to_vec());
        bench.refused(UPLINK, &wrapped(&cut), DropReason::IcmpUnrelated);
    }
    let last_hop = error.clone().ttl(1);
    bench.refused(UPLINK, &wrapped(&last_hop), DropReason::TtlExceeded);
    let big = Packet {
        payload: [&error.payload[..], &[0; 1420]].concat(),
        ..error
    };
    let inner = big.between(PEER_VTEP[0], OUR_VTEP[0]).frame();
    bench.change(|w| w.ports.get_mut(&A.slot.0).unwrap().mtu = 1400);
    bench.refused(UPLINK, &coming(true).around(&inner), DropReason::TooBig);
}
