//! The flow cache against its slow twin: after any changes and packets, what a worker does with its cache is what a new worker
//! without one does, over the same connections.

use super::bench::{Bench, wrapped};
use super::packet::{ACK, L4, Packet, RST, SYN};
use super::world::{
    A, B, GATEWAY_MAC, NODE, NODE_PORT, OUTSIDE, REMOTE, ROUTER, ROUTER_MAC, SERVICE, TUNNEL, UPLINK, UPLINK_MAC, Who,
    World, app, egress, ingress, prefix,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_lb::ServiceSlot;
use sluice_snapshot::{PeerSlot, Prefix, Route};
use sluice_wire::{MacAddr, Meta, PortSlot, Proto, Scope};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Send {
        from: Who,
        to: Who,
        sport: u16,
        dport: u16,
        l4: L4,
    },
    Endpoints(Vec<Who>),
    Policies(u8),
    Pod(Who, bool),
    Mac(u8),
    Mtu(Who, u16),
    MoreSpecific(bool),
    HostRoute(bool),
    PeerPrefixes(bool),
    Identity(&'static str),
    Frontend(bool),
    ClusterPrefix(bool),
    Node(bool),
    Time(u64),
}

fn l4() -> impl Strategy<Value = L4> {
    let flags = select(&[SYN, ACK, ACK, SYN | ACK, RST][..]);
    let (code, rest) = (4, [0, 0, 5, 0]);
    prop_oneof![
        3 => flags.prop_map(|flags| L4::Tcp { flags, seq: 1, ack: 2 }),
        4 => Just(L4::Udp),
        1 => Just(L4::EchoRequest),
        1 => Just(L4::Icmp { kind: 3, code, rest }),
    ]
}

/// Few flows, so that they meet changes that are about them.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let pod = || select(&[A, B, REMOTE][..]);
    let local = || select(&[A, B][..]);
    let ends = select(
        &[
            (A, B),
            (A, REMOTE),
            (A, SERVICE),
            (B, A),
            (REMOTE, A),
            (A, OUTSIDE),
            (OUTSIDE, NODE),
        ][..],
    );
    let ports = select(&[(1000, 80), (8080, 1000), (1000, NODE_PORT)][..]);
    prop_oneof![
        12 => (ends, ports, l4()).prop_map(|((from, to), (sport, dport), l4)| Step::Send { from, to, sport, dport, l4 }),
        2 => vec(pod(), 0..3).prop_map(Step::Endpoints),
        2 => (0u8..16).prop_map(Step::Policies),
        1 => (local(), any::<bool>()).prop_map(|(who, there)| Step::Pod(who, there)),
        1 => (5u8..9).prop_map(Step::Mac),
        1 => (local(), select(&[60, 1400, 1450][..])).prop_map(|(who, mtu)| Step::Mtu(who, mtu)),
        1 => any::<bool>().prop_map(Step::MoreSpecific),
        1 => any::<bool>().prop_map(Step::HostRoute),
        1 => any::<bool>().prop_map(Step::PeerPrefixes),
        1 => select(&["r", "a", "b"][..]).prop_map(Step::Identity),
        1 => any::<bool>().prop_map(Step::Frontend),
        1 => any::<bool>().prop_map(Step::ClusterPrefix),
        1 => any::<bool>().prop_map(Step::Node),
        2 => select(&[100_000_000u64, 40_000_000_000][..]).prop_map(Step::Time),
    ]
}

fn policies(bits: u8) -> Vec<sluice_policy::Policy> {
    let all = [
        ingress("b", vec![app("r")]),
        ingress("a", vec![]),
        egress("a", vec![app("b")]),
        egress("b", vec![app("a"), app("r")]),
    ];
    all.into_iter()
        .enumerate()
        .filter(|(n, _)| bits >> n & 1 == 1)
        .map(|(_, policy)| policy)
        .collect()
}

