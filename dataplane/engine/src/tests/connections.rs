//! How connections begin, change and end, as the packet path drives them.

use super::bench::{Bench, SECOND, expect_at_pod, expect_outside, source_of};
use super::packet::{ACK, FIN, Packet, RST, SYN};
use super::world::{A, B, GATEWAY_MAC, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, World};
use sluice_lb::{ConnState, EndpointSlot};
use sluice_wire::DropReason;

fn states(bench: &Bench) -> Vec<ConnState> {
    bench.shared.connections.rows(0, 9).iter().map(|r| r.state).collect()
}

fn tcp(flags: u8) -> Packet {
    Packet::tcp((A.addr(true), 1000), (B.addr(true), 80), flags)
}

fn open(bench: &mut Bench) {
    bench.pod_sends(A, &tcp(SYN));
    bench.pod_sends(B, &tcp(SYN).reply());
    assert_eq!(states(bench), [ConnState::SynReceived]);
    bench.pod_sends(A, &tcp(ACK));
    assert_eq!(states(bench), [ConnState::Established]);
}

/// Brings a connection into some state.
type Begin<'a> = &'a dyn Fn(&mut Bench);

#[test]
fn silence_ends_each_state_after_its_time() {
    let udp = || Packet::udp((A.addr(true), 1000), (B.addr(true), 80));
    let steps: [(Begin<'_>, u64); 6] = [
        (&|b| drop(b.pod_sends(A, &udp())), 30),
        (
            &|b| {
                b.pod_sends(A, &udp());
                b.pod_sends(B, &udp().reply());
            },
            120,
        ),
        (&|b| drop(b.pod_sends(A, &tcp(SYN))), 60),
        (&open, 86_400),
        (
            &|b| {
                open(b);
                b.pod_sends(B, &Packet::tcp((B.addr(true), 80), (A.addr(true), 1000), RST));
            },
            10,
        ),
        (
            &|b| {
                open(b);
                b.pod_sends(A, &tcp(FIN | ACK));
                b.pod_sends(B, &tcp(FIN | ACK).reply());
            },
            120,
        ),
    ];
    for (n, (begin, seconds)) in steps.into_iter().enumerate() {
        let mut bench = Bench::new();
        begin(&mut bench);
        bench.wait(seconds * SECOND);
        assert_eq!(bench.shared.connections.len(), 1, "step {n}");
        bench.wait(SECOND);
        assert_eq!(bench.shared.connections.len(), 0, "step {n}");
        assert_eq!(bench.shared.connections.expired(), 1);
    }
}

#[test]
fn packets_on_the_fast_path_keep_a_connection_alive() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1000), (B.addr(true), 80));
    for _ in 0..10 {
        assert_eq!(bench.pod_sends(A, &packet).len(), 1);
        bench.wait(20 * SECOND);
    }
    assert_eq!(bench.counters().events.connections_created.get(), 1);
    let row = &bench.shared.connections.rows(bench.now_ns, 1)[0];
    assert_eq!(row.packets, [10, 0]);
    assert_eq!(row.bytes[0], 10 * packet.frame().len() as u64);
    bench.wait(11 * SECOND);
    assert_eq!(bench.shared.connections.len(), 0);
    // The entry in the cache is no connection.
    assert_eq!(bench.pod_sends(A, &packet).len(), 1);
    assert_eq!(bench.counters().events.connections_created.get(), 2);
}

#[test]
fn data_of_an_open_or_half_closed_connection_takes_the_fast_path() {
    let mut bench = Bench::new();
    open(&mut bench);
    let answer = tcp(ACK).reply();
    let hits = |bench: &Bench| bench.counters().events.cache_hits.get();
    bench.pod_sends(B, &answer);
    let before = hits(&bench);
    for _ in 0..4 {
        expect_at_pod(&bench.pod_sends(B, &answer), A, answer.clone().hop());
    }
    assert_eq!(hits(&bench), before + 4);
    bench.pod_sends(A, &tcp(FIN | ACK));
    assert_eq!(states(&bench), [ConnState::FinOriginal]);
    let before = hits(&bench);
    for _ in 0..4 {
        bench.pod_sends(B, &answer);
    }
    assert_eq!(hits(&bench), before + 4);
    bench.pod_sends(B, &tcp(FIN | ACK).reply());
    assert_eq!(states(&bench), [ConnState::TimeWait]);
}

#[test]
fn endpoints_count_their_connections() {
    let mut world = World::new();
    world.serve(&[B]);
    let mut bench = Bench::with(world, 1);
    let slot = EndpointSlot(u32::from(B.mac.0[5]) * 8);
    for port in 0..5 {
        bench.pod_sends(
            A,
            &Packet::tcp((A.addr(true), 1000 + port), (SERVICE.addr(true), 80), SYN),
        );
        bench.pod_sends(
            A,
            &Packet::tcp((A.addr(true), 1000 + port), (SERVICE.addr(true), 80), SYN),
        );
    }
    assert_eq!(bench.shared.runtime.connections(slot), 5);
    bench.wait(61 * SECOND);
    assert_eq!(bench.shared.runtime.connections(slot), 0);
}

