//! The table: records in one fixed array, both directions' keys in sharded maps behind short locks.

use super::record::{Cell, Direction, Life, Record, RecordId};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use sluice_lb::{ConnState, Timeouts};
use sluice_wire::{Generation, Tuple};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;
/// Counters of keys that came and went, see [`ConnectionTable::era`].
const ERAS: usize = 1024;

/// A key's place in a shard: the record, and which of its two keys.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) direction: Direction,
}

type Shard = HashTable<Key>;

/// What became of an insertion.
#[derive(Debug)]
pub enum Inserted {
    /// The record is in the table, and this caller made it.
    Won(RecordId),
    /// Another worker was first, for this direction or the opposite one: its decision holds.
    Lost(RecordId, Record),
    /// The reply's key belongs to another connection: choose another source port.
    ReplyTaken,
    /// No record is free.
    Full,
}

/// All connections of the node; shared by the workers.
pub struct ConnectionTable {
    pub(super) cells: Box<[Cell]>,
    pub(super) shards: Box<[Mutex<Shard>]>,
    free: Mutex<Vec<u32>>,
    hasher: RandomState,
    eras: Box<[AtomicU32]>,
    pub(super) timeouts: Timeouts,
    pub(super) sweep_at: AtomicUsize,
    live: AtomicU32,
    pub(super) expired: AtomicU64,
}

