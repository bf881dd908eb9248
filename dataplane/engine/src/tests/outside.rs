//! Traffic of pods with the world outside the cluster.

use super::bench::{Bench, expect_at_host, expect_at_pod, expect_outside, source_of, wrapped};
use super::packet::{L4, Packet, SYN};
use super::world::{
    A, B, BASE, GATEWAY_MAC, NODE, NODE_PORT, OTHER_NODE, OUTSIDE, REMOTE, ROUTER_MAC, TUNNEL_PORT, UPLINK, UPLINK_MAC,
    World,
};
use sluice_snapshot::PortKind;
use sluice_wire::{Addr, DropReason, MacAddr};

#[test]
fn pods_leave_with_the_nodes_address_and_are_answered() {
    for v4 in [true, false] {
        for packet in [
            Packet::tcp((A.addr(v4), 1000), (OUTSIDE.addr(v4), 443), SYN),
            Packet::udp((A.addr(v4), 1000), (OUTSIDE.addr(v4), 53)),
            Packet::ping(A.addr(v4), OUTSIDE.addr(v4), 7),
        ] {
            let mut bench = Bench::new();
            let sent = bench.pod_sends(A, &packet);
            let source = source_of(&sent, 0);
            assert_eq!(source.0, NODE.addr(v4));
            assert!((40000..=40099).contains(&source.1), "{source:?}");
            let mut seen = packet.clone().from(source);
            if packet.l4 == L4::EchoRequest {
                seen.dst.1 = source.1;
            }
            expect_outside(&sent, seen.clone().hop());
            let reply = seen.reply();
            let mut answer = reply.clone().to(packet.src);
            answer.src.1 = packet.dst.1;
            expect_at_pod(&bench.outside_sends(&reply), A, answer.hop());
        }
    }
}

#[test]
fn two_pods_with_one_port_are_told_apart() {
    let (v4, dst) = (true, (OUTSIDE.addr(true), 53));
    let mut bench = Bench::new();
    let from_a = source_of(&bench.pod_sends(A, &Packet::udp((A.addr(v4), 40050), dst)), 0);
    let from_b = source_of(&bench.pod_sends(B, &Packet::udp((B.addr(v4), 40050), dst)), 0);
    assert_eq!(from_a, (NODE.addr(v4), 40050), "an owned port is kept");
    assert_ne!(from_a, from_b);
    for (pod, source) in [(A, from_a), (B, from_b)] {
        let reply = Packet::udp(dst, source);
        expect_at_pod(
            &bench.outside_sends(&reply),
            pod,
            reply.clone().to((pod.addr(v4), 40050)).hop(),
        );
    }
}

#[test]
fn used_up_ports_are_a_reason() {
    let mut bench = Bench::new();
    let dst = (OUTSIDE.addr(true), 53);
    for port in 0..100 {
        assert_eq!(bench.pod_sends(A, &Packet::udp((A.addr(true), port), dst)).len(), 1);
    }
    let one_more = Packet::udp((A.addr(true), 100), dst)
        .between(A.mac, GATEWAY_MAC)
        .frame();
    bench.refused(A.slot, &one_more, DropReason::SnatPortsExhausted);
    // Towards another destination they are free.
    let elsewhere = Packet::udp((A.addr(true), 100), (OUTSIDE.addr(true), 54));
    assert_eq!(bench.pod_sends(A, &elsewhere).len(), 1);
}

#[test]
fn a_connection_whose_source_the_node_lost_begins_anew() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let packet = Packet::udp((A.addr(v4), 1000), (OUTSIDE.addr(v4), 53));
        let old = source_of(&bench.pod_sends(A, &packet), 0);
        let new = if v4 {
            Addr::v4([192, 0, 2, 99])
        } else {
            Addr::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99])
        };
        let outside = |w: &mut World, addr| {
            let slot = if v4 {
                &mut w.node.outside_v4
            } else {
                &mut w.node.outside_v6
            };
            *slot = addr;
        };
        // Another address that comes first is no reason while the old one is still there.
        bench.change(|w| {
            w.node.addresses.insert(new);
            outside(w, Some(new));
        });
        assert_eq!(source_of(&bench.pod_sends(A, &packet), 0), old);
        // Without any address it waits for one to come back.
        bench.change(|w| {
            w.node.addresses.clear();
            outside(w, None);
        });
        assert_eq!(source_of(&bench.pod_sends(A, &packet), 0), old);
        bench.change(|w| {
            w.node.addresses.insert(new);
            outside(w, Some(new));
        });
        let source = source_of(&bench.pod_sends(A, &packet), 0);
        assert_eq!(source.0, new);
        let reply = packet.clone().from(source).reply();
        expect_at_pod(&bench.outside_sends(&reply), A, reply.to((A.addr(v4), 1000)).hop());
        assert_eq!(bench.counters().events.connections_created.get(), 2);
    }
}

#[test]
fn the_hosts_own_traffic_keeps_its_address() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let packet = Packet::udp((NODE.addr(v4), 1000), (OUTSIDE.addr(v4), 53));
        expect_outside(&bench.host_sends(&packet), packet.clone());
        let reply = packet.reply();
        expect_at_host(&bench.outside_sends(&reply), reply);
    }
}

