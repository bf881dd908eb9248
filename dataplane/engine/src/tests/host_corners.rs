//! The node itself as server, as client of what it serves, and as resolver at an address of its own.

use super::bench::{Bench, expect_at_host, expect_at_pod, expect_outside, source_of};
use super::packet::{ACK, Packet, SYN};
use super::world::{
    A, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, NODE_PORT, OTHER_NODE, OUTSIDE, SERVICE, Who, World, prefix,
};
use sluice_snapshot::{Prefix, Route};
use sluice_wire::{Addr, DropReason};

/// A world whose services have ranges, served by these.
fn serving(by: &[Who]) -> Bench {
    let mut world = World::new();
    world.node.service_prefixes = [prefix("10.96.0.0/16"), prefix("fd00:96::/112")].into_iter().collect();
    world.serve(by);
    Bench::with(world, 1)
}

fn both(src: super::packet::End, dst: super::packet::End) -> [Packet; 2] {
    [Packet::tcp(src, dst, SYN), Packet::udp(src, dst)]
}

#[test]
fn a_pod_is_served_by_the_node_itself_and_keeps_its_address() {
    for v4 in [true, false] {
        for via in [(SERVICE.addr(v4), 80), (NODE.addr(v4), NODE_PORT)] {
            for packet in both((A.addr(v4), 1000), via) {
                let mut bench = serving(&[NODE]);
                let seen = packet.clone().to((NODE.addr(v4), 8080));
                expect_at_host(&bench.pod_sends(A, &packet), seen.clone());
                let reply = seen.reply();
                expect_at_pod(&bench.host_sends(&reply), A, reply.clone().from(via));
            }
        }
    }
}

#[test]
fn others_are_served_by_the_node_itself_under_the_services_address() {
    for v4 in [true, false] {
        for udp in [false, true] {
            // The node's own programs, which come by `sluice0`, and somebody outside, who comes to the node port.
            for (host, client, via) in [
                (true, (BASE.addr(v4), 20001), (SERVICE.addr(v4), 80)),
                (false, (OUTSIDE.addr(v4), 20001), (NODE.addr(v4), NODE_PORT)),
                (false, (OTHER_NODE.addr(v4), 20001), (NODE.addr(v4), NODE_PORT)),
            ] {
                let packet = both(client, via)[usize::from(udp)].clone();
                let mut bench = serving(&[NODE]);
                let sent = if host {
                    bench.host_sends(&packet)
                } else {
                    bench.outside_sends(&packet)
                };
                let source = source_of(&sent, 0);
                assert_eq!(
                    source,
                    (SERVICE.addr(v4), 20001),
                    "never one of the node's own addresses"
                );
                let seen = packet.clone().from(source).to((NODE.addr(v4), 8080));
                expect_at_host(&sent, seen.clone());
                let reply = seen.reply();
                let answer = reply.clone().from(via).to(client);
                let sent = bench.host_sends(&reply);
                if host {
                    expect_at_host(&sent, answer);
                } else {
                    expect_outside(&sent, answer);
                }
            }
        }
    }
}

#[test]
fn who_has_the_same_port_gets_another_one() {
    let mut bench = serving(&[NODE]);
    let to = (NODE.addr(true), NODE_PORT);
    let sources: Vec<_> = [OUTSIDE, OTHER_NODE]
        .iter()
        .map(|who| source_of(&bench.outside_sends(&Packet::udp((who.addr(true), 20001), to)), 0))
        .collect();
    assert_eq!(sources[0], (SERVICE.addr(true), 20001));
    assert!(
        sources[1].0 == SERVICE.addr(true) && sources[1] != sources[0],
        "{sources:?}"
    );
}

#[test]
fn the_host_of_another_node_serves_as_somebody_outside() {
    for v4 in [true, false] {
        let mut bench = serving(&[OTHER_NODE]);
        for client in [(A.addr(v4), 40001), (BASE.addr(v4), 40002)] {
            let packet = Packet::tcp(client, (SERVICE.addr(v4), 80), SYN);
            let from_pod = client.0 == A.addr(v4);
            let sent = if from_pod {
                bench.pod_sends(A, &packet)
            } else {
                bench.host_sends(&packet)
            };
            let seen = packet
                .clone()
                .from((NODE.addr(v4), client.1))
                .to((OTHER_NODE.addr(v4), 8080));
            let hops = u8::from(from_pod);
            expect_outside(&sent, seen.clone().ttl(64 - hops));
            let reply = seen.reply();
            let answer = reply.clone().from(packet.dst).to(client);
            let sent = bench.outside_sends(&reply);
            if from_pod {
                expect_at_pod(&sent, A, answer.hop());
            } else {
                expect_at_host(&sent, answer);
            }
        }
    }
}

