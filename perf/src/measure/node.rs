//! A node as the agent builds it, with memory ports: workers with their engines and pools over the tables that all share.

use super::egress::{Freeing, Recording};
use super::feed::Feed;
use super::time::Clock;
use crate::cases::{Arriving, Leaving};
use crate::world::World;
use crate::world::addresses::{MASQUERADE, UPLINK};
use anyhow::{Context, Result, ensure};
use sluice_engine::{Burst, Counters, Engine, EngineConfig, Frame, Limits, Shared};
use sluice_io::PacketIo;
use sluice_lb::{PortRange, PortSet, Runtime, SnatPorts};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_snapshot::{Publisher, Snapshot, Subscriber};
use sluice_wire::{BURST, DropReason, Meta};
use std::sync::Arc;

/// Bytes of a frame's chunk, as the agent has it.
const CHUNK: usize = 4096;
/// Frames a worker can have under way.
const FRAMES: usize = 1024;
/// Rounds of the worker's loop take some bursts: as many as there are ports with something.
const BURSTS_A_ROUND: u32 = 4;

/// Any port may do what it likes: shares are not what is measured.
const NO_LIMITS: Limits = Limits {
    connections: u32::MAX,
    new_flows_per_s: 1_000_000_000,
    new_flows_burst: u32::MAX,
    answers_per_s: 1,
    answers_burst: 1,
};

pub(crate) struct Node {
    pub(crate) publisher: Publisher,
    pub(crate) workers: Vec<Worker>,
    memories: [Memory; 2],
}

/// What a worker counted, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) received: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) created: u64,
    pub(crate) decided_again: u64,
    pub(crate) renewed: u64,
}

impl Counted {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            received: self.received - before.received,
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            created: self.created - before.created,
            decided_again: self.decided_again - before.decided_again,
            renewed: self.renewed - before.renewed,
        }
    }
}

pub(crate) struct Worker {
    engine: Engine,
    pools: Pools,
    config: Subscriber,
    counters: Arc<Counters>,
    clock: Clock,
    bursts: u32,
}

impl Node {
    /// Tables with room for `connections`, and for each worker's `flows` in its cache.
    pub(crate) fn new(world: &World, workers: u32, connections: u32, flows: usize, seed: u64) -> Result<Self> {
        let memories = [
            Memory::new(CHUNK, FRAMES * workers as usize)?,
            Memory::new(LARGE_CHUNK, 8)?,
        ];
        let (services, endpoints) = world.slots();
        let (first, last) = MASQUERADE;
        let ports = || SnatPorts::new(PortSet::from(PortRange { first, last }));
        let runtime = Runtime::new(services, endpoints);
        let shared = Shared::new(connections, NO_LIMITS, runtime, ports(), ports())
            .context("the tables of connections: fewer flows need less memory (--flows)")?;
        let shared = Arc::new(shared);
        let publisher = Publisher::new(Snapshot::clone(world.snapshot()));
        let clock = Clock::wall();
        let workers = (0..workers).map(|n| {
            let counters = Arc::new(Counters::default());
            let config = EngineConfig {
                cache_flows: flows,
                seed: seed ^ u64::from(n),
            };
            Worker {
                engine: Engine::new(config, shared.clone(), counters.clone()),
                pools: Pools::new(&memories[0], &memories[1]),
                config: publisher.subscribe(),
                counters,
                clock,
                bursts: 0,
            }
        });
        Ok(Self {
            workers: workers.collect(),
            publisher,
            memories,
        })
    }

    /// Whether every frame is at home. Nothing may be under way.
    pub(crate) fn close(mut self) -> Result<()> {
        for worker in &mut self.workers {
            let balance = worker.counters.imbalance();
            ensure!(balance == (0, 0), "frames and bytes do not balance by {balance:?}");
        }
        self.workers.clear();
        for memory in &self.memories {
            let (home, count) = (memory.home(), memory.count());
            ensure!(home == count, "of {count} frames {home} came home");
        }
        Ok(())
    }
}

