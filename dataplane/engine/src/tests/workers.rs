//! Several workers over one node's tables: it never matters which of them sees a packet.

use super::bench::{Bench, Sent, expect_at_pod, expect_in_tunnel, wrapped};
use super::packet::{ACK, Packet, RST, SYN};
use super::world::{A, B, GATEWAY_MAC, REMOTE, SERVICE, UPLINK, Who, World, ingress};
use sluice_wire::{DropReason, Meta};

fn two(by: &[Who]) -> Bench {
    let mut world = World::new();
    world.serve(by);
    Bench::with(world, 2)
}

fn from(bench: &mut Bench, worker: usize, pod: Who, packet: &Packet) -> Vec<Sent> {
    let frame = packet.clone().between(pod.mac, GATEWAY_MAC).frame();
    bench.burst(worker, &[(Meta::from_port(pod.slot), &frame)])
}

#[test]
fn a_reply_is_translated_at_the_other_worker() {
    for v4 in [true, false] {
        let mut bench = two(&[REMOTE]);
        let packet = Packet::tcp((A.addr(v4), 1000), (SERVICE.addr(v4), 80), SYN);
        let seen = packet.clone().to((REMOTE.addr(v4), 8080));
        expect_in_tunnel(&from(&mut bench, 0, A, &packet), seen.clone().hop());
        let reply = seen.reply();
        let sent = bench.burst(1, &[(Meta::from_port(UPLINK), &wrapped(&reply))]);
        expect_at_pod(&sent, A, reply.clone().from(packet.dst).hop());
        // And the next request by the other way, too.
        let data = Packet::tcp(packet.src, packet.dst, ACK);
        expect_in_tunnel(&from(&mut bench, 1, A, &data), data.clone().to(seen.dst).hop());
        assert_eq!(bench.shared.connections.len(), 1);
    }
}

/// Two workers that see the first datagram of either side at the same instant agree on one connection, and change neither.
#[test]
fn datagrams_that_cross_at_two_workers_make_one_connection() {
    let mut bench = two(&[B]);
    let snapshot = bench.snapshot.clone();
    let start = std::sync::Barrier::new(2);
    let now_ns = bench.now_ns;
    for round in 1..=100u16 {
        let there = Packet::udp((A.addr(true), round), (B.addr(true), 8080));
        let back = Packet::udp(there.dst, there.src);
        let sides = [(A, B, &there), (B, A, &back)];
        let sent: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = bench
                .workers
                .iter_mut()
                .zip(sides)
                .map(|(worker, (from, _, packet))| {
                    let (snapshot, start) = (&snapshot, &start);
                    scope.spawn(move || {
                        let frame = packet.clone().between(from.mac, GATEWAY_MAC).frame();
                        let frame = super::bench::frame(&mut worker.pools, Meta::from_port(from.slot), &frame);
                        let mut rx = crate::Burst::new();
                        rx.push(frame);
                        start.wait();
                        let super::bench::Worker { engine, pools, out } = worker;
                        engine.process(snapshot, now_ns, pools, &mut rx, out);
                        std::mem::take(&mut out.sent)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (sent, (_, to, packet)) in sent.iter().zip(sides) {
            expect_at_pod(sent, to, packet.clone().hop());
        }
        assert_eq!(bench.shared.connections.len(), usize::from(round));
    }
}

#[test]
fn an_ended_connection_is_over_for_every_worker_at_once() {
    let mut bench = two(&[B]);
    let syn = Packet::tcp((A.addr(true), 1000), (SERVICE.addr(true), 80), SYN);
    let data = Packet::tcp(syn.src, syn.dst, ACK);
    let seen = syn.clone().to((B.addr(true), 8080));
    from(&mut bench, 0, A, &syn);
    from(&mut bench, 0, B, &seen.reply());
    for worker in [0, 1] {
        let want = data.clone().to(seen.dst).hop();
        expect_at_pod(&from(&mut bench, worker, A, &data), B, want.clone());
        expect_at_pod(&from(&mut bench, worker, A, &data), B, want);
    }
    from(&mut bench, 0, A, &Packet::tcp(syn.src, syn.dst, RST));
    bench.change(|w| w.serve(&[REMOTE]));
    // Decided anew by the first worker; the second one has the old action in its cache, in the same clock tick.
    expect_in_tunnel(
        &from(&mut bench, 0, A, &syn),
        syn.clone().to((REMOTE.addr(true), 8080)).hop(),
    );
    expect_in_tunnel(
        &from(&mut bench, 1, A, &data),
        data.clone().to((REMOTE.addr(true), 8080)).hop(),
    );
}

#[test]
fn an_older_configuration_does_not_undo_what_a_newer_one_decided() {
    let mut bench = two(&[B]);
    let old = bench.snapshot.clone();
    let packet = Packet::udp((A.addr(true), 1000), (SERVICE.addr(true), 80));
    bench.change(|w| w.serve(&[REMOTE]));
    let moved = packet.clone().to((REMOTE.addr(true), 8080)).hop();
    expect_in_tunnel(&from(&mut bench, 0, A, &packet), moved.clone());
    let frame = packet.clone().between(A.mac, GATEWAY_MAC).frame();
    let sent = bench.burst_under(&old, 1, &[(Meta::from_port(A.slot), &frame)]);
    expect_in_tunnel(&sent, moved.clone());
    expect_in_tunnel(&from(&mut bench, 0, A, &packet), moved);
    assert_eq!(bench.shared.connections.len(), 1);
}

#[test]
fn a_cut_is_seen_by_a_worker_that_never_saw_the_connection() {
    let mut bench = two(&[]);
    let packet = Packet::udp((A.addr(true), 1000), (B.addr(true), 80));
    from(&mut bench, 0, A, &packet);
    from(&mut bench, 0, B, &packet.reply());
    bench.change(|w| w.policies = vec![ingress("b", vec![])]);
    assert_eq!(from(&mut bench, 1, B, &packet.reply()), []);
    assert_eq!(from(&mut bench, 0, A, &packet), []);
    bench.workers[1].engine.forget_all();
    assert_eq!(from(&mut bench, 1, B, &packet.reply()), []);
    assert_eq!(bench.dropped(DropReason::PolicyIngress), 3);
    let cut: u64 = bench
        .workers
        .iter()
        .map(|w| w.engine.counters().events.connections_cut.get())
        .sum();
    assert_eq!(cut, 1);
}
