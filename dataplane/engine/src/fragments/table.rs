//! The node's table of fragmented packets under way: what was decided for each by its first fragment, and the fragments that
//! came before it. Bounded for each ingress and in all, and timed. It never decides about a packet.

use super::packet::{FragmentKey, Part, Parts};
use crate::classify::Item;
use core::sync::atomic::{AtomicU64, Ordering};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use sluice_wire::{Addr, DropReason, Proto, Scope};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much the table takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Packets in all; beyond, the ingress with most of them loses its oldest.
    pub(crate) packets: usize,
    /// Packets of one ingress; beyond, it loses its oldest.
    pub(crate) packets_each: usize,
    /// Fragments that wait for their first, in all.
    pub(crate) waiting: usize,
    /// Those of one ingress: a packet of 64 KiB that comes in the wrong order has 44.
    pub(crate) waiting_each: usize,
}

/// As a kernel's `ipfrag_time`. Waiting longer helps nobody: the receiver has given up by then.
pub(crate) const LIFE_NS: u64 = 30_000_000_000;
/// Longest wait for a first fragment. Networks reorder within milliseconds, and what waits are frames that others could use.
pub(crate) const WAIT_NS: u64 = 1_000_000_000;

const LIMITS: Limits = Limits {
    packets: 4096,
    packets_each: 512,
    waiting: 512,
    waiting_each: 64,
};

/// What a first fragment's ports say about the others, and how they fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They belong to this flow.
    Flow { proto: Proto, sport: u16, dport: u16 },
    /// The same, but the first waits until this neighbour is known, and so must they.
    Waits {
        proto: Proto,
        sport: u16,
        dport: u16,
        neighbour: Addr,
    },
    /// They end as the first did.
    Refused(DropReason),
}

/// What becomes of a fragment that came.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is the first: judge it, then tell [`FragmentTable::decide`].
    First(Item),
    /// The first was judged before.
    Later(Item, Verdict),
    /// It waits for the first.
    Held,
    Refused(Item, DropReason),
}

/// A fragment that ends because of others.
pub(crate) type Ended = (Item, DropReason);

struct Entry {
    serial: u64,
    born_ns: u64,
    verdict: Option<Verdict>,
    parts: Parts,
    waiting: Vec<Item>,
}

#[derive(Default)]
struct Share {
    packets: usize,
    waiting: usize,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<FragmentKey, Entry, RandomState>,
    /// Serial numbers follow time, so the first is the oldest.
    by_age: BTreeMap<u64, FragmentKey>,
    by_scope: BTreeMap<(Scope, u64), FragmentKey>,
    /// Entries with fragments that wait.
    holding: BTreeMap<u64, FragmentKey>,
    shares: HashMap<Scope, Share, RandomState>,
    waiting: usize,
    waiting_bytes: u64,
    next_serial: u64,
}

/// Fragmented packets under way, of all workers. The hash is keyed anew at each start.
pub struct FragmentTable {
    inner: Mutex<Inner>,
    limits: Limits,
    // Copies of what is inside, so that nobody locks to learn that there is nothing to do.
    due_ns: AtomicU64,
    held: [AtomicU64; 2],
}

impl Default for FragmentTable {
    fn default() -> Self {
        Self::with(LIMITS)
    }
}

