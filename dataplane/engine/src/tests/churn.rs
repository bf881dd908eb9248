//! A hundred thousand flows while the cluster around them changes: nothing of it concerns them until something does.

use super::bench::{Bench, NO_LIMITS, Sizes};
use super::packet::Packet;
use super::world::{A, B, GATEWAY_MAC, REMOTE, ROUTER_MAC, TUNNEL, UPLINK_MAC, Who, World, app, ingress, prefix};
use sluice_snapshot::{PeerSlot, Route};
use sluice_wire::{BURST, Meta, Scope};

const FLOWS: usize = 100_000;
const CHANGES: usize = 100;

/// The frames of flow `n`, as it goes and as it comes back.
fn frames(n: usize) -> [(Who, Vec<u8>); 2] {
    let sport = 1024 + (n % 50_000) as u16;
    let there = Packet::udp((A.addr(true), sport), (B.addr(true), 8000 + (n / 50_000) as u16));
    let back = there.reply();
    [
        (A, there.between(A.mac, GATEWAY_MAC).frame()),
        (B, back.between(B.mac, GATEWAY_MAC).frame()),
    ]
}

/// One packet of each of these flows and one back; all must leave.
fn pass(bench: &mut Bench, flows: impl Iterator<Item = usize>) {
    let all: Vec<_> = flows.flat_map(frames).collect();
    for part in all.chunks(BURST) {
        let burst: Vec<_> = part
            .iter()
            .map(|(who, bytes)| (Meta::from_port(who.slot), &bytes[..]))
            .collect();
        assert_eq!(bench.burst(0, &burst).len(), part.len());
    }
}

/// What happens all day in a cluster: another service's endpoints, another pod's policy, another node's routes and next hop.
fn unrelated(w: &mut World, n: usize) {
    let odd = n / 4 % 2;
    match n % 4 {
        0 => w.serve([&[REMOTE][..], &[B, REMOTE]][odd]),
        1 => w.policies = vec![ingress("r", vec![[app("r"), app("b")][odd].clone()])],
        2 => {
            let (peer, adjacency) = (PeerSlot(0), TUNNEL[odd]);
            w.routes
                .insert(prefix("10.244.9.0/24"), Route::Tunnel { peer, adjacency });
        }
        _ => {
            w.set_tunnel(true, [UPLINK_MAC, ROUTER_MAC][odd]);
            w.peers.get_mut(&0).unwrap().scope = Scope::tunnel(10 + n as u32);
        }
    }
}

#[test]
fn of_a_hundred_thousand_flows_none_is_decided_again_for_what_is_not_about_it() {
    let sizes = Sizes {
        connections: 1 << 17,
        cache_flows: 1 << 19,
    };
    let mut bench = Bench::sized(World::new(), 1, NO_LIMITS, &sizes);
    pass(&mut bench, 0..FLOWS);
    assert_eq!(bench.shared.connections.len(), FLOWS);
    let events = |bench: &Bench| {
        let events = &bench.counters().events;
        [&events.decided_again, &events.renewed, &events.cache_misses].map(|event| event.get())
    };
    let [_, renewed, missed] = events(&bench);
    assert_eq!((renewed, missed), (0, 2 * FLOWS as u64), "nothing changed so far");
    let mut generations = 0;
    for n in 0..CHANGES {
        assert!(bench.change(|w| unrelated(w, n)), "change {n} changes nothing");
        generations += 1;
        // Some of the flows at each change, so that every one of them meets one, and some meet many.
        pass(&mut bench, (0..FLOWS).skip(n).step_by(CHANGES));
        pass(&mut bench, 0..50);
    }
    let [again, renewed, after] = events(&bench);
    assert_eq!((generations, again), (CHANGES, 0));
    // A cache of this size loses a few in a hundred to others of the same hash; they find their connection in the table.
    assert!(after - missed < FLOWS as u64 / 10, "{} misses", after - missed);
    assert!(renewed > 2 * FLOWS as u64 * 9 / 10, "only {renewed} were renewed");

    // What concerns them: each is decided again once, at its next packet.
    assert!(bench.change(|w| w.policies = vec![ingress("b", vec![app("a")])]));
    pass(&mut bench, 0..10);
    pass(&mut bench, 0..10);
    assert_eq!(events(&bench)[0], 20, "ten flows, both directions");
    assert_eq!(bench.counters().events.connections_cut.get(), 0);
}