impl ConnectionTable {
    /// Room for `capacity` connections; the hash is keyed anew at each start.
    pub fn new(capacity: usize, timeouts: Timeouts) -> Self {
        let per_shard = 2 * capacity / SHARDS + 16;
        Self {
            cells: (0..capacity).map(|_| Cell::default()).collect(),
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Shard::with_capacity(per_shard)))
                .collect(),
            free: Mutex::new((0..capacity as u32).rev().collect()),
            hasher: RandomState::default(),
            eras: (0..ERAS).map(|_| AtomicU32::new(0)).collect(),
            timeouts,
            sweep_at: AtomicUsize::new(0),
            live: AtomicU32::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// Connections now.
    pub fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed) as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most connections there can be.
    pub fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// The connection that a packet with this tuple belongs to.
    pub fn lookup(&self, tuple: &Tuple) -> Option<(RecordId, Record, Direction)> {
        let hash = self.hash(tuple);
        let shard = self.lock(shard_of(hash));
        let key = *shard.find(hash, |key| {
            self.cells[key.index as usize].arriving(key.direction) == *tuple
        })?;
        Some((self.id(key.index), self.cells[key.index as usize].load(), key.direction))
    }

    /// Changes whenever a connection to which packets with this tuple may belong is entered or taken out, and sometimes
    /// otherwise. Who looked one up after reading it need not look again while it stays.
    #[inline]
    pub fn era(&self, tuple: &Tuple) -> u32 {
        self.eras[era_of(self.hash(tuple))].load(Ordering::Acquire)
    }

    /// Enters both keys of a connection, or neither. Complete before it returns, so that a reply that arrives at another
    /// worker finds it.
    pub fn insert(&self, record: &Record, state: ConnState, now_ns: u64) -> Inserted {
        let (original, reply) = (self.hash(&record.original), self.hash(&record.reply));
        let (first, second) = (shard_of(original), shard_of(reply));
        let mut locks = self.lock_two(first, second);
        let find = |shard: &Shard, hash, tuple: &Tuple| {
            shard
                .find(hash, |key| {
                    self.cells[key.index as usize].arriving(key.direction) == *tuple
                })
                .copied()
        };
        if let Some(key) = find(locks.get(first), original, &record.original) {
            return Inserted::Lost(self.id(key.index), self.cells[key.index as usize].load());
        }
        if find(locks.get(second), reply, &record.reply).is_some() {
            return Inserted::ReplyTaken;
        }
        let Some(index) = lock(&self.free).pop() else {
            return Inserted::Full;
        };
        let cell = &self.cells[index as usize];
        cell.store(record);
        cell.created_ns.store(now_ns, Ordering::Relaxed);
        for usage in &cell.usage {
            usage.last_ns.store(now_ns, Ordering::Relaxed);
            usage.packets.store(0, Ordering::Relaxed);
            usage.bytes.store(0, Ordering::Relaxed);
        }
        let life = Life {
            incarnation: cell.life().incarnation,
            state: Some(state),
            cut: false,
        };
        // Last: whoever sees it live, such as the sweep, must see its times too.
        cell.set_life(life);
        let rehash = |key: &Key| self.hash(&self.cells[key.index as usize].arriving(key.direction));
        locks.get_mut(first).insert_unique(
            original,
            Key {
                index,
                direction: Direction::Original,
            },
            rehash,
        );
        locks.get_mut(second).insert_unique(
            reply,
            Key {
                index,
                direction: Direction::Reply,
            },
            rehash,
        );
        for hash in [original, reply] {
            self.eras[era_of(hash)].fetch_add(1, Ordering::Release);
        }
        self.live.fetch_add(1, Ordering::Relaxed);
        Inserted::Won(RecordId {
            index,
            incarnation: life.incarnation,
        })
    }

    /// Takes a connection out; what it was, for the caller who removed it (nobody else gets it).
    pub fn remove(&self, id: RecordId) -> Option<Record> {
        let cell = self.cells.get(id.index as usize)?;
        let record = cell.load();
        let (original, reply) = (self.hash(&record.original), self.hash(&record.reply));
        let (first, second) = (shard_of(original), shard_of(reply));
        let mut locks = self.lock_two(first, second);
        // Read again under the locks: another worker may have removed it, and the place may have been taken anew.
        let life = cell.life();
        if life.incarnation != id.incarnation || life.state.is_none() || cell.load() != record {
            return None;
        }
        let entry = locks
            .get_mut(first)
            .find_entry(original, |k| k.index == id.index && k.direction == Direction::Original);
        entry.ok()?.remove();
        if let Ok(entry) = locks
            .get_mut(second)
            .find_entry(reply, |k| k.index == id.index && k.direction == Direction::Reply)
        {
            entry.remove();
        }
        cell.set_life(Life {
            incarnation: life.incarnation.wrapping_add(1),
            state: None,
            cut: false,
        });
        for hash in [original, reply] {
            self.eras[era_of(hash)].fetch_add(1, Ordering::Release);
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
        lock(&self.free).push(id.index);
        Some(record)
    }

    /// Connections that timed out so far.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Whether a decision of generation `generation` may replace what the record holds: never an older one a newer.
    pub fn may_replace(record: &Record, generation: Generation) -> bool {
        generation >= record.decided_in
    }

    fn id(&self, index: u32) -> RecordId {
        let incarnation = self.cells[index as usize].life().incarnation;
        RecordId { index, incarnation }
    }

    fn hash(&self, tuple: &Tuple) -> u64 {
        self.hasher.hash_one(tuple)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[shard])
    }

    /// Locks two shards, or one when they are the same, always in index order: the order is what prevents deadlock.
    fn lock_two(&self, a: usize, b: usize) -> Two<'_> {
        let (low, high) = (a.min(b), a.max(b));
        let first = self.lock(low);
        let second = (low != high).then(|| self.lock(high));
        Two { low, first, second }
    }
}

/// Nothing panics while one is locked in a half-changed state, so a poisoned one is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Two<'a> {
    low: usize,
    first: MutexGuard<'a, Shard>,
    second: Option<MutexGuard<'a, Shard>>,
}

impl Two<'_> {
    fn get(&self, shard: usize) -> &Shard {
        match &self.second {
            Some(second) if shard != self.low => second,
            _ => &self.first,
        }
    }

    fn get_mut(&mut self, shard: usize) -> &mut Shard {
        match &mut self.second {
            Some(second) if shard != self.low => second,
            _ => &mut self.first,
        }
    }
}

fn shard_of(hash: u64) -> usize {
    // The map inside uses the low bits and the top seven; these are neither.
    (hash >> 40) as usize % SHARDS
}

fn era_of(hash: u64) -> usize {
    (hash >> 20) as usize % ERAS
}