pub(super) fn change(w: &mut World, step: &Step) {
    match step {
        Step::Endpoints(by) => w.serve(by),
        Step::Policies(bits) => w.policies = policies(*bits),
        Step::Pod(who, true) if w.ports.contains_key(&who.slot.0) => {}
        Step::Pod(who, true) => {
            // Never a scope that was used before.
            let serial = w
                .ports
                .values()
                .map(|p| p.scope.get())
                .filter(|s| *s < 1 << 30)
                .max()
                .unwrap()
                + 1;
            w.add_pod(*who, serial + 10);
        }
        Step::Pod(who, false) => w.remove_pod(*who),
        Step::Mac(last) => w.set_tunnel(true, MacAddr([2, 0, 0, 0, 0, *last])),
        Step::Mtu(who, mtu) => {
            if let Some(port) = w.ports.get_mut(&who.slot.0) {
                port.mtu = *mtu;
            }
        }
        Step::MoreSpecific(there) => {
            let (peer, adjacency) = (PeerSlot(0), TUNNEL[1]);
            set(w, prefix("10.244.2.0/25"), Route::Tunnel { peer, adjacency }, *there);
        }
        Step::HostRoute(there) => set(w, Prefix::host(REMOTE.addr(true)), Route::NoPod, *there),
        Step::PeerPrefixes(there) => {
            let (peer, adjacency) = (PeerSlot(0), TUNNEL[0]);
            let route = if *there {
                Route::Tunnel { peer, adjacency }
            } else {
                Route::Direct(ROUTER)
            };
            w.routes.insert(prefix("10.244.2.0/24"), route);
            if let Some(peer) = w.peers.get_mut(&0) {
                peer.prefixes = if *there {
                    vec![prefix("10.244.2.0/24")]
                } else {
                    Vec::new()
                };
            }
        }
        Step::Identity(app) => w.remote_app = app,
        // The address is another service's, or nobody's port.
        Step::Frontend(own) => {
            for proto in [Proto::TCP, Proto::UDP] {
                let slot = ServiceSlot(if proto == Proto::TCP { 0 } else { 2 });
                let key = (SERVICE.addr(true), 80, proto);
                if *own && w.services.len() == 4 {
                    w.frontends.insert(key, slot);
                } else {
                    w.frontends.remove(&key);
                }
            }
        }
        Step::ClusterPrefix(there) => {
            let outside = prefix("203.0.113.0/24");
            let others: Vec<Prefix> = w
                .node
                .cluster_prefixes
                .iter()
                .copied()
                .filter(|p| *p != outside)
                .collect();
            w.node.cluster_prefixes = others.into_iter().chain(there.then_some(outside)).collect();
        }
        // The other node goes with all that leads there, and comes back as a new peer.
        Step::Node(there) => {
            let before = w.peers.remove(&0);
            w.routes.remove(&prefix("10.244.2.0/24"));
            w.routes.remove(&prefix("10.244.2.0/25"));
            if *there {
                let fresh = World::new();
                let mut peer = fresh.peers[&0].clone();
                peer.scope = Scope::tunnel(before.map_or(100, |p| (p.scope.get() & 0xffff) + 1));
                w.peers.insert(0, peer);
                w.routes
                    .insert(prefix("10.244.2.0/24"), fresh.routes[&prefix("10.244.2.0/24")]);
            }
        }
        Step::Send { .. } | Step::Time(_) => {}
    }
}

fn set(w: &mut World, prefix: Prefix, route: Route, there: bool) {
    if there {
        w.routes.insert(prefix, route);
    } else {
        w.routes.remove(&prefix);
    }
}

/// What left, with the outer identification blanked: it counts per worker.
pub(super) fn seen(sent: Vec<super::bench::Sent>) -> Vec<(PortSlot, Vec<u8>)> {
    let blank = |mut bytes: Vec<u8>| {
        if bytes[12..14] == [8, 0] {
            bytes[18..20].fill(0);
            bytes[24..26].fill(0);
        }
        bytes
    };
    sent.into_iter().map(|s| (s.port, blank(s.bytes))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_cached_decision_is_the_decision(steps in vec(step(), 1..100)) {
        let mut world = World::new();
        world.serve(&[B, REMOTE]);
        // The second worker meets every packet first and forgets everything each time; the first one has its cache.
        let mut bench = Bench::with(world, 2);
        for step in &steps {
            match step {
                Step::Time(ns) => drop(bench.wait(*ns)),
                Step::Send { from, to, sport, dport, l4 } => {
                    let mut packet = Packet::udp((from.addr(true), *sport), (to.addr(true), *dport));
                    packet.l4 = *l4;
                    if let L4::Icmp { .. } = l4 {
                        // Quotes the opposite packet: an error about it.
                        let about = Packet::udp((to.addr(true), *dport), (from.addr(true), *sport));
                        packet.payload = about.frame()[14..].to_vec();
                    }
                    let (port, bytes) = if *from == REMOTE {
                        (UPLINK, wrapped(&packet))
                    } else if *from == OUTSIDE {
                        (UPLINK, packet.between(ROUTER_MAC, UPLINK_MAC).frame())
                    } else {
                        (from.slot, packet.between(from.mac, GATEWAY_MAC).frame())
                    };
                    // Answers are limited per worker and clock tick, and the first worker sends twice.
                    bench.now_ns += 10_000_000;
                    bench.workers[1].engine.forget_all();
                    let fresh = seen(bench.burst(1, &[(Meta::from_port(port), &bytes)]));
                    let cached = seen(bench.burst(0, &[(Meta::from_port(port), &bytes)]));
                    prop_assert_eq!(&cached, &fresh, "{:?}", step);
                    let again = seen(bench.burst(0, &[(Meta::from_port(port), &bytes)]));
                    prop_assert_eq!(&again, &fresh, "once more: {:?}", step);
                }
                other => _ = bench.change(|w| change(w, other)),
            }
        }
    }
}
