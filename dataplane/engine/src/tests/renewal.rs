//! What changes of the configuration cost a flow: nothing, unless they are about it.

use super::bench::{Bench, NOBODY, SECOND, expect_at_pod, expect_in_tunnel, expect_outside};
use super::packet::Packet;
use super::world::{A, B, OUTSIDE, REMOTE, ROUTER, TUNNEL, Who, World, app, egress, ingress, prefix};
use sluice_snapshot::{PeerSlot, Route};
use sluice_wire::{DropReason, MacAddr, Scope};

fn flow() -> Packet {
    Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 2000))
}

fn counts(bench: &Bench) -> (u64, u64) {
    let events = &bench.counters().events;
    (events.renewed.get(), events.decided_again.get())
}

#[test]
fn unrelated_changes_only_renew_the_stamp() {
    let mut bench = Bench::new();
    bench.pod_sends(A, &flow());
    let unrelated: [fn(&mut World); 5] = [
        |w| w.serve(&[B]),
        |w| w.serve(&[B, REMOTE]),
        |w| w.policies = vec![ingress("b", vec![app("r")])],
        |w| w.remove_pod(B),
        |w| _ = w.routes.insert(prefix("10.244.9.0/24"), Route::Direct(ROUTER)),
    ];
    for (n, change) in unrelated.into_iter().enumerate() {
        assert!(bench.change(change));
        for _ in 0..2 {
            expect_in_tunnel(&bench.pod_sends(A, &flow()), flow().hop());
        }
        assert_eq!(counts(&bench), (n as u64 + 1, 0), "change {n}");
    }
    assert_eq!(bench.counters().events.cache_misses.get(), 1);
}

#[test]
fn equal_content_is_no_change() {
    let mut bench = Bench::new();
    assert!(!bench.change(|_| ()));
    assert!(!bench.change(|w| w.services.clear()));
}

#[test]
fn a_new_mac_of_the_next_hop_touches_no_flow() {
    let mut bench = Bench::new();
    bench.pod_sends(A, &flow());
    let other = MacAddr([2, 5, 5, 5, 5, 5]);
    assert!(bench.change(|w| w.set_tunnel(true, other)));
    let sent = bench.pod_sends(A, &flow());
    assert_eq!(sent[0].bytes[..6], other.0);
    assert_eq!(counts(&bench), (1, 0));
}

#[test]
fn changes_of_what_a_flow_rests_on_are_seen_by_its_next_packet() {
    let related: [fn(&mut World); 5] = [
        |w| w.policies = vec![egress("a", vec![app("r")])],
        |w| _ = w.routes.insert(prefix("10.244.2.0/25"), Route::Direct(ROUTER)),
        |w| {
            let before = w.node.cluster_prefixes.iter().copied();
            w.node.cluster_prefixes = before.chain([prefix("10.9.0.0/16")]).collect();
        },
        |w| {
            _ = w.routes.insert(
                sluice_snapshot::Prefix::host(REMOTE.addr(true)),
                Route::Tunnel {
                    peer: PeerSlot(0),
                    adjacency: TUNNEL[1],
                },
            );
        },
        |w| w.ports.get_mut(&A.slot.0).unwrap().mtu = 1400,
    ];
    for (n, change) in related.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.pod_sends(A, &flow());
        assert!(bench.change(change));
        assert_eq!(bench.pod_sends(A, &flow()).len(), 1);
        assert_eq!(counts(&bench), (0, 1), "change {n}");
    }
}

#[test]
fn a_pod_that_moves_takes_its_flows_along() {
    let mut bench = Bench::new();
    let to_b = Packet::udp((A.addr(true), 1000), (B.addr(true), 2000));
    expect_at_pod(&bench.pod_sends(A, &to_b), B, to_b.clone().hop());
    let there = Route::Tunnel {
        peer: PeerSlot(0),
        adjacency: TUNNEL[0],
    };
    bench.change(|w| {
        w.remove_pod(B);
        w.routes.insert(sluice_snapshot::Prefix::host(B.addr(true)), there);
    });
    expect_in_tunnel(&bench.pod_sends(A, &to_b), to_b.hop());
}

#[test]
fn a_slot_that_is_used_again_inherits_nothing() {
    let mut bench = Bench::new();
    let packet = flow();
    bench.pod_sends(A, &packet);
    // Another pod comes to A's slot, with A's MAC, and sends as A did.
    let mut other = A;
    other.mac = A.mac;
    bench.change(|w| {
        w.remove_pod(A);
        w.add_pod(Who { slot: A.slot, ..B }, 9);
        let port = w.ports.get_mut(&A.slot.0).unwrap();
        let sluice_snapshot::PortKind::Pod { mac, .. } = &mut port.kind else {
            unreachable!()
        };
        *mac = other.mac;
    });
    let frame = packet.between(other.mac, super::world::GATEWAY_MAC).frame();
    bench.refused(A.slot, &frame, DropReason::SpoofedSource);
}

#[test]
fn a_peer_that_comes_back_has_other_keys_and_the_same_connections() {
    let mut bench = Bench::new();
    bench.pod_sends(A, &flow());
    expect_at_pod(&bench.tunnel_sends(&flow().reply()), A, flow().reply().hop());
    bench.change(|w| w.peers.get_mut(&0).unwrap().scope = Scope::tunnel(2));
    expect_at_pod(&bench.tunnel_sends(&flow().reply()), A, flow().reply().hop());
    assert_eq!(bench.shared.connections.len(), 1);
}

#[test]
fn a_next_hop_that_is_lost_holds_packets_of_known_flows() {
    let mut bench = Bench::new();
    let out = Packet::udp((A.addr(true), 40001), (OUTSIDE.addr(true), 53));
    let seen = out.clone().from((super::world::NODE.addr(true), 40001)).hop();
    expect_outside(&bench.pod_sends(A, &out), seen.clone());
    bench.change(|w| _ = w.adjacencies.remove(&ROUTER.0));
    assert_eq!(bench.pod_sends(A, &out), []);
    assert_eq!(bench.workers[0].out.asked, [OUTSIDE.addr(true)]);
    assert_eq!(bench.counters().held.get().0, 1);
    bench.change(|w| w.set_router(NOBODY));
    let sent = bench.wait(SECOND);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].bytes[14..], seen.frame()[14..]);
}
