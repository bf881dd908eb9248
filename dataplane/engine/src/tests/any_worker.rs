//! One worker against four: whichever of them sees which packet, the same leaves, and the same is known of every connection.

use super::bench::{Bench, SECOND, Sent, wrapped};
use super::packet::{ACK, FIN, L4, Packet, RST, SYN};
use super::world::{A, B, GATEWAY_MAC, REMOTE, SERVICE, UPLINK, Who, World};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_lb::{ConnState, EndpointSlot};
use sluice_wire::{DropReason, Meta, PortSlot, Tuple};

const WORKERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A packet of client port `flow`: from the client or, if there is a connection, back from its endpoint.
    Packet {
        flow: u16,
        back: bool,
        l4: L4,
        worker: usize,
    },
    Serve(Vec<Who>),
    Wait(u64),
    /// The cache of one worker is disposable.
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = select(&[SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST][..]);
    let l4 = prop_oneof![3 => flags.prop_map(|flags| L4::Tcp { flags, seq: 1, ack: 2 }), 1 => Just(L4::Udp)];
    prop_oneof![
        20 => (0u16..6, any::<bool>(), l4, 0..WORKERS)
            .prop_map(|(flow, back, l4, worker)| Step::Packet { flow, back, l4, worker }),
        1 => vec(select(&[B, REMOTE][..]), 0..3).prop_map(Step::Serve),
        2 => select(&[SECOND / 20, SECOND, 11 * SECOND, 61 * SECOND][..]).prop_map(Step::Wait),
        1 => (0..WORKERS).prop_map(Step::Forget),
    ]
}

/// Where the endpoint that a connection went to is, and how it answers.
fn answering(bench: &Bench, flow: u16, l4: L4) -> Option<(Who, Packet)> {
    let mut packet = to_service(flow);
    packet.l4 = l4;
    let (_, record, _) = bench.shared.connections.lookup(&packet.tuple())?;
    let who = [B, REMOTE].into_iter().find(|who| who.addr(true) == record.reply.src)?;
    let mut back = Packet::udp(
        (record.reply.src, record.reply.sport),
        (record.reply.dst, record.reply.dport),
    );
    // An endpoint that opens by itself would be another connection, from a port chosen at random.
    back.l4 = match l4 {
        L4::Tcp { flags: SYN, seq, ack } => L4::Tcp {
            flags: SYN | ACK,
            seq,
            ack,
        },
        other => other,
    };
    Some((who, back))
}

fn to_service(flow: u16) -> Packet {
    Packet::udp((A.addr(true), 1000 + flow), (SERVICE.addr(true), 80))
}

fn through(bench: &mut Bench, worker: usize, from: Who, packet: &Packet) -> Vec<(PortSlot, Vec<u8>)> {
    let (port, bytes) = if from == REMOTE {
        (UPLINK, wrapped(packet))
    } else {
        (from.slot, packet.clone().between(from.mac, GATEWAY_MAC).frame())
    };
    super::twin::seen(bench.burst(worker, &[(Meta::from_port(port), &bytes)]))
}

type Known = (Tuple, Tuple, ConnState, [u64; 2], [u64; 2], u64, u64);

/// All that is known of all connections, after every worker has reported what it counted.
fn known(bench: &mut Bench) -> Vec<Known> {
    let now_ns = bench.now_ns;
    for worker in &mut bench.workers {
        worker.engine.publish_usage(now_ns);
    }
    let rows = bench.shared.connections.rows(now_ns, 1000);
    let mut rows: Vec<Known> = rows
        .iter()
        .map(|r| {
            (
                r.record.original,
                r.record.reply,
                r.state,
                r.packets,
                r.bytes,
                r.age_ns,
                r.idle_ns,
            )
        })
        .collect();
    rows.sort_by_key(|(t, ..)| (t.src, t.dst, t.sport, t.dport, t.proto));
    rows
}

