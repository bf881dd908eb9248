//! The stages of a packet's life, in order, in one function.

use crate::cache::FlowCache;
use crate::classify::{Classified, Item};
use crate::fast::{Fast, Peers, Sights};
use crate::held::Held;
use crate::merge::{Merge, look_ahead};
use crate::{Burst, Counters, Egress, Frame, Shared};
use arrayvec::ArrayVec;
use foldhash::quality::RandomState;
use sluice_mem::{Pools, Processor};
use sluice_snapshot::Snapshot;
use sluice_wire::{BURST, DropReason, FlowWords};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// Sizes of a worker's private state.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Entries of the flow cache.
    pub cache_flows: usize,
    /// Seed of random choices; differs between workers.
    pub seed: u64,
}

/// One worker's packet logic.
pub struct Engine {
    pub(crate) cache: FlowCache,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) held: Held,
    pub(crate) merge: Merge,
    pub(crate) peers: Peers,
    /// The fast path is compiled for this one.
    pub(crate) processor: Processor,
    /// Everything takes the general path: for tests that compare the two.
    #[cfg(test)]
    pub(crate) general_only: bool,
    /// Bursts of which something took it.
    #[cfg(test)]
    pub(crate) general_bursts: u64,
    pub(crate) sights: Sights,
    pub(crate) hasher: RandomState,
    random: u64,
    icmp_tokens: u32,
    icmp_tick: u32,
    swept_ns: u64,
    pub(crate) outer_ip_id: u16,
}

/// What every stage may look at.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) now_ns: u64,
    /// Some tunnel's path takes less than its adjacency says.
    pub(crate) narrowed: bool,
}

impl Context<'_> {
    /// Clock tick in which connections hear of their packets at most once: 2^30 ns, about a second. They lie far from the caches.
    #[inline(always)]
    pub(crate) fn report_tick(&self) -> u32 {
        (self.now_ns >> 30) as u32
    }

    /// Clock tick of what may be answered: 2^27 ns, about an eighth of a second.
    pub(crate) fn tick(&self) -> u32 {
        (self.now_ns >> 27) as u32
    }
}

/// ICMP errors and resets a worker may send in one tick.
const ICMP_PER_TICK: u32 = 128;

impl Engine {
    /// A worker's engine over the shared tables.
    pub fn new(config: EngineConfig, shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        Self {
            cache: FlowCache::new(config.cache_flows),
            shared,
            counters,
            held: Held::default(),
            merge: Merge::default(),
            peers: Peers::default(),
            processor: Processor::detect(),
            sights: Sights::default(),
            #[cfg(test)]
            general_only: false,
            #[cfg(test)]
            general_bursts: 0,
            hasher: RandomState::default(),
            random: config.seed | 1,
            icmp_tokens: ICMP_PER_TICK,
            icmp_tick: 0,
            swept_ns: 0,
            outer_ip_id: config.seed as u16,
        }
    }

    /// Takes every frame of `rx` to its end: queued at `out`, answered, held for a neighbour, or dropped with a reason.
    ///
    /// `now_ns` is any clock that never goes back. Allocates nothing for flows that are known.
    pub fn process<E: Egress>(
        &mut self,
        snapshot: &Snapshot,
        now_ns: u64,
        pools: &mut Pools,
        rx: &mut Burst,
        out: &mut E,
    ) {
        let cx = self.context(snapshot, now_ns);
        self.counters.samples.set_now(now_ns);
        let mut rest = Burst::new();
        // Plain packets of known flows go the fast way, unless sizes must be asked for path by path.
        if !cx.narrowed && self.may_be_fast() {
            let rest = &mut rest;
            self.processor.run(Fast {
                engine: self,
                cx,
                pools,
                rx,
                rest,
                out,
            });
        } else {
            self.counters.receive_all(rx);
            core::mem::swap(rx, &mut rest);
        }
        if !rest.is_empty() {
            self.general(cx, pools, &mut rest, out);
        }
        out.flush(pools);
    }

    #[cfg(not(test))]
    const fn may_be_fast(&self) -> bool {
        true
    }

    #[cfg(test)]
    fn may_be_fast(&self) -> bool {
        !self.general_only
    }

