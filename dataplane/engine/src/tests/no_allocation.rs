//! The fast path allocates nothing, whatever it has to do to a packet.

use super::bench::{Bench, frame, wrapped};
use super::packet::{ACK, Packet, SYN};
use super::super_frames::{long, pieces};
use super::world::{A, B, GATEWAY_MAC, NODE, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, World, egress};
use crate::{Burst, Egress, Frame};
use sluice_mem::Pools;
use sluice_wire::{Addr, Checksum, Gso, GsoKind, Meta, PortSlot};

/// Takes everything and remembers nothing, so that it allocates nothing either.
struct Sink(u64);

impl Egress for Sink {
    fn send(&mut self, pools: &mut Pools, _: PortSlot, frame: Frame) {
        self.0 += 1;
        pools.free(frame.buf);
    }

    fn flush(&mut self, _: &mut Pools) {}

    fn resolve(&mut self, _: Addr) {}
}

/// Sends a burst of these, and says how many frames left and how often memory was asked for.
fn measure(bench: &mut Bench, meta: Meta, frames: &[Vec<u8>]) -> (u64, u64) {
    let w = &mut bench.workers[0];
    let count = frames.len();
    let mut rx: Burst = frames.iter().map(|bytes| frame(&mut w.pools, meta, bytes)).collect();
    let mut out = Sink(0);
    let hits = w.engine.counters().events.cache_hits.get();
    let snapshot = &bench.snapshot;
    let counted = allocation_counter::measure(|| {
        w.engine
            .process(snapshot, bench.now_ns, &mut w.pools, &mut rx, &mut out);
    });
    assert_eq!(
        w.engine.counters().events.cache_hits.get(),
        hits + count as u64,
        "all of them hits"
    );
    (out.0, counted.count_total)
}

#[test]
fn steady_state_burst_allocates_nothing() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[B]);
        world.policies = vec![egress("b", vec![])];
        let mut bench = Bench::with(world, 1);
        let to = |dst: (Addr, u16)| Packet::udp((A.addr(v4), 40001), dst).between(A.mac, GATEWAY_MAC);
        let tcp = |flags| Packet::tcp((A.addr(v4), 40001), (B.addr(v4), 80), flags).between(A.mac, GATEWAY_MAC);
        bench.pod_sends(A, &tcp(SYN));
        bench.pod_sends(B, &tcp(SYN).reply());
        let reply = to((OUTSIDE.addr(v4), 53)).from((NODE.addr(v4), 40001)).reply();
        let denied = Packet::udp((B.addr(v4), 1), (A.addr(v4), 1)).between(B.mac, GATEWAY_MAC);
        let cases = [
            ("pod to pod", A.slot, to((B.addr(v4), 80)).frame(), 64),
            ("tcp", A.slot, tcp(ACK).frame(), 64),
            ("service", A.slot, to((SERVICE.addr(v4), 80)).frame(), 64),
            ("into the tunnel", A.slot, to((REMOTE.addr(v4), 80)).frame(), 64),
            (
                "out of the tunnel",
                UPLINK,
                wrapped(&to((REMOTE.addr(v4), 80)).reply()),
                64,
            ),
            ("outside", A.slot, to((OUTSIDE.addr(v4), 53)).frame(), 64),
            (
                "from outside",
                UPLINK,
                reply.between(ROUTER_MAC, UPLINK_MAC).frame(),
                64,
            ),
            ("denied", B.slot, denied.frame(), 0),
        ];
        for (what, port, bytes, left) in cases {
            bench.send(port, &bytes);
            bench.send(port, &bytes);
            // A new second, in which samples of what is dropped are due again.
            bench.now_ns += 1 << 30;
            let samples = bench.counters().samples.all().len();
            let merged = bench.counters().merged.get().0;
            let (sent, allocations) = measure_balanced(&mut bench, Meta::from_port(port), &vec![bytes; 64]);
            let merged = bench.counters().merged.get().0 - merged;
            assert_eq!((sent + merged, allocations), (left, 0), "{what}");
            let taken = bench.counters().samples.all().len() - samples;
            assert_eq!(taken > 0, left == 0, "{what}: {taken} samples");
        }
    }
}

#[test]
fn cutting_super_frames_into_the_tunnel_allocates_nothing() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1), (REMOTE.addr(true), 2)).with(vec![1; 9000]);
    let bytes = packet.between(A.mac, GATEWAY_MAC).frame();
    let gso = Some(Gso {
        kind: GsoKind::Udp,
        size: 1000,
        ecn: false,
    });
    let checksum = Checksum::Partial { start: 34, offset: 6 };
    let meta = Meta {
        gso,
        checksum,
        ..Meta::from_port(A.slot)
    };
    bench.burst(0, &[(meta, &bytes)]);
    assert_eq!(measure_balanced(&mut bench, meta, &vec![bytes; 4]), (36, 0));
}

#[test]
fn gathering_super_frames_allocates_nothing() {
    let mut bench = Bench::new();
    let flows = [1, 2].map(|sport| long((A.addr(true), 80), false, 32 * 1300).from((REMOTE.addr(true), sport)));
    for flow in &flows {
        bench.tunnel_sends(&flow.clone().with(vec![1]));
    }
    let [a, b] = flows.map(|flow| pieces(&flow, 1300));
    let frames: Vec<_> = a.iter().zip(&b).flat_map(|(a, b)| [wrapped(a), wrapped(b)]).collect();
    assert_eq!(measure_balanced(&mut bench, Meta::from_port(UPLINK), &frames), (2, 0));
}

/// [`Sink`] does not count what it takes; what it took is counted afterwards.
fn measure_balanced(bench: &mut Bench, meta: Meta, frames: &[Vec<u8>]) -> (u64, u64) {
    let before = bench.counters().imbalance();
    assert_eq!(before, (0, 0));
    let result = measure(bench, meta, frames);
    let (frames, missing) = bench.counters().imbalance();
    assert_eq!(
        frames,
        i128::from(result.0),
        "what left is all that is not accounted for"
    );
    bench.counters().transmit(UPLINK, false, frames as u64, missing as u64);
    result
}
