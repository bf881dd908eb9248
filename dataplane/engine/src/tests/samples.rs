//! Which dropped frames are kept to be looked at: few, the latest, of every reason.

use super::bench::{Bench, SECOND, frame, wrapped};
use super::packet::Packet;
use super::world::{A, B, GATEWAY_MAC, HOST, OUTSIDE, REMOTE, UPLINK, World, egress};
use crate::{Counters, DropSample, SAMPLE_BYTES};
use proptest::prelude::*;
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::{DropReason, Meta, PortSlot};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// The latest sample of this reason.
fn latest(bench: &Bench, reason: DropReason) -> DropSample {
    let all = bench.counters().samples.all();
    let of = all.into_iter().filter(|sample| sample.reason == reason);
    of.max_by_key(|sample| sample.sequence).expect("a sample")
}

#[test]
fn a_dropped_packet_is_kept_as_it_came() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.policies = vec![egress("b", vec![])];
        let mut bench = Bench::with(world, 1);
        let forged = Packet::udp((B.addr(v4), 1), (REMOTE.addr(v4), 2)).between(A.mac, GATEWAY_MAC);
        let denied = Packet::tcp((B.addr(v4), 1), (A.addr(v4), 2), 2).between(B.mac, GATEWAY_MAC);
        let denied = denied.with(vec![7; 500]);
        let unrelated = Packet::udp((OUTSIDE.addr(v4), 1), (A.addr(v4), 2));
        for (port, frame, reason) in [
            (A.slot, forged.frame(), DropReason::SpoofedSource),
            (B.slot, denied.frame(), DropReason::PolicyEgress),
            // The second one is refused by the flow cache.
            (B.slot, denied.frame(), DropReason::PolicyEgress),
            (HOST, vec![7; 13], DropReason::EthTruncated),
        ] {
            bench.now_ns += SECOND;
            bench.refused(port, &frame, reason);
            let sample = latest(&bench, reason);
            assert_eq!((sample.at_ns, sample.ingress), (bench.now_ns, Some(port)));
            assert_eq!((sample.egress, sample.length as usize), (None, frame.len()));
            assert_eq!(sample.bytes(), &frame[..frame.len().min(SAMPLE_BYTES)]);
        }
        assert_eq!(latest(&bench, DropReason::PolicyEgress).sequence, 1);
        // Out of the tunnel: its headers are off by then.
        bench.refused(UPLINK, &wrapped(&unrelated), DropReason::SpoofedSource);
        let sample = latest(&bench, DropReason::SpoofedSource);
        assert_eq!(sample.bytes()[14..], unrelated.frame()[14..]);
    }
}

#[test]
fn a_flood_leaves_few_samples_and_hides_no_other_reason() {
    let mut bench = Bench::new();
    bench.refused(A.slot, &[0; 13], DropReason::EthTruncated);
    let forged = Packet::udp((B.addr(true), 1), (REMOTE.addr(true), 2)).between(A.mac, GATEWAY_MAC);
    for _ in 0..1000 {
        bench.refused(A.slot, &forged.frame(), DropReason::SpoofedSource);
    }
    let of = |bench: &Bench, reason| {
        bench
            .counters()
            .samples
            .all()
            .iter()
            .filter(|s| s.reason == reason)
            .count()
    };
    assert_eq!(of(&bench, DropReason::SpoofedSource), 4);
    for _ in 0..100 {
        bench.now_ns += 2 * SECOND;
        bench.refused(A.slot, &forged.frame(), DropReason::SpoofedSource);
    }
    assert_eq!(of(&bench, DropReason::SpoofedSource), 32);
    assert_eq!(of(&bench, DropReason::EthTruncated), 1);
    assert_eq!(latest(&bench, DropReason::SpoofedSource).at_ns, bench.now_ns);
}

const REASONS: [DropReason; 3] = [DropReason::Multicast, DropReason::TxRingFull, DropReason::TxRefused];

/// The slow, obvious way: everything that happened, of which the first four of a second count and the last 32 stay.
fn twin(events: &[(u64, DropReason, u16)]) -> Vec<(DropReason, u64, u64, u16)> {
    let mut all = Vec::new();
    for reason in REASONS {
        let mut seconds: HashMap<u64, u32> = HashMap::new();
        let mut kept: Vec<_> = events.iter().filter(|(_, r, _)| *r == reason).collect();
        kept.retain(|(at_ns, ..)| {
            let taken = seconds.entry(at_ns >> 30).or_default();
            *taken += 1;
            *taken <= 4
        });
        let numbered = (0..).zip(kept).map(|(n, (at_ns, _, port))| (reason, n, *at_ns, *port));
        let numbered: Vec<_> = numbered.collect();
        all.extend_from_slice(&numbered[numbered.len().saturating_sub(32)..]);
    }
    all
}

proptest! {
    #[test]
    fn samples_are_those_of_the_obvious_way(
        steps in proptest::collection::vec((prop_oneof![Just(0u64), 0..1u64 << 31], 0usize..3, any::<u16>()), 0..300),
    ) {
        let memories = (Memory::new(2048, 4).unwrap(), Memory::new(LARGE_CHUNK, 1).unwrap());
        let mut pools = Pools::new(&memories.0, &memories.1);
        let counters = Counters::default();
        let (mut now_ns, mut events) = (0, Vec::new());
        for (wait_ns, reason, port) in steps {
            now_ns += wait_ns;
            let reason = REASONS[reason];
            events.push((now_ns, reason, port));
            counters.samples.set_now(now_ns);
            if reason == DropReason::TxRefused {
                counters.refuse_unseen(reason, 2, 120, PortSlot(port));
            } else {
                let frame = frame(&mut pools, Meta::from_port(UPLINK), &[1; 60]);
                counters.refuse(reason, &frame, Some(PortSlot(port)));
                pools.free(frame.buf);
            }
        }
        let mut got = counters.samples.all();
        got.sort_by_key(|s| (REASONS.iter().position(|r| *r == s.reason), s.sequence));
        let got: Vec<_> = got.iter().map(|s| (s.reason, s.sequence, s.at_ns, s.egress.map_or(0, |p| p.0))).collect();
        prop_assert_eq!(got, twin(&events));
    }
}

/// Whoever reads does not hold the worker up, and what is read is whole.
#[test]
fn readers_and_the_worker_do_not_wait_for_each_other() {
    let memories = (Memory::new(2048, 4).unwrap(), Memory::new(LARGE_CHUNK, 1).unwrap());
    let counters = Counters::default();
    let done = AtomicBool::new(false);
    let look = || {
        let all = counters.samples.all();
        for sample in &all {
            let first = sample.bytes()[0];
            assert!(sample.bytes().iter().all(|byte| *byte == first), "{sample:?}");
            assert_eq!(sample.length, 60 + u32::from(first));
        }
        all.len()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                look();
            }
        });
        let mut pools = Pools::new(&memories.0, &memories.1);
        for round in 0..20_000u64 {
            counters.samples.set_now(round << 28);
            let fill = round as u8;
            let frame = frame(&mut pools, Meta::from_port(UPLINK), &vec![fill; 60 + usize::from(fill)]);
            counters.refuse(DropReason::Multicast, &frame, None);
            pools.free(frame.buf);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(look(), 32);
    assert_eq!(counters.dropped[DropReason::Multicast.index()].get().0, 20_000);
}