#[test]
fn a_full_table_refuses_and_recovers() {
    let mut bench = Bench::new();
    let packet = |n: u16| Packet::udp((A.addr(true), n), (B.addr(true), 80));
    for n in 0..256 {
        assert_eq!(bench.pod_sends(A, &packet(n)).len(), 1);
        assert_eq!(bench.pod_sends(B, &packet(n).reply()).len(), 1);
    }
    assert_eq!(bench.pod_sends(A, &packet(256)), []);
    assert_eq!(bench.dropped(sluice_wire::DropReason::ConnectionTableFull), 1);
    assert_eq!(bench.pod_sends(A, &packet(0)).len(), 1);
    bench.wait(121 * SECOND);
    assert_eq!(bench.pod_sends(A, &packet(256)).len(), 1);
}

/// A day of an idle connection: nothing but keep-alive probes, each answered.
#[test]
fn a_connection_that_only_probes_lives() {
    let mut bench = Bench::new();
    open(&mut bench);
    let probe = tcp(ACK).with(Vec::new());
    for _ in 0..12 {
        bench.wait(7200 * SECOND);
        expect_at_pod(&bench.pod_sends(A, &probe), B, probe.clone().hop());
        let answer = probe.reply().with(Vec::new());
        expect_at_pod(&bench.pod_sends(B, &answer), A, answer.clone().hop());
    }
    assert_eq!(bench.counters().events.connections_created.get(), 1);
    assert_eq!(states(&bench), [ConnState::Established]);
}

#[test]
fn a_half_closed_connection_lives_while_one_side_talks_or_thinks() {
    for closes in [A, B] {
        let mut bench = Bench::new();
        open(&mut bench);
        let (talks, fin, data) = if closes == A {
            (B, tcp(FIN | ACK), tcp(ACK).reply())
        } else {
            (A, tcp(FIN | ACK).reply(), tcp(ACK))
        };
        bench.pod_sends(closes, &fin);
        let half = states(&bench);
        for _ in 0..5 {
            bench.wait(3590 * SECOND);
            assert_eq!(bench.pod_sends(talks, &data).len(), 1);
            assert_eq!(states(&bench), half, "data changes nothing");
        }
        bench.wait(3601 * SECOND);
        assert_eq!(bench.shared.connections.len(), 0);
    }
}

#[test]
fn both_sides_may_open_at_once() {
    let mut bench = Bench::new();
    let (there, back) = (tcp(SYN), Packet::tcp((B.addr(true), 80), (A.addr(true), 1000), SYN));
    expect_at_pod(&bench.pod_sends(A, &there), B, there.clone().hop());
    expect_at_pod(&bench.pod_sends(B, &back), A, back.clone().hop());
    assert_eq!(states(&bench), [ConnState::SynReceived]);
    for (pod, to, packet) in [(B, A, tcp(SYN).reply()), (A, B, tcp(SYN | ACK))] {
        expect_at_pod(&bench.pod_sends(pod, &packet), to, packet.clone().hop());
    }
    assert_eq!(states(&bench), [ConnState::Established], "and it is one connection");
    // Nothing more need be said for a long time.
    bench.wait(7000 * SECOND);
    assert_eq!(bench.shared.connections.len(), 1);
}

/// Somebody who guesses the four numbers but no sequence number makes one end protest, and that is heard.
#[test]
fn a_forged_reset_does_not_outlive_the_challenge() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let to = (OUTSIDE.addr(v4), 443);
        let syn = Packet::tcp((A.addr(v4), 1000), to, SYN);
        let source = source_of(&bench.pod_sends(A, &syn), 0);
        bench.outside_sends(&syn.clone().from(source).reply());
        let data = Packet::tcp(syn.src, to, ACK);
        bench.pod_sends(A, &data);
        assert_eq!(states(&bench), [ConnState::Established]);
        // Both directions are cached.
        let answer = Packet::tcp(to, source, ACK);
        for _ in 0..2 {
            expect_outside(&bench.pod_sends(A, &data), data.clone().from(source).hop());
            expect_at_pod(&bench.outside_sends(&answer), A, answer.clone().to(syn.src).hop());
        }
        for challenger in [true, false] {
            let forged = Packet::tcp(to, source, RST);
            assert_eq!(bench.outside_sends(&forged).len(), 1, "its receiver judges it");
            assert_eq!(states(&bench), [ConnState::Reset]);
            if challenger {
                expect_outside(&bench.pod_sends(A, &data), data.clone().from(source).hop());
            } else {
                expect_at_pod(&bench.outside_sends(&answer), A, answer.clone().to(syn.src).hop());
            }
            assert_eq!(states(&bench), [ConnState::Established]);
            bench.wait(3600 * SECOND);
            expect_at_pod(&bench.outside_sends(&answer), A, answer.clone().to(syn.src).hop());
        }
        // A true one is followed by nothing.
        bench.outside_sends(&Packet::tcp(to, source, RST));
        bench.wait(11 * SECOND);
        assert_eq!(bench.shared.connections.len(), 0);
    }
}