#[test]
fn nobody_outside_begins_a_connection_except_to_a_service() {
    let mut bench = Bench::new();
    for dst in [A.addr(true), NODE.addr(true), OUTSIDE.addr(true)] {
        let packet = Packet::tcp((Addr::v4([198, 51, 100, 1]), 1000), (dst, 80), SYN);
        let frame = packet.between(ROUTER_MAC, UPLINK_MAC).frame();
        bench.refused(UPLINK, &frame, DropReason::NoConnection);
    }
}

#[test]
fn a_pod_cannot_make_tunnel_packets_in_the_nodes_name() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        for dst in [OTHER_NODE, NODE, OUTSIDE] {
            let forged = Packet::udp((A.addr(v4), 1000), (dst.addr(v4), TUNNEL_PORT));
            let frame = forged.between(A.mac, GATEWAY_MAC).frame();
            bench.refused(A.slot, &frame, DropReason::TunnelFromPod);
        }
        // Its peer's kernel would take it for a tunnel packet at any of these.
        let base = BASE.addr(v4);
        let [gateway, peers] = if v4 {
            [Addr::v4([10, 244, 2, 1]), Addr::v4([10, 244, 2, 0])]
        } else {
            let mut peers = base.octets();
            peers[7] = 2;
            let mut gateway = peers;
            gateway[15] = 1;
            [Addr::v6(gateway), Addr::v6(peers)]
        };
        for dst in [base, peers, gateway] {
            let forged = Packet::udp((A.addr(v4), 1000), (dst, TUNNEL_PORT));
            let frame = forged.between(A.mac, GATEWAY_MAC).frame();
            bench.refused(A.slot, &frame, DropReason::TunnelFromPod);
        }
        let to_remote = Packet::udp((A.addr(v4), 1000), (REMOTE.addr(v4), TUNNEL_PORT));
        assert_eq!(bench.pod_sends(A, &to_remote).len(), 1, "a pod may serve this port");
        let to_pod = Packet::udp((A.addr(v4), 1000), (B.addr(v4), TUNNEL_PORT));
        expect_at_pod(&bench.pod_sends(A, &to_pod), B, to_pod.clone().hop());
        // A service's replies would go to a peer's tunnel port if a request could come from there.
        let asks = Packet::udp((OTHER_NODE.addr(v4), TUNNEL_PORT), (NODE.addr(v4), NODE_PORT));
        let frame = asks.between(ROUTER_MAC, UPLINK_MAC).frame();
        bench.refused(UPLINK, &frame, DropReason::TunnelFromPod);
    }
}

#[test]
fn a_protocol_without_ports_has_one_connection_a_destination() {
    let mut bench = Bench::new();
    // ICMP timestamp: no identifier that we would translate.
    let ask = |pod: super::world::Who| Packet::icmp(pod.addr(true), OUTSIDE.addr(true), 13, 0, [0; 4], &[0; 12]);
    expect_outside(&bench.pod_sends(A, &ask(A)), ask(A).from((NODE.addr(true), 0)).hop());
    let answer = Packet::icmp(OUTSIDE.addr(true), NODE.addr(true), 14, 0, [0; 4], &[0; 12]);
    expect_at_pod(
        &bench.outside_sends(&answer),
        A,
        answer.clone().to((A.addr(true), 0)).hop(),
    );
    let other = ask(B).between(B.mac, GATEWAY_MAC).frame();
    bench.refused(B.slot, &other, DropReason::SnatPortsExhausted);
}

#[test]
fn frames_on_the_wire_for_other_macs_go_nowhere() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[A]);
        let mut bench = Bench::with(world, 1);
        let to_service = Packet::udp((OUTSIDE.addr(v4), 5000), (NODE.addr(v4), NODE_PORT));
        let inside = Packet::udp((REMOTE.addr(v4), 1), (A.addr(v4), 2));
        let tunnelled = |mac: MacAddr| {
            let mut frame = wrapped(&inside);
            frame[..6].copy_from_slice(&mac.0);
            frame
        };
        let service = |mac| to_service.clone().between(ROUTER_MAC, mac).frame();
        let mut near = UPLINK_MAC;
        near.0[5] ^= 1;
        for made in [&tunnelled as &dyn Fn(MacAddr) -> Vec<u8>, &service] {
            bench.refused(UPLINK, &made(near), DropReason::OtherMac);
            bench.refused(UPLINK, &made(MacAddr::BROADCAST), DropReason::Broadcast);
            assert!(bench.shared.connections.is_empty());
        }
        for made in [&tunnelled as &dyn Fn(MacAddr) -> Vec<u8>, &service] {
            assert_eq!(bench.send(UPLINK, &made(UPLINK_MAC)).len(), 1);
        }
        // What the kernel has put together from fragments.
        assert_eq!(bench.send(UPLINK, &tunnelled(MacAddr::default())).len(), 1);
        // The interface gets another MAC.
        bench.change(|world| world.ports.get_mut(&UPLINK.0).unwrap().kind = PortKind::Uplink { mac: near });
        assert_eq!(bench.send(UPLINK, &service(near)).len(), 1);
        bench.refused(UPLINK, &service(UPLINK_MAC), DropReason::OtherMac);
    }
}
