//! A worker's queues with a clock that only slow receivers move.

use super::*;
use sluice_io::memory::{self, MemoryPort};
use sluice_io::{Caps, Received, Recycled, Sent, Stats};
use sluice_mem::Memory;
use sluice_wire::Meta;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;

const WIRE: PortSlot = PortSlot(0);
const SLOW: PortSlot = PortSlot(2);
const FLOODER: PortSlot = PortSlot(3);
const QUIET: PortSlot = PortSlot(4);

#[derive(Clone, Default)]
struct Manual(Arc<AtomicU64>);

impl Now for Manual {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A pod whose stack takes `cost_ns` for each frame.
struct Pod {
    port: MemoryPort,
    clock: Manual,
    cost_ns: u64,
}

impl PacketIo for Pod {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        self.port.receive(pools, burst, most)
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        self.clock
            .0
            .fetch_add(self.cost_ns * burst.len() as u64, Ordering::Relaxed);
        self.port.transmit(pools, burst)
    }

    fn recycle(&mut self, pools: &mut Pools) -> Recycled {
        self.port.recycle(pools)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn runs_receiver(&self) -> bool {
        true
    }

    fn caps(&self) -> Caps {
        self.port.caps()
    }

    fn stats(&self) -> Stats {
        self.port.stats()
    }

    fn close(self: Box<Self>, pools: &mut Pools) {
        Box::new(self.port).close(pools);
    }
}

struct World {
    memory: [Memory; 2],
    pools: Pools,
    clock: Manual,
    ready: ReadySet,
    counters: Counters,
    queues: Queues<Manual>,
    far: Vec<(PortSlot, MemoryPort)>,
    sent: u64,
}

impl World {
    fn new() -> Self {
        let memory = [
            Memory::new(2048, 4096).unwrap(),
            Memory::new(sluice_mem::LARGE_CHUNK, 16).unwrap(),
        ];
        let clock = Manual::default();
        let costs = (0..8).map(|_| AtomicU32::new(0)).collect();
        Self {
            pools: Pools::new(&memory[0], &memory[1]),
            memory,
            queues: Queues::new(clock.clone(), costs),
            clock,
            ready: ReadySet::new().unwrap(),
            counters: Counters::default(),
            far: Vec::new(),
            sent: 0,
        }
    }

    fn add(&mut self, slot: PortSlot, cost_ns: Option<u64>) {
        let [near, far] = memory::pair(4096, [slot, slot]);
        let clock = self.clock.clone();
        let io: Box<dyn PacketIo> = match cost_ns {
            Some(cost_ns) => Box::new(Pod {
                port: near,
                clock,
                cost_ns,
            }),
            None => Box::new(near),
        };
        self.queues.add(slot, false, io, &self.ready);
        self.far.push((slot, far));
    }

    /// Sends numbered frames that came in by `from`.
    fn send(&mut self, from: PortSlot, to: PortSlot, frames: usize) {
        for _ in 0..frames {
            let mut buf = self.pools.small.alloc().unwrap();
            buf.extend(60).unwrap()[..8].copy_from_slice(&self.sent.to_be_bytes());
            self.sent += 1;
            let meta = Meta::from_port(from);
            self.queues
                .push(to, Frame { buf, meta }, &mut self.pools, &self.counters);
        }
        self.queues.flush(&mut self.pools, &self.counters);
    }

    /// Ends a round and begins the next.
    fn round(&mut self, asking: &[PortSlot]) {
        self.queues.end_round(&mut self.pools, &self.counters);
        let mut tokens = asking.iter().map(|slot| token(*slot, 0)).collect();
        self.queues.begin_round(self.clock.now_ns(), &mut tokens);
    }

    /// Numbers of the frames that arrived behind a port since.
    fn arrived(&mut self, at: PortSlot) -> Vec<u64> {
        let mut seen = Vec::new();
        let (_, far) = self.far.iter_mut().find(|(slot, _)| *slot == at).unwrap();
        loop {
            let mut burst = Burst::new();
            if far.receive(&mut self.pools, &mut burst, sluice_wire::BURST).frames == 0 {
                return seen;
            }
            for frame in burst {
                seen.push(u64::from_be_bytes(frame.buf.bytes()[..8].try_into().unwrap()));
                self.pools.free(frame.buf);
            }
        }
    }

    fn dropped(&self) -> u64 {
        self.counters.dropped[DropReason::SlowReceiver.index()].get().0
    }