impl Worker {
    /// From now on each burst takes as long as the last one, however long it takes.
    pub(crate) fn even_time(&mut self) {
        self.clock = Clock::even();
    }

    /// A burst of any frames, and what left.
    pub(crate) fn send(&mut self, frames: &[Arriving]) -> Result<Vec<Leaving>> {
        let mut rx = Burst::new();
        for frame in frames {
            let mut buf = self.pools.small.alloc().context("frame memory is used up")?;
            let room = buf.extend(frame.bytes.len()).context("a frame longer than its chunk")?;
            room.copy_from_slice(&frame.bytes);
            let meta = Meta::from_port(frame.port);
            rx.push(Frame { buf, meta });
        }
        Ok(self.record(&mut rx))
    }

    fn record(&mut self, rx: &mut Burst) -> Vec<Leaving> {
        let mut out = Recording::default();
        let now_ns = self.clock.now_ns();
        let snapshot = self.config.refresh();
        self.engine.process(snapshot, now_ns, &mut self.pools, rx, &mut out);
        self.engine.tick(snapshot, now_ns, &mut self.pools, &mut out);
        let bytes = out.0.iter().map(|sent| sent.bytes.len() as u64).sum();
        self.account(out.0.len() as u64, bytes);
        out.0
    }

    /// The next frame of a feed, and what left.
    pub(crate) fn look(&mut self, feed: &mut Feed) -> Vec<Leaving> {
        let mut rx = Burst::new();
        feed.receive(&mut self.pools, &mut rx, 1);
        self.record(&mut rx)
    }

    /// What the worker's loop does, until so many frames have come in: the path that is timed.
    pub(crate) fn forward(&mut self, feed: &mut Feed, frames: usize) -> Freeing {
        let mut out = Freeing::default();
        let mut rx = Burst::new();
        let mut left = frames;
        while left > 0 {
            let snapshot = self.config.refresh();
            let now_ns = self.clock.now_ns();
            feed.receive(&mut self.pools, &mut rx, left.min(BURST));
            left -= rx.len();
            self.engine
                .process(snapshot, now_ns, &mut self.pools, &mut rx, &mut out);
            self.bursts = self.bursts.wrapping_add(1);
            if self.bursts.is_multiple_of(BURSTS_A_ROUND) {
                self.engine.tick(snapshot, now_ns, &mut self.pools, &mut out);
                feed.recycle(&mut self.pools);
            }
        }
        out
    }

    /// The same without an engine.
    pub(crate) fn receive_only(&mut self, feed: &mut Feed, frames: usize) {
        let mut rx = Burst::new();
        let mut left = frames;
        while left > 0 {
            feed.receive(&mut self.pools, &mut rx, left.min(BURST));
            left -= rx.len();
            for frame in rx.drain(..) {
                self.pools.free(frame.buf);
            }
        }
    }

    /// Counts what left, as whoever sends it would.
    pub(crate) fn account(&self, frames: u64, bytes: u64) {
        self.counters.transmit(UPLINK, false, frames, bytes);
    }

    pub(crate) fn counted(&self) -> Counted {
        let events = &self.counters.events;
        Counted {
            received: self.counters.received.get().0,
            hits: events.cache_hits.get(),
            misses: events.cache_misses.get(),
            created: events.connections_created.get(),
            decided_again: events.decided_again.get(),
            renewed: events.renewed.get(),
        }
    }

    /// Reasons for which frames were dropped, with how many.
    pub(crate) fn dropped(&self) -> Vec<(DropReason, u64)> {
        let count = |reason: &DropReason| self.counters.dropped.get(reason.index()).map_or(0, |v| v.get().0);
        let all = DropReason::ALL.iter().map(|reason| (*reason, count(reason)));
        all.filter(|(_, frames)| *frames > 0).collect()
    }
}