    /// The way of all that the fast path leaves, and the definition of what that one does.
    #[inline(never)]
    fn general<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, rx: &mut Burst, out: &mut E) {
        #[cfg(test)]
        {
            self.general_bursts += 1;
        }
        let mut items: ArrayVec<Item, BURST> = ArrayVec::new();
        let mut misses: ArrayVec<Item, BURST> = ArrayVec::new();

        // 1. What is it, and may it come in here at all? Tunnel headers come off; ARP and NDP are answered.
        for frame in rx.drain(..) {
            match self.classify(cx, frame) {
                Classified::Packet(item) => items.push(item),
                Classified::Query(frame, query) => self.answer_query(cx, pools, frame, query, out),
                Classified::Dropped(frame, reason) => self.drop_frame(pools, frame, reason),
            }
        }
        // 2. Look every flow up: hash all, ask the memory for all, then probe, and ask for the connections.
        for item in &mut items {
            item.hash = self.hash(&FlowWords::from(&item.key));
            self.cache.prefetch(item.hash);
        }
        let more = look_ahead(items.iter().map(|item| item.hash));
        for (n, item) in items.iter_mut().enumerate() {
            item.more = more >> n & 1 != 0;
            item.place = self.cache.find(&FlowWords::from(&item.key), item.hash);
            if let Some(link) = item.place.and_then(|place| self.cache.get(place)?.link()) {
                self.shared.connections.prefetch(link.record);
            }
        }
        // 3. Known flows are rewritten, become super-frames where a port takes them, and leave before the others are thought about.
        for item in items.drain(..) {
            match self.look_up(cx, &item) {
                Some(action) => {
                    self.counters.events.cache_hits.add(1);
                    self.apply(cx, pools, item, &action, out);
                }
                None => misses.push(item),
            }
        }
        // 4. Transmit the hits.
        self.close_all(cx, pools, out);
        out.flush(pools);
        // 5. Unknown flows: spoofing, service, egress policy, route, ingress policy; decided once for the connection.
        for mut item in misses.drain(..) {
            self.counters.events.cache_misses.add(1);
            // The packet before it may have decided for this one, too.
            item.place = self.cache.find(&FlowWords::from(&item.key), item.hash);
            match self.look_up(cx, &item) {
                Some(action) => self.apply(cx, pools, item, &action, out),
                None => {
                    // What it sends may belong to any flow.
                    self.close_all(cx, pools, out);
                    self.slow(cx, pools, item, out);
                }
            }
        }
        // 6. Transmit the rest.
        self.close_all(cx, pools, out);
    }

    fn context<'a>(&self, snapshot: &'a Snapshot, now_ns: u64) -> Context<'a> {
        Context {
            snapshot,
            now_ns,
            narrowed: self.shared.path_mtu.is_in_force(now_ns),
        }
    }

    /// What is due besides packets: held ones whose neighbour has answered or whose time is over, and a bounded part of
    /// the connection table's ageing. Called once per round of the worker's loop.
    pub fn tick<E: Egress>(&mut self, snapshot: &Snapshot, now_ns: u64, pools: &mut Pools, out: &mut E) {
        let cx = self.context(snapshot, now_ns);
        self.counters.samples.set_now(now_ns);
        self.retry_held(cx, pools, out);
        self.close_all(cx, pools, out);
        self.expire_fragments(cx, pools);
        self.sweep(now_ns);
        out.flush(pools);
    }

    /// Ages connections: as many places as the time since the last call allows, at 32 in 100 us, so that a worker that
    /// spins and one that mostly sleeps get round the table equally fast.
    fn sweep(&mut self, now_ns: u64) {
        let due = (now_ns.saturating_sub(self.swept_ns) / 100_000).min(64) as usize * 32;
        if due == 0 {
            return;
        }
        self.swept_ns = now_ns;
        self.shared
            .connections
            .sweep(now_ns, due, |record| self.shared.ended(record));
        self.shared.runtime.age(now_ns, due / 32);
    }

    /// Reports to the connections what entries of the cache counted since their last report.
    pub fn publish_usage(&mut self, now_ns: u64) {
        for link in self.cache.take_counts() {
            link.report(&self.shared.connections, now_ns);
        }
    }

    /// Ends everything this worker still holds; before it goes.
    pub fn drain(&mut self, pools: &mut Pools) {
        self.drop_held(pools);
        self.drop_fragments(pools);
    }

    /// Hash of the flow cache: keyed anew with each engine, so that nobody can aim at one of its sets.
    pub(crate) fn hash(&self, key: &FlowWords) -> u64 {
        hash(&self.hasher, key)
    }

    /// The counters it writes.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) fn drop_frame(&self, pools: &mut Pools, frame: Frame, reason: DropReason) {
        self.counters.refuse(reason, &frame, None);
        pools.free(frame.buf);
    }

    /// xorshift64 (Marsaglia 2003): for choices, not for secrets.
    pub(crate) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Whether one more error or reset may be sent now (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).
    pub(crate) fn may_answer(&mut self, cx: Context<'_>, item: &Item) -> bool {
        // The port's own share first, so that one that provokes many leaves the others theirs.
        if !self.shared.answers.take(item.key.scope, item.weight(), cx.now_ns) {
            return false;
        }
        if self.icmp_tick != cx.tick() {
            self.icmp_tick = cx.tick();
            self.icmp_tokens = ICMP_PER_TICK;
        }
        let may = self.icmp_tokens > 0;
        self.icmp_tokens = self.icmp_tokens.saturating_sub(1);
        may
    }
}

#[inline(always)]
#[expect(
    clippy::manual_hash_one,
    reason = "that one is called for every packet; this is a part of the loop"
)]
pub(crate) fn hash(hasher: &RandomState, key: &FlowWords) -> u64 {
    let mut state = hasher.build_hasher();
    key.hash(&mut state);
    state.finish()
}