#[test]
fn a_service_without_an_address_of_the_ranges_cannot_be_served_by_the_node_for_others() {
    let mut bench = serving(&[NODE]);
    bench.change(|w| w.node.service_prefixes = sluice_snapshot::Prefixes::default());
    let packet = Packet::tcp((BASE.addr(true), 20001), (SERVICE.addr(true), 80), SYN);
    let frame = packet.between(HOST_MAC, GATEWAY_MAC).frame();
    bench.refused(HOST, &frame, DropReason::Loop);
}

#[test]
fn what_has_no_service_in_the_ranges_of_services_is_nowhere() {
    for v4 in [true, false] {
        let mut bench = serving(&[A]);
        let nobody = if v4 {
            Addr::v4([10, 96, 7, 7])
        } else {
            "fd00:96::77".parse::<std::net::Ipv6Addr>().unwrap().into()
        };
        for (n, to) in [(nobody, 80), (SERVICE.addr(v4), 81)].into_iter().enumerate() {
            for packet in both((A.addr(v4), 1000), to) {
                let reason = DropReason::NoServicePort;
                let before = bench.dropped(reason);
                assert_eq!(bench.pod_sends(A, &packet), []);
                // As the kernel hands on what somebody outside routes to the node, and what its own programs send.
                for who in [OUTSIDE, BASE] {
                    assert_eq!(bench.host_sends(&packet.clone().from((who.addr(v4), 1000))), []);
                }
                assert_eq!(bench.outside_sends(&packet.clone().from((OUTSIDE.addr(v4), 1000))), []);
                assert_eq!(bench.dropped(reason), before + 4, "{n}");
            }
        }
    }
}

#[test]
fn pods_reach_what_listens_at_a_link_local_address_of_the_node_and_nobody_else_does() {
    let resolver = (Addr::v4([169, 254, 20, 10]), 53);
    let mut bench = serving(&[A]);
    let query = Packet::udp((A.addr(true), 1000), resolver);
    let frame = |packet: &Packet| packet.clone().between(A.mac, GATEWAY_MAC).frame();
    bench.refused(A.slot, &frame(&query), DropReason::LinkLocal);
    bench.change(|w| {
        w.node.addresses.insert(resolver.0);
        w.routes.insert(Prefix::host(resolver.0), Route::Host);
    });
    expect_at_host(&bench.pod_sends(A, &query), query.clone());
    let reply = query.reply();
    expect_at_pod(&bench.host_sends(&reply), A, reply.clone());
    // Its neighbour in the range is nobody's; and neither the wire nor a pod speaks for it.
    bench.refused(
        A.slot,
        &frame(&query.clone().to((Addr::v4([169, 254, 20, 11]), 53))),
        DropReason::LinkLocal,
    );
    assert_eq!(bench.outside_sends(&query.clone().from((OUTSIDE.addr(true), 1000))), []);
    bench.refused(
        A.slot,
        &frame(&query.clone().from(resolver).to((BASE.addr(true), 9))),
        DropReason::LinkLocal,
    );
    assert_eq!(bench.dropped(DropReason::LinkLocal), 4);
}

#[test]
fn a_service_address_that_the_node_gave_itself_is_the_nodes() {
    let mut bench = serving(&[A]);
    let query = Packet::udp((super::world::B.addr(true), 1000), (SERVICE.addr(true), 80));
    let from = super::world::B;
    expect_at_pod(
        &bench.pod_sends(from, &query),
        A,
        query.clone().to((A.addr(true), 8080)).hop(),
    );
    bench.change(|w| {
        w.node.addresses.insert(SERVICE.addr(true));
        w.routes.insert(Prefix::host(SERVICE.addr(true)), Route::Host);
    });
    // Also what was on its way to an endpoint before.
    expect_at_host(&bench.pod_sends(from, &query), query.clone());
    let reply = query.reply();
    expect_at_pod(&bench.host_sends(&reply), from, reply.clone());
    let other = Packet::tcp((from.addr(true), 1000), (SERVICE.addr(true), 9), ACK);
    expect_at_host(&bench.pod_sends(from, &other), other.clone());
}