#[test]
fn a_reset_from_elsewhere_touches_nothing() {
    let mut bench = Bench::new();
    open(&mut bench);
    let reset = tcp(RST);
    bench.refused(
        B.slot,
        &reset.clone().between(B.mac, GATEWAY_MAC).frame(),
        DropReason::SpoofedSource,
    );
    bench.refused(
        UPLINK,
        &reset.between(ROUTER_MAC, UPLINK_MAC).frame(),
        DropReason::SpoofedSource,
    );
    // Of another connection between the same two.
    let other = Packet::tcp((A.addr(true), 1001), (B.addr(true), 80), RST);
    bench.refused(
        A.slot,
        &other.between(A.mac, GATEWAY_MAC).frame(),
        DropReason::NoConnection,
    );
    let found = bench.shared.connections.lookup(&tcp(ACK).tuple()).unwrap().0;
    assert_eq!(bench.shared.connections.state(found), Some(ConnState::Established));
}

/// A client that lost its memory and begins again with the same port.
#[test]
fn a_syn_on_an_established_tuple_is_for_the_endpoint_to_answer() {
    let mut world = World::new();
    world.serve(&[B]);
    let mut bench = Bench::with(world, 1);
    let syn = Packet::tcp((A.addr(true), 1000), (SERVICE.addr(true), 80), SYN);
    let seen = syn.clone().to((B.addr(true), 8080));
    bench.pod_sends(A, &syn);
    bench.pod_sends(B, &seen.reply());
    bench.pod_sends(A, &Packet::tcp(syn.src, syn.dst, ACK));
    // Meanwhile another endpoint serves, but the connection stays where it is.
    bench.change(|w| w.serve(&[A]));
    expect_at_pod(&bench.pod_sends(A, &syn), B, seen.clone().hop());
    assert_eq!(states(&bench), [ConnState::Established]);
    let challenge = Packet::tcp(seen.dst, seen.src, ACK);
    expect_at_pod(
        &bench.pod_sends(B, &challenge),
        A,
        challenge.clone().from(syn.dst).hop(),
    );
    let reset = Packet::tcp(syn.src, syn.dst, RST);
    expect_at_pod(&bench.pod_sends(A, &reset), B, reset.clone().to(seen.dst).hop());
    // Now it is another connection, decided anew: to itself, through the base address.
    let sent = bench.pod_sends(A, &syn);
    assert_eq!(sent[0].port, A.slot);
    assert_eq!(states(&bench), [ConnState::SynSent]);
}

/// A tuple in its last two minutes may be used again, by a connection that is decided anew.
#[test]
fn a_tuple_that_waits_is_used_again() {
    let mut world = World::new();
    world.serve(&[B]);
    let mut bench = Bench::with(world, 1);
    let syn = Packet::tcp((A.addr(true), 1000), (SERVICE.addr(true), 80), SYN);
    let seen = syn.clone().to((B.addr(true), 8080));
    bench.pod_sends(A, &syn);
    bench.pod_sends(B, &seen.reply());
    bench.pod_sends(A, &Packet::tcp(syn.src, syn.dst, FIN | ACK));
    bench.pod_sends(B, &Packet::tcp(seen.dst, seen.src, FIN | ACK));
    bench.pod_sends(A, &Packet::tcp(syn.src, syn.dst, ACK));
    assert_eq!(states(&bench), [ConnState::TimeWait]);
    bench.change(|w| w.serve(&[REMOTE]));
    let sent = bench.pod_sends(A, &syn);
    assert_eq!((sent.len(), sent[0].port), (1, UPLINK));
    assert_eq!(states(&bench), [ConnState::SynSent]);
    assert_eq!(bench.counters().events.connections_created.get(), 2);
}

/// What a sequence number says is for the ends to judge: it changes neither the packet's way nor the connection.
#[test]
fn segments_out_of_any_window_are_the_ends_business() {
    let mut bench = Bench::new();
    open(&mut bench);
    for (seq, ack) in [(0, 0), (u32::MAX, 1 << 31), (1 << 31, u32::MAX)] {
        for flags in [ACK, ACK | 0x08, 0] {
            let mut odd = tcp(flags);
            odd.l4 = super::packet::L4::Tcp { flags, seq, ack };
            expect_at_pod(&bench.pod_sends(A, &odd), B, odd.clone().hop());
            assert_eq!(states(&bench), [ConnState::Established]);
        }
    }
}