impl FragmentTable {
    pub(crate) fn with(limits: Limits) -> Self {
        Self {
            inner: Mutex::default(),
            limits,
            due_ns: AtomicU64::new(u64::MAX),
            held: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// Fragments that wait for their first now, and the bytes of their frames. No worker's own counters have them.
    pub fn held(&self) -> (u64, u64) {
        let [frames, bytes] = &self.held;
        (frames.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// Whether [`Self::expire`] has something to do.
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns.load(Ordering::Relaxed)
    }

    /// Notes a fragment, and says what becomes of it. `ended` gets those that must go for it.
    pub(crate) fn arrive(
        &self,
        key: FragmentKey,
        part: Part,
        item: Item,
        now_ns: u64,
        ended: &mut Vec<Ended>,
    ) -> Arrival {
        let mut inner = self.lock();
        if !inner.entries.contains_key(&key) {
            inner.make_room(&self.limits, key.scope, ended);
            inner.enter(key, now_ns);
        }
        let arrival = inner.arrive(&self.limits, key, part, item, ended);
        self.publish(&inner);
        arrival
    }

    /// Notes what the first fragment said; the fragments that waited for it, in the order in which they came.
    pub(crate) fn decide(&self, key: &FragmentKey, verdict: Verdict) -> Vec<Item> {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(key) else {
            return Vec::new();
        };
        entry.verdict = Some(verdict);
        let released = inner.release(key);
        inner.forget_if_done(key);
        self.publish(&inner);
        released
    }

    /// What the first fragment of this packet said, if it is known.
    pub(crate) fn verdict(&self, key: &FragmentKey) -> Option<Verdict> {
        self.lock().entries.get(key)?.verdict
    }

    /// Ends what has waited too long, a bounded number at once.
    pub(crate) fn expire(&self, now_ns: u64, ended: &mut Vec<Ended>) {
        let mut inner = self.lock();
        for _ in 0..64 {
            let old = |key: &FragmentKey, entries: &HashMap<FragmentKey, Entry, RandomState>, most: u64| {
                entries
                    .get(key)
                    .is_some_and(|e| now_ns.saturating_sub(e.born_ns) >= most)
            };
            if let Some(key) = inner.holding.values().next().copied()
                && old(&key, &inner.entries, WAIT_NS)
            {
                let late = inner.release(&key);
                ended.extend(late.into_iter().map(|item| (item, DropReason::FragmentNoFirst)));
            } else if let Some(key) = inner.by_age.values().next().copied()
                && old(&key, &inner.entries, LIFE_NS)
            {
                inner.remove(&key, DropReason::FragmentNoFirst, ended);
            } else {
                break;
            }
        }
        self.publish(&inner);
    }

    /// Gives up every fragment that waits.
    pub(crate) fn drain(&self, ended: &mut Vec<Ended>) {
        let mut inner = self.lock();
        while let Some(key) = inner.holding.values().next().copied() {
            inner.remove(&key, DropReason::FragmentNoFirst, ended);
        }
        self.publish(&inner);
    }

    fn publish(&self, inner: &Inner) {
        let born = |key: Option<&FragmentKey>| key.and_then(|key| inner.entries.get(key)).map(|entry| entry.born_ns);
        let waits = born(inner.holding.values().next()).map(|at| at + WAIT_NS);
        let lives = born(inner.by_age.values().next()).map(|at| at + LIFE_NS);
        let due = waits.into_iter().chain(lives).min().unwrap_or(u64::MAX);
        self.due_ns.store(due, Ordering::Relaxed);
        self.held[0].store(inner.waiting as u64, Ordering::Relaxed);
        self.held[1].store(inner.waiting_bytes, Ordering::Relaxed);
    }

    /// Nothing panics while it is locked in a half-changed state, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().check()
    }
}

/// Longer frames lie in the few buffers that super-frames need, and a worker without one is a worker that nobody can send
/// super-frames to: such a fragment goes after its first one, or not at all.
const LONGEST_WAITING: usize = 3840;

impl Inner {
    fn arrive(&mut self, limits: &Limits, key: FragmentKey, part: Part, item: Item, ended: &mut Vec<Ended>) -> Arrival {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Arrival::Refused(item, DropReason::FragmentTableFull);
        };
        if let Err(reason) = entry.parts.add(part) {
            // Those that wait are of a packet that nobody may put together any more; an exact repetition changes nothing.
            if entry.parts.is_contradicted() {
                let others = self.release(&key);
                ended.extend(others.into_iter().map(|other| (other, DropReason::FragmentOverlap)));
            }
            return Arrival::Refused(item, reason);
        }
        if part.start == 0 {
            return Arrival::First(item);
        }
        if let Some(verdict) = entry.verdict {
            self.forget_if_done(&key);
            return Arrival::Later(item, verdict);
        }
        let share = self.shares.entry(key.scope).or_default();
        let long = item.frame.buf.total_len() > LONGEST_WAITING;
        if long || share.waiting >= limits.waiting_each || self.waiting >= limits.waiting {
            return Arrival::Refused(item, DropReason::FragmentTableFull);
        }
        share.waiting += 1;
        self.waiting += 1;
        self.waiting_bytes += item.frame.buf.total_len() as u64;
        self.holding.insert(entry.serial, key);
        entry.waiting.push(item);
        Arrival::Held
    }

    fn enter(&mut self, key: FragmentKey, now_ns: u64) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = Entry {
            serial,
            born_ns: now_ns,
            verdict: None,
            parts: Parts::default(),
            waiting: Vec::new(),
        };
        self.entries.insert(key, entry);
        self.by_age.insert(serial, key);
        self.by_scope.insert((key.scope, serial), key);
        self.shares.entry(key.scope).or_default().packets += 1;
    }

