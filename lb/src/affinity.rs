//! Decides which endpoint a client had before. It never grows beyond its capacity and never says whether that endpoint still serves.

use crate::{EndpointSlot, ServiceSlot};
use core::hash::BuildHasher;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use sluice_wire::Addr;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;
/// How many entries are compared to find one to evict.
const SAMPLE: usize = 8;

/// A client of one incarnation of a service slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) service: ServiceSlot,
    pub(crate) service_epoch: u32,
    pub(crate) client: Addr,
}

/// One incarnation of an endpoint slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) endpoint: EndpointSlot,
    pub(crate) endpoint_epoch: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    value: Remembered,
    until_ns: u64,
}

/// Dense entries with an index by key, so that ageing and eviction can walk them a few at a time.
#[derive(Debug, Default)]
struct Shard {
    index: HashMap<Key, usize>,
    entries: Vec<Entry>,
    hand: usize,
}

/// The table. Its hashes are keyed anew by each process.
#[derive(Debug)]
pub(crate) struct AffinityTable {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    shard_capacity: usize,
    next_to_age: AtomicUsize,
}

impl AffinityTable {
    /// For about `capacity` entries; memory is taken as they come.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            shard_capacity: capacity.div_ceil(SHARDS).max(1),
            next_to_age: AtomicUsize::new(0),
        }
    }

    /// The endpoint remembered for `key`, unless its time is up.
    pub(crate) fn get(&self, key: &Key, now_ns: u64) -> Option<Remembered> {
        let shard = self.shard(key);
        let entry = &shard.entries[*shard.index.get(key)?];
        (now_ns < entry.until_ns).then_some(entry.value)
    }

    /// Remembers `value` until `until_ns`. If another endpoint is remembered, in time and `usable`, that one stays and is renewed:
    /// of two first connections at once, both workers must end up with the same one.
    pub(crate) fn renew(
        &self,
        key: Key,
        value: Remembered,
        now_ns: u64,
        until_ns: u64,
        usable: impl Fn(&Remembered) -> bool,
    ) {
        let mut shard = self.shard(&key);
        if let Some(&at) = shard.index.get(&key) {
            let entry = &mut shard.entries[at];
            if now_ns >= entry.until_ns || !usable(&entry.value) {
                entry.value = value;
            }
            entry.until_ns = until_ns;
            return;
        }
        if shard.entries.len() >= self.shard_capacity {
            shard.evict();
        }
        let at = shard.entries.len();
        shard.entries.push(Entry { key, value, until_ns });
        shard.index.insert(key, at);
    }

    /// Looks at up to `budget` entries, from where the last call ended, and drops those whose time is up. Returns how many it dropped.
    pub(crate) fn age(&self, now_ns: u64, budget: usize) -> usize {
        let mut left = budget;
        let mut dropped = 0;
        for _ in 0..self.shards.len() {
            if left == 0 {
                break;
            }
            let current = self.next_to_age.load(Relaxed) % self.shards.len();
            let mut shard = lock(&self.shards[current]);
            while left > 0 && shard.hand < shard.entries.len() {
                left -= 1;
                if shard.entries[shard.hand].until_ns <= now_ns {
                    let at = shard.hand;
                    shard.remove(at);
                    dropped += 1;
                } else {
                    shard.hand += 1;
                }
            }
            if shard.hand >= shard.entries.len() {
                shard.hand = 0;
                self.next_to_age.store(current + 1, Relaxed);
                left = left.saturating_sub(1);
            }
        }
        dropped
    }

    /// Number of entries, also of those whose time is up.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|s| lock(s).entries.len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % self.shards.len()])
    }
}

impl Shard {
    fn remove(&mut self, at: usize) {
        let gone = self.entries.swap_remove(at);
        self.index.remove(&gone.key);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.key, at);
        }
    }

    /// Drops the entry nearest to its end among a few.
    fn evict(&mut self) {
        let count = self.entries.len();
        let sample = (self.hand..self.hand + SAMPLE.min(count)).map(|i| i % count);
        if let Some(at) = sample.min_by_key(|&i| self.entries[i].until_ns) {
            self.remove(at);
            self.hand = (self.hand + SAMPLE) % count;
        }
    }
}

/// A panic elsewhere leaves a shard usable: nothing under the lock is observable half done except a lost entry.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
