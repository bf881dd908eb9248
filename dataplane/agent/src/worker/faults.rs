//! The engine behind devices that misbehave, in the world of the engine's own tests: whatever they do to frames on the way in
//! and out, books balance, and in the end every frame is home.

#[allow(dead_code)]
#[path = "../../../engine/src/tests/packet.rs"]
mod packet;
#[allow(dead_code)]
#[path = "../../../engine/src/tests/world.rs"]
mod world;

use super::queues::Queues;
use super::{Crossing, Out};
use crate::clock::Clock;
use packet::{ACK, L4, Packet, SYN};
use proptest::prelude::*;
use proptest::sample::select;
use sluice_engine::{Burst, Counters, Engine, EngineConfig, Frame, Limits, Shared};
use sluice_io::PacketIo;
use sluice_io::fault::{FaultPort, Faults};
use sluice_io::memory::{self, MemoryPort};
use sluice_io::ready::{ReadySet, Tokens};
use sluice_lb::{PortRange, PortSet, Runtime, SnatPorts};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_snapshot::Snapshot;
use sluice_wire::{Meta, PortSlot};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use world::{
    A, B, GATEWAY_MAC, HOST, HOST_MAC, NODE, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, Who, World,
};

const PORTS: [PortSlot; 4] = [HOST, UPLINK, A.slot, B.slot];
const FRAMES: usize = 2048;
const LARGE: usize = 64;

struct Bench {
    memory: [Memory; 2],
    pools: Pools,
    ready: ReadySet,
    counters: Arc<Counters>,
    engine: Engine,
    snapshot: Snapshot,
    crossing: Crossing,
    queues: Queues,
    far: Vec<MemoryPort>,
    now_ns: u64,
}

impl Bench {
    fn new(faults: Faults) -> Self {
        let memory = [
            Memory::new(2048, FRAMES).unwrap(),
            Memory::new(LARGE_CHUNK, LARGE).unwrap(),
        ];
        let pools = Pools::new(&memory[0], &memory[1]);
        let snat = |first, last| SnatPorts::new(PortSet::from(PortRange { first, last }));
        let runtime = Runtime::with_affinity_capacity(16, 128, 64);
        let limits = Limits {
            connections: u32::MAX,
            new_flows_per_s: 1_000_000_000,
            new_flows_burst: u32::MAX,
            answers_per_s: 1_000_000_000,
            answers_burst: u32::MAX,
        };
        let shared = Shared::new(256, limits, runtime, snat(40000, 40099), snat(20000, 20099)).unwrap();
        let counters = Arc::new(Counters::default());
        let config = EngineConfig {
            cache_flows: 256,
            seed: 1,
        };
        let mut world = World::new();
        world.serve(&[B, REMOTE]);
        let ready = ReadySet::new().unwrap();
        let mut queues = Queues::new(Clock, PORTS.map(|_| AtomicU32::new(0)).into());
        let mut far = Vec::new();
        for slot in PORTS {
            let [near, end] = memory::pair(64, [slot, slot]);
            let port = FaultPort::new(Box::new(near), faults, slot.0.into(), Arc::default()).unwrap();
            queues.add(slot, slot == HOST, Box::new(port), &ready);
            far.push(end);
        }
        Self {
            engine: Engine::new(config, shared.into(), counters.clone()),
            snapshot: Snapshot::first(world.parts()),
            crossing: Crossing::new(vec![ready.waker()]),
            memory,
            pools,
            ready,
            counters,
            queues,
            far,
            now_ns: 1_000_000_000,
        }
    }

    fn arrive(&mut self, at: PortSlot, bytes: &[u8]) {
        let Some(mut buf) = self.pools.small.alloc() else {
            return;
        };
        buf.extend(bytes.len()).unwrap().copy_from_slice(bytes);
        let mut burst = Burst::from_iter([Frame {
            buf,
            meta: Meta::from_port(at),
        }]);
        let index = PORTS.iter().position(|slot| *slot == at).unwrap();
        self.far[index].transmit(&mut self.pools, &mut burst);
        burst.drain(..).for_each(|frame| self.pools.free(frame.buf));
    }

