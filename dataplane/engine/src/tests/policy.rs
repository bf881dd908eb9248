//! NetworkPolicy at both ends, and what its changes do to connections.

use super::bench::{Bench, SECOND, expect_at_host, expect_at_pod, expect_in_tunnel, expect_outside, wrapped};
use super::packet::{ACK, Packet, SYN};
use super::world::{
    A, B, BASE, GATEWAY_MAC, NODE, NODE_PORT, OUTSIDE, REMOTE, SERVICE, UPLINK, Who, World, app, block, egress, ingress,
};
use sluice_wire::DropReason;

fn under(policies: Vec<sluice_policy::Policy>) -> Bench {
    let mut world = World::new();
    world.serve(&[B]);
    world.policies = policies;
    Bench::with(world, 1)
}

fn refused_from(bench: &mut Bench, pod: Who, packet: &Packet, reason: DropReason) {
    let frame = packet.clone().between(pod.mac, GATEWAY_MAC).frame();
    bench.refused(pod.slot, &frame, reason);
}

#[test]
fn ingress_is_judged_at_the_receiving_pod() {
    for v4 in [true, false] {
        let mut bench = under(vec![ingress("b", vec![app("r")])]);
        let to_b = |src: Who| Packet::tcp((src.addr(v4), 1000), (B.addr(v4), 80), SYN);
        for _ in 0..2 {
            refused_from(&mut bench, A, &to_b(A), DropReason::PolicyIngress);
        }
        expect_at_pod(&bench.tunnel_sends(&to_b(REMOTE)), B, to_b(REMOTE).hop());
        // Also through a service; replies and the other direction are free.
        let by_service = Packet::udp((A.addr(v4), 1000), (SERVICE.addr(v4), 80));
        refused_from(&mut bench, A, &by_service, DropReason::PolicyIngress);
        let out = Packet::udp((B.addr(v4), 1000), (A.addr(v4), 80));
        expect_at_pod(&bench.pod_sends(B, &out), A, out.clone().hop());
        expect_at_pod(&bench.pod_sends(A, &out.reply()), B, out.reply().hop());
        assert_eq!(bench.shared.connections.len(), 2);
    }
}

#[test]
fn egress_is_judged_at_the_sending_pod() {
    for v4 in [true, false] {
        let mut bench = under(vec![egress(
            "a",
            vec![app("b"), block(OUTSIDE.addr(v4), if v4 { 32 } else { 128 })],
        )]);
        let from_a = |dst: Who| Packet::udp((A.addr(v4), 40003), (dst.addr(v4), 80));
        expect_at_pod(&bench.pod_sends(A, &from_a(B)), B, from_a(B).hop());
        let seen = from_a(OUTSIDE).from((NODE.addr(v4), 40003));
        expect_outside(&bench.pod_sends(A, &from_a(OUTSIDE)), seen.clone().hop());
        expect_at_pod(
            &bench.outside_sends(&seen.reply()),
            A,
            seen.reply().to((A.addr(v4), 40003)).hop(),
        );
        for other in [REMOTE, NODE] {
            refused_from(&mut bench, A, &from_a(other), DropReason::PolicyEgress);
        }
        // A reply of an allowed connection, which A could not begin.
        let from_remote = from_a(REMOTE).reply();
        expect_at_pod(&bench.tunnel_sends(&from_remote), A, from_remote.clone().hop());
        expect_in_tunnel(&bench.pod_sends(A, &from_a(REMOTE)), from_a(REMOTE).hop());
    }
}

#[test]
fn the_own_node_is_always_let_in_and_others_through_a_node_port_are_judged_as_themselves() {
    let v4 = true;
    let mut bench = under(vec![ingress("b", vec![])]);
    for host in [BASE, NODE] {
        let packet = Packet::udp((host.addr(v4), 20005), (B.addr(v4), 80));
        assert_eq!(bench.host_sends(&packet).len(), 1);
    }
    let outside = Packet::udp((OUTSIDE.addr(v4), 1000), (NODE.addr(v4), NODE_PORT));
    let frame = outside
        .clone()
        .between(super::world::ROUTER_MAC, super::world::UPLINK_MAC)
        .frame();
    bench.refused(UPLINK, &frame, DropReason::PolicyIngress);
    bench.change(|w| w.policies = vec![ingress("b", vec![block(OUTSIDE.addr(v4), 24)])]);
    assert_eq!(bench.outside_sends(&outside).len(), 1);
    // The host answers pods as it likes.
    let to_host = Packet::udp((B.addr(v4), 9), (NODE.addr(v4), 53));
    expect_at_host(&bench.pod_sends(B, &to_host), to_host);
}