/// Connections of each endpoint.
fn counts(bench: &Bench) -> Vec<u32> {
    let slots = [B, REMOTE]
        .into_iter()
        .flat_map(|who| (0..4).map(move |n| EndpointSlot(u32::from(who.mac.0[5]) * 8 + n)));
    slots.map(|slot| bench.shared.runtime.connections(slot)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_never_matters_which_worker_sees_a_packet(steps in vec(step(), 1..80)) {
        let mut world = World::new();
        world.serve(&[B, REMOTE]);
        let (mut one, mut four) = (Bench::with(world.clone(), 1), Bench::with(world, WORKERS));
        for step in &steps {
            match step {
                Step::Packet { flow, back, l4, worker } => {
                    let (from, packet) = match answering(&one, *flow, *l4).filter(|_| *back) {
                        Some(answer) => answer,
                        None => {
                            let mut packet = to_service(*flow);
                            packet.l4 = *l4;
                            (A, packet)
                        }
                    };
                    for bench in [&mut one, &mut four] {
                        bench.now_ns += SECOND / 50;
                    }
                    let alone = through(&mut one, 0, from, &packet);
                    prop_assert_eq!(through(&mut four, *worker, from, &packet), alone, "{:?}", step);
                }
                Step::Serve(by) => for bench in [&mut one, &mut four] {
                    bench.change(|w| w.serve(by));
                },
                Step::Wait(ns) => for bench in [&mut one, &mut four] {
                    // What was counted is reported in time: nothing times out for want of a report.
                    known(bench);
                    bench.wait(*ns);
                },
                Step::Forget(worker) => {
                    known(&mut four);
                    four.workers[*worker].engine.forget_all();
                }
            }
            let alone = known(&mut one);
            prop_assert_eq!(known(&mut four), alone, "after {:?}", step);
            prop_assert_eq!(counts(&four), counts(&one));
        }
        // Resets of no connection begin none.
        prop_assert_eq!(one.dropped(DropReason::NoConnection), four.dropped(DropReason::NoConnection));
        for bench in [&mut one, &mut four] {
            bench.wait(100_000 * SECOND);
            prop_assert_eq!(bench.shared.connections.len(), 0);
            prop_assert!(counts(bench).iter().all(|n| *n == 0), "no endpoint is left with a count");
        }
    }
}

/// Drain: an endpoint that takes no new connections keeps those it has, whichever workers see them, and is empty when they end.
#[test]
fn an_endpoint_drains_whichever_workers_see_its_connections() {
    let mut world = World::new();
    world.serve(&[B]);
    let mut bench = Bench::with(world, WORKERS);
    let slot = EndpointSlot(u32::from(B.mac.0[5]) * 8);
    let packet = |flow: u16, flags| Packet::tcp((A.addr(true), 1000 + flow), (SERVICE.addr(true), 80), flags);
    let answer = |flow, flags| Packet::tcp((B.addr(true), 8080), packet(flow, 0).src, flags);
    let left = |sent: &[Sent], who: Who| assert_eq!(sent.iter().map(|s| s.port).collect::<Vec<_>>(), [who.slot]);
    for flow in 0..8u16 {
        let w = usize::from(flow) % WORKERS;
        let mut send = |worker, from: Who, packet: Packet| {
            let frame = packet.between(from.mac, GATEWAY_MAC).frame();
            bench.burst(worker % WORKERS, &[(Meta::from_port(from.slot), &frame)])
        };
        left(&send(w, A, packet(flow, SYN)), B);
        left(&send(w + 1, B, answer(flow, SYN | ACK)), A);
        left(&send(w + 2, A, packet(flow, ACK)), B);
    }
    assert_eq!(bench.shared.runtime.connections(slot), 8);
    bench.change(|w| w.serve(&[REMOTE]));
    for flow in 0..8u16 {
        let w = usize::from(flow) % WORKERS;
        let mut send = |worker, from: Who, packet: Packet| {
            let frame = packet.between(from.mac, GATEWAY_MAC).frame();
            bench.burst(worker % WORKERS, &[(Meta::from_port(from.slot), &frame)])
        };
        left(&send(w + 3, A, packet(flow, ACK)), B);
        left(&send(w, B, answer(flow, FIN | ACK)), A);
        left(&send(w + 1, A, packet(flow, FIN | ACK)), B);
    }
    let states: Vec<_> = bench
        .shared
        .connections
        .rows(0, 99)
        .iter()
        .map(|row| row.state)
        .collect();
    assert_eq!(states, [ConnState::TimeWait; 8]);
    assert_eq!(bench.shared.runtime.connections(slot), 8, "counted until forgotten");
    bench.wait(121 * SECOND);
    assert_eq!(bench.shared.runtime.connections(slot), 0);
}
