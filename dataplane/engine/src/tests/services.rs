//! Service addresses: rewritten to an endpoint, answered in the service's name.

use super::bench::{Bench, expect_at_host, expect_at_pod, expect_in_tunnel, expect_outside, source_of};
use super::packet::{ACK, Packet, SYN};
use super::world::{A, B, BASE, NODE, NODE_PORT, OUTSIDE, REMOTE, SERVICE, World};
use sluice_wire::DropReason;

fn serving(by: &[super::world::Who]) -> Bench {
    let mut world = World::new();
    world.serve(by);
    Bench::with(world, 1)
}

fn both(v4: bool, src: super::packet::End, dst: super::packet::End) -> [Packet; 2] {
    assert_eq!(src.0.is_v4(), v4);
    [Packet::tcp(src, dst, SYN), Packet::udp(src, dst)]
}

#[test]
fn a_service_is_served_by_a_pod_of_this_node() {
    for v4 in [true, false] {
        for packet in both(v4, (A.addr(v4), 1000), (SERVICE.addr(v4), 80)) {
            let mut bench = serving(&[B]);
            let seen = packet.clone().to((B.addr(v4), 8080));
            expect_at_pod(&bench.pod_sends(A, &packet), B, seen.clone().hop());
            let reply = seen.reply();
            let answer = reply.clone().from((SERVICE.addr(v4), 80)).hop();
            expect_at_pod(&bench.pod_sends(B, &reply), A, answer);
        }
    }
}

#[test]
fn a_service_is_served_through_the_tunnel() {
    for v4 in [true, false] {
        for packet in both(v4, (A.addr(v4), 1000), (SERVICE.addr(v4), 80)) {
            let mut bench = serving(&[REMOTE]);
            let seen = packet.clone().to((REMOTE.addr(v4), 8080));
            expect_in_tunnel(&bench.pod_sends(A, &packet), seen.clone().hop());
            let reply = seen.reply();
            let answer = reply.clone().from((SERVICE.addr(v4), 80)).hop();
            expect_at_pod(&bench.tunnel_sends(&reply), A, answer);
        }
    }
}

#[test]
fn a_pod_that_is_its_own_endpoint_sees_the_base_address() {
    for v4 in [true, false] {
        for packet in both(v4, (A.addr(v4), 20001), (SERVICE.addr(v4), 80)) {
            let mut bench = serving(&[A]);
            let seen = packet.clone().from((BASE.addr(v4), 20001)).to((A.addr(v4), 8080));
            expect_at_pod(&bench.pod_sends(A, &packet), A, seen.clone().hop());
            let reply = seen.reply();
            let answer = reply.clone().from((SERVICE.addr(v4), 80)).to(packet.src).hop();
            expect_at_pod(&bench.pod_sends(A, &reply), A, answer);
        }
    }
}

#[test]
fn a_node_port_is_served_from_outside_by_a_pod_here() {
    for v4 in [true, false] {
        for packet in both(v4, (OUTSIDE.addr(v4), 1000), (NODE.addr(v4), NODE_PORT)) {
            let mut bench = serving(&[B]);
            let sent = bench.outside_sends(&packet);
            let source = source_of(&sent, 0);
            assert_eq!(source.0, BASE.addr(v4));
            assert!((20000..=20099).contains(&source.1), "{source:?}");
            let seen = packet.clone().from(source).to((B.addr(v4), 8080));
            expect_at_pod(&sent, B, seen.clone().hop());
            let reply = seen.reply();
            let answer = reply.clone().from(packet.dst).to(packet.src).hop();
            expect_outside(&bench.pod_sends(B, &reply), answer);
        }
    }
}

#[test]
fn a_node_port_is_served_from_outside_through_the_tunnel() {
    for v4 in [true, false] {
        for packet in both(v4, (OUTSIDE.addr(v4), 1000), (NODE.addr(v4), NODE_PORT)) {
            let mut bench = serving(&[REMOTE]);
            let sent = bench.outside_sends(&packet);
            let source = source_of(&sent, if v4 { 50 } else { 70 });
            assert_eq!(source.0, BASE.addr(v4));
            let seen = packet.clone().from(source).to((REMOTE.addr(v4), 8080));
            expect_in_tunnel(&sent, seen.clone().hop());
            let reply = seen.reply();
            let answer = reply.clone().from(packet.dst).to(packet.src).hop();
            expect_outside(&bench.tunnel_sends(&reply), answer);
        }
    }
}

