//! The fast path: plain packets of flows that the cache knows, whole bursts at a time, each stage over all of them so that the memory
//! that one packet waits for is asked for while others are worked on. It never decides anything: whatever is not plain, not known or no
//! longer certain is left, in its order, to the general path, which would have done the same with all the others.

mod finish;
mod peers;
mod sight;

pub(crate) use peers::Peers;

use crate::action::Way;
use crate::cache::{Flags, FlowCache};
use crate::engine::Context;
use crate::merge::look_ahead;
use crate::{Burst, Egress, Engine, Frame};
use finish::{Counted, Rewriting};
use foldhash::quality::RandomState;
use sight::{Fate, MacWord, Sight};
use sluice_mem::{Pools, Work};
use sluice_snapshot::{Caps, PortKind};
use sluice_wire::{BURST, PortSlot, Scope};

/// What is known of the frames of a burst, and what is counted once for all of them.
pub(crate) struct Sights {
    each: Box<[Sight; BURST]>,
    counted: Counted,
}

impl Default for Sights {
    fn default() -> Self {
        Self {
            each: Box::new([Sight::NOTHING; BURST]),
            counted: Counted::default(),
        }
    }
}

/// Flows of which a packet was left to the general path in this burst: those behind it must not pass it. What hashes alike is left, too, and
/// everything behind a packet whose flow was not found out.
#[derive(Default)]
struct Left {
    any: bool,
    flows: [u64; 4],
}

impl Left {
    fn note(&mut self, hash: u64) {
        self.any = true;
        self.flows[(hash >> 6) as usize % 4] |= 1 << (hash % 64);
    }

    fn note_all(&mut self) {
        (self.any, self.flows) = (true, [u64::MAX; 4]);
    }

    #[inline(always)]
    fn has(&self, hash: u64) -> bool {
        self.any && self.flows[(hash >> 6) as usize % 4] & 1 << (hash % 64) != 0
    }
}

/// One burst's work, for the processor that there is.
pub(crate) struct Fast<'a, E> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) cx: Context<'a>,
    pub(crate) pools: &'a mut Pools,
    pub(crate) rx: &'a mut Burst,
    /// Gets what is not forwarded.
    pub(crate) rest: &'a mut Burst,
    pub(crate) out: &'a mut E,
}

impl<E: Egress> Work for Fast<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.engine.fast(self.cx, self.pools, self.rx, self.rest, self.out);
    }
}

