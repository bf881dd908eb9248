//! One port cannot take what belongs to all: new flows, room in the table, answers. Its neighbours notice nothing.

use super::bench::{Bench, NO_LIMITS, SECOND, Sent, expect_at_pod, wrapped};
use super::packet::{ACK, Packet, SYN};
use super::world::{A, B, GATEWAY_MAC, NODE, NODE_PORT, OUTSIDE, REMOTE, SERVICE, UPLINK, Who, World, egress, ingress};
use crate::{Limits, TokenBuckets};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_lb::EndpointSlot;
use sluice_wire::{Addr, DropReason, Meta, Scope};

fn limited(limits: Limits) -> Bench {
    let mut world = World::new();
    world.serve(&[B]);
    Bench::limited(world, 2, limits)
}

fn few_flows() -> Bench {
    limited(Limits {
        new_flows_per_s: 10,
        new_flows_burst: 20,
        ..NO_LIMITS
    })
}

fn flow(from: Who, to: Who, n: u16) -> Packet {
    Packet::udp((from.addr(true), n), (to.addr(true), 80))
}

fn from_pod(bench: &mut Bench, worker: usize, pod: Who, packet: &Packet) -> Vec<Sent> {
    let frame = packet.clone().between(pod.mac, GATEWAY_MAC).frame();
    bench.burst(worker, &[(Meta::from_port(pod.slot), &frame)])
}

fn passed(bench: &mut Bench, pod: Who, packets: impl Iterator<Item = Packet>) -> usize {
    packets.map(|packet| bench.pod_sends(pod, &packet).len()).sum()
}

#[test]
fn a_port_begins_so_many_flows_a_second_whichever_workers_it_meets() {
    let mut bench = few_flows();
    let sent = (0..50u16).map(|n| from_pod(&mut bench, usize::from(n % 2), A, &flow(A, B, n)).len());
    assert_eq!(sent.sum::<usize>(), 20);
    assert_eq!(bench.dropped(DropReason::NewFlowRate), 30);
    // Known flows and their replies pass, and so do a neighbour's new ones.
    expect_at_pod(&from_pod(&mut bench, 1, A, &flow(A, B, 0)), B, flow(A, B, 0).hop());
    expect_at_pod(
        &from_pod(&mut bench, 1, B, &flow(A, B, 1).reply()),
        A,
        flow(A, B, 1).reply().hop(),
    );
    assert_eq!(passed(&mut bench, B, (0..20).map(|n| flow(B, A, 1000 + n))), 20);
    bench.now_ns += SECOND / 2;
    assert_eq!(
        passed(&mut bench, A, (100..120).map(|n| flow(A, B, n))),
        5,
        "ten a second"
    );
    bench.now_ns += 100 * SECOND;
    assert_eq!(
        passed(&mut bench, A, (200..250).map(|n| flow(A, B, n))),
        20,
        "and no more than a burst"
    );
}

#[test]
fn each_peer_and_the_outside_have_their_own() {
    let mut bench = few_flows();
    let from_remote = |bench: &mut Bench, n| {
        let packet = Packet::udp((REMOTE.addr(true), n), (A.addr(true), 80));
        bench.burst(0, &[(Meta::from_port(UPLINK), &wrapped(&packet))]).len()
    };
    assert_eq!((0..50).map(|n| from_remote(&mut bench, n)).sum::<usize>(), 20);
    let from_outside = |bench: &mut Bench, n| {
        bench
            .outside_sends(&Packet::udp((OUTSIDE.addr(true), n), (NODE.addr(true), NODE_PORT)))
            .len()
    };
    // All clients outside share the uplink, which counts as two ports.
    assert_eq!((0..70).map(|n| from_outside(&mut bench, n)).sum::<usize>(), 40);
    assert_eq!(passed(&mut bench, A, (0..50).map(|n| flow(A, B, n))), 20);
}

#[test]
fn what_is_refused_takes_tokens_too() {
    let mut world = World::new();
    world.policies = vec![egress("a", vec![]), ingress("b", vec![])];
    let limits = Limits {
        new_flows_per_s: 10,
        new_flows_burst: 20,
        ..NO_LIMITS
    };
    let mut bench = Bench::limited(world, 1, limits);
    assert_eq!(passed(&mut bench, A, (0..50).map(|n| flow(A, B, n))), 0);
    assert_eq!(
        (
            bench.dropped(DropReason::PolicyEgress),
            bench.dropped(DropReason::NewFlowRate)
        ),
        (20, 30)
    );
    // A denied flow that is known costs nothing more.
    assert_eq!(passed(&mut bench, A, (0..20).map(|n| flow(A, B, n))), 0);
    assert_eq!(bench.dropped(DropReason::PolicyEgress), 40);
    // Nobody is there: no record and no entry, but as many looks at the configuration as flows may begin.
    let nobody = |n| Packet::udp((B.addr(true), n), (Addr::v4([10, 244, 1, 99]), 2000));
    passed(&mut bench, B, (0..50).map(nobody));
    assert_eq!(bench.dropped(DropReason::NoPod), 20);
    assert_eq!(bench.shared.connections.len(), 0);
}

#[test]
fn one_port_s_errors_leave_the_others_theirs() {
    let mut bench = limited(Limits {
        answers_per_s: 10,
        answers_burst: 20,
        ..NO_LIMITS
    });
    let nobody = |who: Who, n| Packet::udp((who.addr(true), n), (Addr::v4([10, 244, 1, 99]), 2000));
    assert_eq!(passed(&mut bench, A, (0..500).map(|n| nobody(A, n))), 20);
    assert_eq!(passed(&mut bench, B, (0..500).map(|n| nobody(B, n))), 20);
    bench.now_ns += SECOND;
    assert_eq!(passed(&mut bench, A, (0..500).map(|n| nobody(A, n))), 10);
}