#[test]
fn a_change_cuts_an_established_connection_for_both_sides() {
    for v4 in [true, false] {
        let mut bench = under(vec![]);
        let syn = Packet::tcp((A.addr(v4), 1000), (B.addr(v4), 80), SYN);
        let (data, answer) = (Packet::tcp(syn.src, syn.dst, ACK), Packet::tcp(syn.dst, syn.src, ACK));
        bench.pod_sends(A, &syn);
        bench.pod_sends(B, &syn.reply());
        for _ in 0..2 {
            expect_at_pod(&bench.pod_sends(A, &data), B, data.clone().hop());
            expect_at_pod(&bench.pod_sends(B, &answer), A, answer.clone().hop());
        }
        bench.change(|w| w.policies = vec![ingress("b", vec![app("r")])]);
        // B may begin connections to A, but these packets would carry the old one on.
        for _ in 0..3 {
            refused_from(&mut bench, B, &answer, DropReason::PolicyIngress);
            refused_from(&mut bench, A, &data, DropReason::PolicyIngress);
            refused_from(&mut bench, A, &syn, DropReason::PolicyIngress);
            bench.wait(30 * SECOND);
            // Another worker, or a cache that was needed for others, knows as much.
            bench.workers[0].engine.forget_all();
        }
        assert_eq!(bench.counters().events.connections_cut.get(), 1);
        let other = Packet::tcp((B.addr(v4), 81), syn.src, SYN);
        expect_at_pod(&bench.pod_sends(B, &other), A, other.clone().hop());
        // Allowed again, it goes on.
        bench.change(|w| w.policies.clear());
        expect_at_pod(&bench.pod_sends(A, &data), B, data.clone().hop());
    }
}

#[test]
fn a_cached_denial_does_not_stop_the_replies_of_a_connection_that_comes_later() {
    for tunnel in [false, true] {
        let far = if tunnel { REMOTE } else { B };
        let mut bench = under(vec![egress("a", vec![])]);
        let denied = Packet::udp((A.addr(true), 5000), (far.addr(true), 6000));
        for _ in 0..3 {
            refused_from(&mut bench, A, &denied, DropReason::PolicyEgress);
        }
        assert!(bench.counters().events.cache_hits.get() >= 1, "denials are cached");
        let opposite = denied.reply();
        if tunnel {
            bench.tunnel_sends(&opposite);
            expect_in_tunnel(&bench.pod_sends(A, &denied), denied.clone().hop());
        } else {
            bench.pod_sends(B, &opposite);
            expect_at_pod(&bench.pod_sends(A, &denied), B, denied.clone().hop());
        }
    }
}

#[test]
fn a_pod_may_talk_to_its_own_address_and_needs_permission_through_a_service() {
    let mut bench = under(vec![ingress("b", vec![app("r")])]);
    let own = Packet::udp((B.addr(true), 1000), (B.addr(true), 8080));
    expect_at_pod(&bench.pod_sends(B, &own), B, own.clone().hop());
    let by_service = own.to((SERVICE.addr(true), 80));
    refused_from(&mut bench, B, &by_service, DropReason::PolicyIngress);
    let forged = Packet::udp((REMOTE.addr(true), 1), (B.addr(true), 2));
    assert_eq!(bench.send(UPLINK, &wrapped(&forged)).len(), 1);
}

#[test]
fn a_denial_for_the_sake_of_a_backend_ends_with_the_connection_to_it() {
    let v4 = true;
    let mut world = World::new();
    world.serve(&[REMOTE]);
    let mut bench = Bench::with(world, 1);
    let packet = Packet::tcp((A.addr(v4), 1000), (SERVICE.addr(v4), 80), SYN);
    bench.pod_sends(A, &packet);
    bench.change(|w| w.policies = vec![egress("a", vec![app("b")])]);
    refused_from(&mut bench, A, &packet, DropReason::PolicyEgress);
    bench.change(|w| w.serve(&[B]));
    // The connection would keep its backend; the next one has another.
    refused_from(&mut bench, A, &packet, DropReason::PolicyEgress);
    bench.wait(61 * SECOND);
    let seen = packet.clone().to((B.addr(v4), 8080)).hop();
    expect_at_pod(&bench.pod_sends(A, &packet), B, seen);
}
