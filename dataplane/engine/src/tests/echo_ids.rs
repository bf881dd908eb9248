//! Echo identifiers are ours while a masqueraded ping holds them, and not longer.

use super::bench::{Bench, source_of};
use super::packet::Packet;
use super::world::{A, B, NODE, OUTSIDE, Who};
use crate::EchoSteering;
use sluice_wire::{Addr, Proto};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const SECOND: u64 = 1_000_000_000;

/// What the uplink would send to us.
#[derive(Clone, Default)]
struct Steered(Arc<Mutex<BTreeSet<(u8, u16)>>>);

impl EchoSteering for Steered {
    fn own(&self, proto: Proto, id: u16, on: bool) {
        let mut ids = self.0.lock().unwrap();
        let changed = if on {
            ids.insert((proto.0, id))
        } else {
            ids.remove(&(proto.0, id))
        };
        assert!(changed, "told twice");
    }
}

impl Steered {
    fn by(bench: &Bench) -> Self {
        let steered = Self::default();
        bench.shared.echo_ids.steer_by(Box::new(steered.clone()));
        steered
    }

    fn ids(&self) -> Vec<(u8, u16)> {
        self.0.lock().unwrap().iter().copied().collect()
    }
}

fn proto(v4: bool) -> u8 {
    if v4 { Proto::ICMP.0 } else { Proto::ICMPV6.0 }
}

#[test]
fn an_identifier_is_ours_while_any_ping_is_masqueraded_to_it() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let steered = Steered::by(&bench);
        let elsewhere = if v4 {
            Addr::v4([203, 0, 113, 8])
        } else {
            Addr::v6([0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8])
        };
        let ping = |bench: &mut Bench, pod: Who, to: Addr| {
            let sent = bench.pod_sends(pod, &Packet::ping(pod.addr(v4), to, 40_050));
            assert_eq!(source_of(&sent, 0), (NODE.addr(v4), 40_050), "towards {to} it is free");
        };
        ping(&mut bench, A, OUTSIDE.addr(v4));
        assert_eq!(steered.ids(), [(proto(v4), 40_050)]);
        bench.wait(20 * SECOND);
        ping(&mut bench, B, elsewhere);
        bench.wait(15 * SECOND);
        assert_eq!(bench.shared.connections.len(), 1, "the first is over");
        assert_eq!(steered.ids(), [(proto(v4), 40_050)]);
        // A program that takes over hears of it.
        let next = Steered::by(&bench);
        assert_eq!(next.ids(), [(proto(v4), 40_050)]);
        bench.wait(20 * SECOND);
        assert!(bench.shared.connections.is_empty());
        assert_eq!(next.ids(), []);
    }
}

#[test]
fn an_identifier_goes_with_a_connection_that_makes_room() {
    let mut bench = Bench::new();
    let steered = Steered::by(&bench);
    bench.pod_sends(A, &Packet::ping(A.addr(true), OUTSIDE.addr(true), 7));
    assert_eq!(steered.ids().len(), 1);
    for port in 0..300 {
        bench.pod_sends(A, &Packet::udp((A.addr(true), 1000 + port), (B.addr(true), 9)));
    }
    assert_eq!(steered.ids(), []);
}

#[test]
fn pings_that_keep_their_source_and_other_protocols_take_no_identifier() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let steered = Steered::by(&bench);
        bench.pod_sends(A, &Packet::ping(A.addr(v4), B.addr(v4), 40_050));
        bench.pod_sends(A, &Packet::udp((A.addr(v4), 40_051), (OUTSIDE.addr(v4), 53)));
        assert_eq!(bench.shared.connections.len(), 2);
        assert_eq!(steered.ids(), []);
        // Not entered: all identifiers are taken towards this destination.
        for id in 0..100 {
            bench.pod_sends(A, &Packet::ping(A.addr(v4), OUTSIDE.addr(v4), 1 + id));
        }
        assert_eq!(steered.ids().len(), 100);
        bench.pod_sends(A, &Packet::ping(A.addr(v4), OUTSIDE.addr(v4), 101));
        assert_eq!(steered.ids().len(), 100);
        bench.wait(31 * SECOND);
        assert_eq!(steered.ids(), []);
    }
}
