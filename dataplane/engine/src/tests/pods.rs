//! Pods of this node among each other and with their host.

use super::bench::{Bench, expect_at_host, expect_at_pod};
use super::packet::{ACK, Packet, SYN};
use super::world::{A, B, BASE, NODE};

fn kinds(v4: bool) -> [Packet; 3] {
    let (src, dst) = ((A.addr(v4), 1000), (B.addr(v4), 2000));
    [
        Packet::tcp(src, dst, SYN),
        Packet::udp(src, dst),
        Packet::ping(src.0, dst.0, 7),
    ]
}

#[test]
fn pods_talk_and_the_second_packet_is_a_hit() {
    for v4 in [true, false] {
        for packet in kinds(v4) {
            let mut bench = Bench::new();
            expect_at_pod(&bench.pod_sends(A, &packet), B, packet.clone().hop());
            let reply = packet.reply();
            expect_at_pod(&bench.pod_sends(B, &reply), A, reply.hop());
            let later = match packet.l4 {
                super::packet::L4::Tcp { .. } => Packet::tcp(packet.src, packet.dst, ACK),
                _ => packet.clone(),
            };
            for _ in 0..3 {
                expect_at_pod(&bench.pod_sends(A, &later), B, later.clone().hop());
            }
            assert!(bench.counters().events.cache_hits.get() >= 2, "{packet:?}");
            assert_eq!(bench.counters().events.connections_created.get(), 1);
            assert_eq!(bench.shared.connections.len(), 1);
        }
    }
}

#[test]
fn a_burst_of_a_new_flow_is_decided_once() {
    let mut bench = Bench::new();
    let packet = kinds(true)[1].clone().between(A.mac, super::world::GATEWAY_MAC).frame();
    let frames = vec![(sluice_wire::Meta::from_port(A.slot), &packet[..]); 64];
    assert_eq!(bench.burst(0, &frames).len(), 64);
    assert_eq!(bench.counters().events.cache_misses.get(), 64);
    let rows = bench.shared.connections.rows(bench.now_ns, 10);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0].packets,
        [1, 0],
        "the others were not put through the connection one by one"
    );
}

#[test]
fn ethernet_padding_does_not_travel() {
    let mut bench = Bench::new();
    let packet = kinds(true)[1].clone().with(vec![1]);
    let mut frame = packet.clone().between(A.mac, super::world::GATEWAY_MAC).frame();
    frame.resize(60, 0xee);
    expect_at_pod(&bench.send(A.slot, &frame), B, packet.hop());
}

#[test]
fn the_host_reaches_pods_from_the_base_address_and_from_its_own() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        // Between the host and its pods there is no router, so TTL stays.
        let packet = Packet::tcp((BASE.addr(v4), 5000), (A.addr(v4), 80), SYN);
        expect_at_pod(&bench.host_sends(&packet), A, packet.clone());
        let reply = packet.reply();
        expect_at_host(&bench.pod_sends(A, &reply), reply);

        let packet = Packet::udp((NODE.addr(v4), 20000), (A.addr(v4), 80));
        let seen = packet.clone().from((BASE.addr(v4), 20000));
        expect_at_pod(&bench.host_sends(&packet), A, seen.clone());
        let reply = seen.reply();
        expect_at_host(&bench.pod_sends(A, &reply), reply.to((NODE.addr(v4), 20000)));
    }
}

#[test]
fn pods_reach_the_host() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let packet = Packet::tcp((A.addr(v4), 5000), (NODE.addr(v4), 22), SYN);
        expect_at_host(&bench.pod_sends(A, &packet), packet.clone());
        let reply = packet.reply();
        expect_at_pod(&bench.host_sends(&reply), A, reply);
    }
}