impl Engine {
    /// Forwards what it can of `rx`; `rest` gets the others.
    #[inline(always)]
    fn fast<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, rx: &mut Burst, rest: &mut Burst, out: &mut E) {
        self.look(cx, rx);
        let more = self.look_up_all(cx, rx.len());
        // Mostly all of them.
        let all = self.rewrite(cx, rx, more != 0) == rx.len() as u64 && more == 0;
        if all {
            for (frame, sight) in rx.drain(..).zip(self.sights.each.iter()) {
                out.send(pools, sight.port, frame);
            }
            return;
        }
        for (n, frame) in rx.drain(..).enumerate() {
            let sight = &self.sights.each[n % BURST];
            match sight.fate {
                Fate::Sent => out.send(pools, sight.port, frame),
                Fate::Left => rest.push(frame),
                Fate::Grows => self.grow(cx, pools, frame, n, more >> n & 1 != 0, out),
            }
        }
        self.close_all(cx, pools, out);
    }

    /// 1. What is each frame? Hash, and ask the memory for the set.
    #[inline(always)]
    fn look(&mut self, cx: Context<'_>, frames: &[Frame]) {
        let Self {
            sights,
            peers,
            cache,
            counters,
            hasher,
            ..
        } = self;
        let mut later = &mut sights.each[..];
        // Frames of one port come together.
        for run in frames.chunk_by(|a, b| a.meta.ingress == b.meta.ingress) {
            let (these, others) = core::mem::take(&mut later).split_at_mut(run.len());
            later = others;
            let slot = run[0].meta.ingress;
            let port = cx.snapshot.parts.ports.get(slot);
            let scope = port.map_or(Scope::of(0), |port| port.scope);
            let bytes = run.iter().map(|frame| frame.buf.total_len() as u64).sum();
            let each = run.iter().zip(these.iter_mut());
            match port.map(|port| &port.kind) {
                Some(PortKind::Uplink { mac }) => {
                    let mac = MacWord::of(*mac);
                    for (frame, sight) in each {
                        sight.outside(cx, peers, frame, mac, scope);
                        ahead(sight, hasher, cache);
                    }
                }
                Some(kind @ (PortKind::Pod { .. } | PortKind::Host { .. })) => {
                    let mac = match kind {
                        PortKind::Pod { mac, .. } => Some(MacWord::of(*mac)),
                        _ => None,
                    };
                    for (frame, sight) in each {
                        sight.inside(frame, mac, scope);
                        ahead(sight, hasher, cache);
                    }
                }
                None => these.fill(Sight::NOTHING),
            }
            counters.receive(slot, run.len() as u64, bytes);
        }
    }

    /// 2. Ask for the entries, and 3. for the connections that are to hear of them. Behind which packets another one of the same flow comes, where that matters.
    #[inline(always)]
    fn look_up_all(&mut self, cx: Context<'_>, count: usize) -> u64 {
        let tick = cx.report_tick();
        let Self {
            sights, cache, shared, ..
        } = self;
        for sight in sights.each.iter_mut().take(count) {
            sight.place = if sight.usual { cache.candidate(sight.hash) } else { None };
        }
        let mut may_grow = false;
        for sight in sights.each.iter_mut().take(count) {
            let known = sight.place.and_then(|place| cache.get(place));
            match known.filter(|entry| entry.flags.has(Flags::FAST) && entry.words() == sight.packet.words) {
                Some(entry) => {
                    if entry.generation != cx.snapshot.generation {
                        cache.prefetch_ground(entry);
                    }
                    if entry.is_due(tick) {
                        shared.connections.prefetch(entry.record);
                        shared.connections.prefetch_usage(entry.record, entry.direction);
                    }
                    may_grow |= matches!(entry.way(), Way::Port(slot) if grows_at(cx, slot));
                }
                None => sight.place = None,
            }
        }
        if may_grow {
            look_ahead(sights.each[..count].iter().map(|sight| sight.hash))
        } else {
            0
        }
    }

    /// 4. Rewrite, in the order of arrival, what holds still; how many that were.
    #[inline(always)]
    fn rewrite(&mut self, cx: Context<'_>, frames: &mut [Frame], gathers: bool) -> u64 {
        let Self {
            sights,
            cache,
            shared,
            counters,
            outer_ip_id,
            ..
        } = self;
        let mut work = Rewriting {
            cx,
            cache,
            shared,
            counters,
            outer_ip_id,
            counted: &mut sights.counted,
            gathers,
        };
        let mut left = Left::default();
        for (frame, sight) in frames.iter_mut().zip(sights.each.iter_mut()) {
            let done = match sight.place {
                Some(place) if !left.has(sight.hash) => work.finish(place, sight, frame),
                _ => false,
            };
            if !done {
                left.note(sight.hash);
                if frame.meta.ingress == cx.snapshot.parts.node.uplink_port && sight::hides_its_flow(frame) {
                    left.note_all();
                }
            }
        }
        let counted = core::mem::take(&mut sights.counted);
        counters.events.cache_hits.add(counted.hits);
        counters.pulled.add(counted.pulled.0, counted.pulled.1);
        counters.pushed.add(counted.pushed.0, counted.pushed.1);
        counted.hits
    }

    /// Sends a packet that is rewritten by its port, or makes it a part of a super-frame; `more` of its flow come behind it.
    fn grow<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, frame: Frame, n: usize, more: bool, out: &mut E) {
        let Sight { mut packet, port, .. } = self.sights.each[n % BURST];
        // It has other addresses now.
        let still = packet.read(frame.buf.bytes());
        debug_assert!(still, "rewriting keeps a plain packet plain");
        let parsed = packet.parsed(frame.buf.bytes());
        self.gather(cx, pools, (frame, &parsed, more), (Way::Port(port), 0), out);
    }
}

/// Asks for the set of the cache that a packet's flow belongs to.
#[inline(always)]
fn ahead(sight: &mut Sight, hasher: &RandomState, cache: &FlowCache) {
    sight.hash = crate::engine::hash(hasher, &sight.packet.words);
    cache.prefetch(sight.hash);
}

/// Whether any super-frames are taken by this port.
#[inline(always)]
fn grows_at(cx: Context<'_>, slot: PortSlot) -> bool {
    cx.snapshot.parts.ports.get(slot).is_some_and(|port| grows(port.caps))
}

/// Whether any super-frames are taken there.
#[inline(always)]
fn grows(caps: Caps) -> bool {
    caps.checksum && (caps.tso4 || caps.tso6 || caps.uso)
}