#[test]
fn the_host_reaches_a_service() {
    for v4 in [true, false] {
        let mut bench = serving(&[B]);
        let packet = Packet::tcp((BASE.addr(v4), 20002), (SERVICE.addr(v4), 80), SYN);
        let seen = packet.clone().to((B.addr(v4), 8080));
        expect_at_pod(&bench.host_sends(&packet), B, seen.clone());
        let reply = seen.reply();
        expect_at_host(&bench.pod_sends(B, &reply), reply.from((SERVICE.addr(v4), 80)));
    }
}

#[test]
fn an_endpoint_keeps_apart_who_came_through_the_service_and_who_came_directly() {
    let mut bench = serving(&[B]);
    let by_service = Packet::udp((A.addr(true), 20007), (SERVICE.addr(true), 80));
    let directly = by_service.clone().to((B.addr(true), 8080));
    expect_at_pod(&bench.pod_sends(A, &by_service), B, directly.clone().hop());
    // The same reply tuple: the second connection takes another source.
    let seen = directly.clone().from((BASE.addr(true), 20007));
    expect_at_pod(&bench.pod_sends(A, &directly), B, seen.clone().hop());
    let reply = seen.reply();
    let answer = reply.clone().from(directly.dst).to(directly.src).hop();
    expect_at_pod(&bench.pod_sends(B, &reply), A, answer);
}

#[test]
fn established_tcp_stays_and_udp_moves_when_the_endpoint_goes() {
    let v4 = true;
    let mut bench = serving(&[B]);
    let client = (A.addr(v4), 1000);
    let [syn, datagram] = both(v4, client, (SERVICE.addr(v4), 80));
    for packet in [&syn, &datagram] {
        let seen = packet.clone().to((B.addr(v4), 8080));
        expect_at_pod(&bench.pod_sends(A, packet), B, seen.clone().hop());
        bench.pod_sends(B, &seen.reply());
    }
    let data = Packet::tcp(client, syn.dst, ACK);
    bench.pod_sends(A, &data);
    bench.change(|w| w.serve(&[REMOTE]));
    expect_at_pod(&bench.pod_sends(A, &data), B, data.clone().to((B.addr(v4), 8080)).hop());
    // What the old endpoint still had to say arrives in the service's name.
    let late = datagram.clone().to((B.addr(v4), 8080)).reply();
    expect_at_pod(&bench.pod_sends(B, &late), A, late.clone().from(datagram.dst).hop());
    let moved = datagram.clone().to((REMOTE.addr(v4), 8080)).hop();
    expect_in_tunnel(&bench.pod_sends(A, &datagram), moved);
}

#[test]
fn udp_that_went_elsewhere_moves_to_a_service_that_comes() {
    let v4 = true;
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(v4), 40001), (SERVICE.addr(v4), 80));
    expect_outside(
        &bench.pod_sends(A, &packet),
        packet.clone().from((NODE.addr(v4), 40001)).hop(),
    );
    bench.change(|w| w.serve(&[B]));
    expect_at_pod(
        &bench.pod_sends(A, &packet),
        B,
        packet.clone().to((B.addr(v4), 8080)).hop(),
    );
}

#[test]
fn a_new_syn_on_a_finished_connection_is_decided_anew() {
    let v4 = true;
    let mut bench = serving(&[B]);
    let syn = Packet::tcp((A.addr(v4), 1000), (SERVICE.addr(v4), 80), SYN);
    bench.pod_sends(A, &syn);
    let reset = Packet::tcp((B.addr(v4), 8080), syn.src, super::packet::RST);
    bench.pod_sends(B, &reset);
    bench.change(|w| w.serve(&[REMOTE]));
    expect_in_tunnel(&bench.pod_sends(A, &syn), syn.clone().to((REMOTE.addr(v4), 8080)).hop());
}

#[test]
fn other_ports_of_a_service_address_are_refused_but_those_of_the_node_are_not() {
    let v4 = true;
    let mut bench = serving(&[B]);
    let other = Packet::tcp((A.addr(v4), 1000), (SERVICE.addr(v4), 81), SYN);
    let frame = other.between(A.mac, super::world::GATEWAY_MAC).frame();
    bench.refused(A.slot, &frame, DropReason::NoServicePort);

    // An external address that is the node's own.
    let slot = bench.world.services[0].slot;
    bench.change(|w| _ = w.frontends.insert((NODE.addr(v4), 443, sluice_wire::Proto::TCP), slot));
    let ssh = Packet::tcp((A.addr(v4), 1000), (NODE.addr(v4), 22), SYN);
    expect_at_host(&bench.pod_sends(A, &ssh), ssh.clone());
    let web = ssh.to((NODE.addr(v4), 443));
    expect_at_pod(&bench.pod_sends(A, &web), B, web.clone().to((B.addr(v4), 8080)).hop());
}