    /// Whoever has its share gives up its oldest packet for the new one. When the whole table is full, whoever has most does.
    fn make_room(&mut self, limits: &Limits, scope: Scope, ended: &mut Vec<Ended>) {
        let full = self
            .shares
            .get(&scope)
            .is_some_and(|s| s.packets >= limits.packets_each);
        let loser = if full {
            Some(scope)
        } else if self.entries.len() >= limits.packets {
            self.shares
                .iter()
                .max_by_key(|(_, s)| s.packets)
                .map(|(scope, _)| *scope)
        } else {
            None
        };
        let oldest = loser.and_then(|s| self.by_scope.range((s, 0)..=(s, u64::MAX)).next());
        if let Some(key) = oldest.map(|(_, key)| *key) {
            self.remove(&key, DropReason::FragmentTableFull, ended);
        }
    }

    /// Takes what waits in an entry.
    fn release(&mut self, key: &FragmentKey) -> Vec<Item> {
        let Some(entry) = self.entries.get_mut(key) else {
            return Vec::new();
        };
        let items = std::mem::take(&mut entry.waiting);
        self.holding.remove(&entry.serial);
        if let Some(share) = self.shares.get_mut(&key.scope) {
            share.waiting -= items.len();
        }
        self.waiting -= items.len();
        self.waiting_bytes -= items.iter().map(|i| i.frame.buf.total_len() as u64).sum::<u64>();
        items
    }

    /// A packet whose fragments all came needs its entry no more, and its identification may come again soon. While the first
    /// waits for a neighbour the others ask again.
    fn forget_if_done(&mut self, key: &FragmentKey) {
        let done = self.entries.get(key).is_some_and(|entry| {
            entry.parts.is_complete() && !matches!(entry.verdict, None | Some(Verdict::Waits { .. }))
        });
        if done {
            self.remove(key, DropReason::FragmentNoFirst, &mut Vec::new());
        }
    }

    fn remove(&mut self, key: &FragmentKey, reason: DropReason, ended: &mut Vec<Ended>) {
        let waiting = self.release(key);
        ended.extend(waiting.into_iter().map(|item| (item, reason)));
        let Some(entry) = self.entries.remove(key) else { return };
        self.by_age.remove(&entry.serial);
        self.by_scope.remove(&(key.scope, entry.serial));
        if let Some(share) = self.shares.get_mut(&key.scope) {
            share.packets -= 1;
            if share.packets == 0 {
                self.shares.remove(&key.scope);
            }
        }
    }

    /// Everything counted again; the number of packets.
    #[cfg(test)]
    fn check(&self) -> usize {
        let waiting: Vec<&Item> = self.entries.values().flat_map(|e| &e.waiting).collect();
        let bytes: u64 = waiting.iter().map(|i| i.frame.buf.total_len() as u64).sum();
        assert_eq!((self.waiting, self.waiting_bytes), (waiting.len(), bytes));
        let packets = self.entries.len();
        assert_eq!((self.by_age.len(), self.by_scope.len()), (packets, packets));
        assert!(
            self.by_age
                .iter()
                .all(|(serial, key)| self.entries[key].serial == *serial)
        );
        assert!(
            self.by_scope
                .iter()
                .all(|((_, serial), key)| self.by_age[serial] == *key)
        );
        let holding = self.entries.values().filter(|e| !e.waiting.is_empty()).count();
        assert_eq!(self.holding.len(), holding);
        for (scope, share) in &self.shares {
            let of = || self.entries.iter().filter(|(key, _)| key.scope == *scope);
            let waiting = of().map(|(_, e)| e.waiting.len()).sum::<usize>();
            assert_eq!((share.packets, share.waiting), (of().count(), waiting));
        }
        assert_eq!(self.shares.values().map(|s| s.packets).sum::<usize>(), packets);
        packets
    }
}
