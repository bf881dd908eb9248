//! How connections begin, change and end, as the packet path drives them.

use super::bench::{Bench, SECOND, expect_at_pod};
use super::packet::{ACK, FIN, Packet, RST, SYN};
use super::world::{A, B, SERVICE, World};
use sluice_lb::{ConnState, EndpointSlot};

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