    /// Ends it, and checks that every frame is home.
    fn end(mut self) {
        for slot in self.queues.slots() {
            self.queues.remove(slot, &self.ready, &mut self.pools, &self.counters);
            self.arrived(slot);
        }
        assert!(!self.queues.has_waiting() && self.queues.waiting_units == 0);
        drop((self.pools, self.queues, self.far));
        for memory in &self.memory {
            assert_eq!(memory.home(), memory.count());
        }
    }
}

#[test]
fn a_slow_receiver_takes_its_allowance_of_a_round_and_loses_only_what_is_too_much() {
    let mut world = World::new();
    world.add(SLOW, Some(25_000));
    world.add(QUIET, Some(1_500));
    let (mut most, mut seen, mut quiet) = (0, Vec::new(), 0);
    for round in 0..200 {
        let before = world.clock.now_ns();
        world.round(&[WIRE]);
        world.send(WIRE, SLOW, 32);
        // By then the worker knows what a frame costs.
        if round > 20 {
            most = most.max(world.clock.now_ns() - before);
        }
        world.send(WIRE, QUIET, 8);
        seen.extend(world.arrived(SLOW));
        quiet += world.arrived(QUIET).len();
    }
    assert_eq!(quiet, 200 * 8, "what is quick waits for nobody");
    assert!(seen.is_sorted(), "the line keeps its order");
    assert!(most <= 2 * crate::worker::budget::SLOW_ALLOWANCE_NS as u64, "{most}");
    let fair = 200 * crate::worker::budget::SLOW_ALLOWANCE_NS as usize / 25_000;
    assert!(
        (fair / 2..=fair + 256).contains(&seen.len()),
        "{} of {fair}",
        seen.len()
    );
    assert!(world.dropped() > 4_000);
    assert!(world.queues.costs[SLOW.index()].load(Ordering::Relaxed) > 15_000);
    assert!(world.queues.costs[QUIET.index()].load(Ordering::Relaxed) < 3_000);
    while world.queues.has_waiting() {
        world.round(&[]);
        seen.extend(world.arrived(SLOW));
    }
    assert_eq!(
        seen.len() as u64 + world.dropped(),
        200 * 32,
        "each frame arrived or was counted"
    );
    world.end();
}

/// A server that answers a slow pod has others to answer, too.
#[test]
fn who_sends_to_a_slow_one_is_read_from_all_the_same() {
    let mut world = World::new();
    world.add(WIRE, None);
    for slot in [SLOW, FLOODER, QUIET] {
        world.add(slot, Some(25_000));
    }
    let all = [WIRE, FLOODER, QUIET];
    for round in 0..50 {
        world.round(&all);
        assert!(
            all.iter().all(|slot| world.queues.may_receive(token(*slot, 0))),
            "round {round}"
        );
        world.send(FLOODER, SLOW, 60);
        world.send(WIRE, SLOW, 10);
    }
    assert!(world.dropped() > 0, "what is too much is lost");
    world.end();
}

#[test]
fn what_waits_for_a_port_that_goes_is_sent_before() {
    let mut world = World::new();
    world.add(SLOW, Some(25_000));
    world.round(&[]);
    for _ in 0..3 {
        world.send(WIRE, SLOW, 64);
    }
    let before = world.arrived(SLOW).len();
    assert!(world.queues.has_waiting() && before < 192);
    world
        .queues
        .remove(SLOW, &world.ready, &mut world.pools, &world.counters);
    assert_eq!(before + world.arrived(SLOW).len(), 192);
    world.end();
}

#[test]
fn time_is_shared_by_what_ports_use_and_not_by_bursts() {
    let mut world = World::new();
    for slot in [FLOODER, QUIET] {
        world.add(slot, Some(1_000));
    }
    let mut bursts = [0u64; 2];
    for _ in 0..2000 {
        world.round(&[FLOODER, QUIET]);
        for (at, (slot, cost)) in [(FLOODER, 900_000), (QUIET, 30_000)].into_iter().enumerate() {
            if world.queues.may_receive(token(slot, 0)) {
                world.queues.charge(token(slot, 0), 64, cost);
                bursts[at] += 1;
            }
        }
    }
    let (flooder, quiet) = (bursts[0] * 900_000, bursts[1] * 30_000);
    assert_eq!(bursts[1], 2000, "who uses little is never kept waiting");
    assert!(flooder <= quiet + 1_200_000, "{flooder} {quiet}");
    world.end();
}

#[test]
fn who_used_least_goes_first() {
    let mut world = World::new();
    for slot in [FLOODER, QUIET] {
        world.add(slot, Some(1_000));
    }
    world.round(&[FLOODER]);
    world.queues.charge(token(FLOODER, 0), 64, 100_000);
    world.round(&[FLOODER, QUIET]);
    // The one that was silent is lifted to the floor, which the other is ahead of by its last burst.
    world.queues.charge(token(QUIET, 0), 1, 10);
    let mut tokens: Tokens = [token(FLOODER, 0), token(QUIET, 0)].into_iter().collect();
    world.queues.begin_round(0, &mut tokens);
    assert_eq!(tokens[..], [token(QUIET, 0), token(FLOODER, 0)]);
    world.end();
}

#[test]
fn a_ports_next_burst_is_as_long_as_its_last_ones_were_cheap() {
    let mut world = World::new();
    world.add(FLOODER, Some(1_000));
    let next = |world: &mut World| {
        let (_, far) = world.far.iter_mut().find(|(slot, _)| *slot == FLOODER).unwrap();
        let frames = (0..sluice_wire::BURST).map(|_| Frame {
            buf: world.pools.small.alloc().unwrap(),
            meta: Meta::from_port(FLOODER),
        });
        let mut burst: Burst = frames.collect();
        far.transmit(&mut world.pools, &mut burst);
        let mut rx = Burst::new();
        let (ready, counters) = (&world.ready, &world.counters);
        world
            .queues
            .receive(token(FLOODER, 0), &mut world.pools, &mut rx, ready, counters);
        let got = rx.len();
        rx.drain(..).for_each(|frame| world.pools.free(frame.buf));
        got
    };
    for (each_ns, want) in [(10_000, 2), (100, sluice_wire::BURST)] {
        for _ in 0..100 {
            world.queues.charge(token(FLOODER, 0), 1, each_ns);
        }
        let got = next(&mut world);
        assert!(got.abs_diff(want) <= 1, "{got} frames of {each_ns} ns");
    }
    world.end();
}