    /// What a worker's round does.
    fn round(&mut self) {
        self.now_ns += 1_000_000;
        let (resolve, _wanted) = crossbeam::channel::bounded(16);
        let mut tokens: Tokens = PORTS.iter().map(|slot| u64::from(slot.0)).collect();
        let mut out = Out::new(&mut self.queues, &self.counters, &self.crossing, 0, &resolve);
        out.queues.begin_round(self.now_ns, &mut tokens);
        let mut rx = Burst::new();
        for token in &tokens {
            if out
                .queues
                .receive(*token, &mut self.pools, &mut rx, &self.ready, &self.counters)
            {
                self.engine
                    .process(&self.snapshot, self.now_ns, &mut self.pools, &mut rx, &mut out);
            }
        }
        out.queues.end_round(&mut self.pools, &self.counters);
        self.engine.tick(&self.snapshot, self.now_ns, &mut self.pools, &mut out);
        out.queues.recycle(&mut self.pools);
    }

    fn take_away(&mut self) {
        for far in &mut self.far {
            let mut burst = Burst::new();
            while far.receive(&mut self.pools, &mut burst, sluice_wire::BURST).frames > 0 {
                burst.drain(..).for_each(|frame| self.pools.free(frame.buf));
            }
        }
    }

    fn end(mut self) {
        self.engine.drain(&mut self.pools);
        for slot in PORTS {
            self.queues.remove(slot, &self.ready, &mut self.pools, &self.counters);
        }
        assert_eq!(self.counters.imbalance(), (0, 0));
        for far in self.far {
            Box::new(far).close(&mut self.pools);
        }
        drop(self.pools);
        assert_eq!((self.memory[0].home(), self.memory[1].home()), (FRAMES, LARGE));
    }
}

#[test]
fn without_faults_a_packet_passes() {
    let mut bench = Bench::new(Faults::default());
    let packet = Packet::udp((A.addr(true), 1000), (B.addr(true), 2000));
    bench.arrive(A.slot, &packet.between(A.mac, GATEWAY_MAC).frame());
    bench.round();
    let mut burst = Burst::new();
    let to_b = PORTS.iter().position(|slot| *slot == B.slot).unwrap();
    assert_eq!(
        bench.far[to_b]
            .receive(&mut bench.pools, &mut burst, sluice_wire::BURST)
            .frames,
        1
    );
    burst.drain(..).for_each(|frame| bench.pools.free(frame.buf));
    bench.end();
}

/// A packet between any two, where it comes in.
fn arrival() -> impl Strategy<Value = (PortSlot, Vec<u8>)> {
    let l4 = prop_oneof![
        select(&[SYN, ACK, SYN | ACK][..]).prop_map(|flags| L4::Tcp { flags, seq: 1, ack: 1 }),
        Just(L4::Udp),
        Just(L4::EchoRequest),
    ];
    let who = || select(&[A, B, REMOTE, NODE, OUTSIDE, SERVICE][..]);
    let port = || select(&[80u16, 8080, 1000, 30080][..]);
    (
        select(&[A, B, OUTSIDE, NODE][..]),
        who(),
        port(),
        port(),
        l4,
        any::<bool>(),
        0usize..1400,
    )
        .prop_map(
            |(from, to, sport, dport, l4, v4, len): (Who, Who, u16, u16, L4, bool, usize)| {
                let mut packet = Packet::udp((from.addr(v4), sport), (to.addr(v4), dport)).with(vec![7; len]);
                packet.l4 = l4;
                match from {
                    OUTSIDE => (UPLINK, packet.between(ROUTER_MAC, UPLINK_MAC).frame()),
                    NODE => (HOST, packet.between(HOST_MAC, GATEWAY_MAC).frame()),
                    pod => (pod.slot, packet.between(pod.mac, GATEWAY_MAC).frame()),
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn books_balance_and_frames_come_home_whatever_devices_do(
        rates in prop::array::uniform6(0u32..300_000), seed: u64,
        steps in prop::collection::vec((prop::collection::vec(arrival(), 0..12), any::<bool>()), 1..40),
    ) {
        let [drop, duplicate, reorder, truncate, corrupt, stall] = rates;
        let mut bench = Bench::new(Faults { drop, duplicate, reorder, truncate, corrupt, stall, seed });
        for (arrivals, taken) in steps {
            for (port, bytes) in arrivals {
                bench.arrive(port, &bytes);
            }
            bench.round();
            prop_assert_eq!(bench.counters.imbalance(), (0, 0));
            if taken {
                bench.take_away();
            }
        }
        bench.end();
    }
}