/// Opens `count` connections of A and has them answered if told so.
fn fill(bench: &mut Bench, ports: std::ops::Range<u16>, answered: bool) {
    for n in ports {
        let packet = flow(A, B, n);
        assert_eq!(bench.pod_sends(A, &packet).len(), 1);
        if answered {
            assert_eq!(bench.pod_sends(B, &packet.reply()).len(), 1);
        }
    }
}

#[test]
fn a_port_at_its_quota_gives_up_its_own_unanswered_connections_or_waits() {
    let mut bench = limited(Limits {
        connections: 64,
        ..NO_LIMITS
    });
    fill(&mut bench, 0..60, true);
    fill(&mut bench, 60..80, false);
    let held = |bench: &Bench| bench.shared.connections.held(bench.world.ports[&A.slot.0].scope);
    let evicted = |bench: &Bench| bench.counters().events.connections_evicted.get();
    assert_eq!((held(&bench), evicted(&bench)), (64, 16), "only unanswered ones went");
    for n in 76..80 {
        bench.pod_sends(B, &flow(A, B, n).reply());
    }
    assert_eq!(bench.pod_sends(A, &flow(A, B, 100)), []);
    assert_eq!(bench.dropped(DropReason::PortQuota), 1);
    assert_eq!(evicted(&bench), 16);
    for n in (0..60).chain(76..80) {
        assert_eq!(bench.pod_sends(A, &flow(A, B, n)).len(), 1, "flow {n} goes on");
    }
    assert_eq!(
        passed(&mut bench, B, (0..64).map(|n| flow(B, A, 2000 + n))),
        64,
        "a neighbour has its own"
    );
}

#[test]
fn in_a_full_table_a_port_within_its_share_takes_from_who_has_most() {
    let mut bench = limited(NO_LIMITS);
    let web = Packet::tcp((B.addr(true), 7), (REMOTE.addr(true), 80), SYN);
    bench.pod_sends(B, &web);
    bench.tunnel_sends(&web.reply());
    fill(&mut bench, 0..255, true);
    assert_eq!(bench.shared.connections.len(), 256);
    for n in 0..100 {
        assert_eq!(bench.pod_sends(B, &flow(B, A, 1000 + n)).len(), 1);
        bench.pod_sends(A, &flow(B, A, 1000 + n).reply());
    }
    assert_eq!(
        (
            bench.shared.connections.len(),
            bench.dropped(DropReason::ConnectionTableFull)
        ),
        (256, 0)
    );
    // Half each is fair: from there on, A's answered connections stay, and B's unanswered ones make room for each other.
    for n in 100..400 {
        bench.pod_sends(B, &flow(B, A, 1000 + n));
    }
    let held = |who: Who| bench.shared.connections.held(bench.world.ports[&who.slot.0].scope);
    assert_eq!((held(A), held(B)), (128, 128));
    let data = Packet::tcp(web.src, web.dst, ACK);
    assert_eq!(bench.pod_sends(B, &data).len(), 1, "what B had first is there still");
}

#[test]
fn an_evicted_connection_leaves_its_endpoint_s_count_and_every_cache() {
    let mut bench = limited(Limits {
        connections: 4,
        ..NO_LIMITS
    });
    let slot = EndpointSlot(u32::from(B.mac.0[5]) * 8);
    let syn = |n| Packet::tcp((A.addr(true), n), (SERVICE.addr(true), 80), SYN);
    for n in 0..4 {
        from_pod(&mut bench, 0, A, &syn(n));
        from_pod(&mut bench, 1, A, &syn(n));
    }
    assert_eq!(bench.shared.runtime.connections(slot), 4);
    from_pod(&mut bench, 0, A, &syn(4));
    assert_eq!(
        (bench.shared.runtime.connections(slot), bench.shared.connections.len()),
        (4, 4)
    );
    // The reply of the one that had to go is no longer translated, at either worker.
    let reply = syn(0).to((B.addr(true), 8080)).reply();
    for worker in [0, 1] {
        let sent = from_pod(&mut bench, worker, B, &reply);
        assert!(sent.iter().all(|s| s.bytes[26..30] == B.v4), "{sent:?}");
    }
}

/// The bucket as a person would write it: so many tokens, counted in parts of a nanosecond's worth.
struct Twin {
    parts: u128,
    at_ns: u64,
}

proptest! {
    #[test]
    fn a_bucket_counts_as_one_that_counts_tokens(
        (per_s, burst, weight) in (1u32..2_000_000, 1u32..50, 1u32..3),
        waits in vec(prop_oneof![Just(0u64), 0u64..2_000_000, 0u64..5_000_000_000], 1..300),
    ) {
        let buckets = TokenBuckets::new(per_s, burst);
        let cost = u128::from(1_000_000_000 / per_s / weight);
        let most = u128::from(burst) * u128::from(1_000_000_000 / per_s);
        let mut twin = Twin { parts: most, at_ns: 1 };
        let mut now = 1;
        for (n, wait) in waits.into_iter().enumerate() {
            now += wait;
            twin.parts = (twin.parts + u128::from(now - twin.at_ns)).min(most);
            twin.at_ns = now;
            let may = twin.parts >= cost;
            if may {
                twin.parts -= cost;
            }
            prop_assert_eq!(buckets.take(Scope::port(7), weight, now), may, "number {}", n);
            // Others come and go; that changes nothing.
            buckets.take(Scope::port(1000 + n as u32), 1, now);
        }
    }
}
