//! The table: records in one fixed array, both directions' keys in sharded maps behind short locks.

use super::record::{Cell, Direction, Record, RecordId};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use sluice_lb::{ConnState, Timeouts, on_packet, timeout_ns};
use sluice_wire::{Generation, Proto, Tuple};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;

/// A key's place in a shard: the record, and which of its two keys.
#[derive(Clone, Copy)]
struct Key {
    index: u32,
    direction: Direction,
}

type Shard = HashTable<Key>;

/// What became of an insertion.
#[derive(Debug)]
pub enum Inserted {
    /// The record is in the table, and this caller made it.
    Won(RecordId),
    /// Another worker was first: its decision holds.
    Lost(RecordId, Record),
    /// The reply's key belongs to another connection: choose another source port.
    ReplyTaken,
    /// No record is free.
    Full,
}

/// A connection for display.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// What was decided.
    pub record: Record,
    /// How far it is.
    pub state: ConnState,
    /// Nanoseconds since the first packet.
    pub age_ns: u64,
    /// Nanoseconds since the last packet.
    pub idle_ns: u64,
    /// Packets seen, original and reply.
    pub packets: [u64; 2],
    /// Bytes seen, original and reply.
    pub bytes: [u64; 2],
}

/// All connections of the node; shared by the workers.
pub struct ConnectionTable {
    cells: Box<[Cell]>,
    shards: Box<[Mutex<Shard>]>,
    free: Mutex<Vec<u32>>,
    hasher: RandomState,
    timeouts: Timeouts,
    sweep_at: AtomicUsize,
    live: AtomicU32,
    expired: AtomicU64,
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
        let cell = &self.cells[key.index as usize];
        let id = RecordId {
            index: key.index,
            incarnation: cell.incarnation.load(Ordering::Relaxed),
        };
        Some((id, cell.load(), key.direction))
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
            let cell = &self.cells[key.index as usize];
            let id = RecordId {
                index: key.index,
                incarnation: cell.incarnation.load(Ordering::Relaxed),
            };
            return match key.direction {
                Direction::Original => Inserted::Lost(id, cell.load()),
                Direction::Reply => Inserted::ReplyTaken,
            };
        }
        if find(locks.get(second), reply, &record.reply).is_some() {
            return Inserted::ReplyTaken;
        }
        let Some(index) = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
            return Inserted::Full;
        };
        let cell = &self.cells[index as usize];
        cell.store(record);
        cell.state.store(u32::from(state.to_u8()), Ordering::Relaxed);
        cell.created_ns.store(now_ns, Ordering::Relaxed);
        for usage in &cell.usage {
            usage.last_ns.store(now_ns, Ordering::Relaxed);
            usage.packets.store(0, Ordering::Relaxed);
            usage.bytes.store(0, Ordering::Relaxed);
        }
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
        self.live.fetch_add(1, Ordering::Relaxed);
        Inserted::Won(RecordId {
            index,
            incarnation: cell.incarnation.load(Ordering::Relaxed),
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
        if cell.incarnation.load(Ordering::Relaxed) != id.incarnation || cell.load() != record {
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
        cell.incarnation.fetch_add(1, Ordering::Relaxed);
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(id.index);
        Some(record)
    }

    /// Reports packets of one direction; false when the connection is gone, so that the caller forgets it too.
    #[inline]
    pub fn touch(&self, id: RecordId, direction: Direction, now_ns: u64, packets: u32, bytes: u64) -> bool {
        let Some(cell) = self.cells.get(id.index as usize) else {
            return false;
        };
        if cell.incarnation.load(Ordering::Relaxed) != id.incarnation {
            return false;
        }
        let usage = &cell.usage[direction.index()];
        usage.last_ns.store(now_ns, Ordering::Relaxed);
        usage.packets.fetch_add(u64::from(packets), Ordering::Relaxed);
        usage.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Moves the connection's state on for a packet of this direction, and returns the new state.
    pub fn advance(&self, id: RecordId, direction: Direction, proto: Proto, tcp_flags: u8) -> Option<ConnState> {
        let cell = self.cells.get(id.index as usize)?;
        let way = match direction {
            Direction::Original => sluice_lb::Direction::Original,
            Direction::Reply => sluice_lb::Direction::Reply,
        };
        let mut before = cell.state.load(Ordering::Relaxed);
        loop {
            if cell.incarnation.load(Ordering::Relaxed) != id.incarnation {
                return None;
            }
            let after = on_packet(ConnState::from_u8(before as u8)?, way, proto, tcp_flags);
            match cell
                .state
                .compare_exchange(before, u32::from(after.to_u8()), Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(after),
                Err(seen) => before = seen,
            }
        }
    }

    /// State of a connection.
    pub fn state(&self, id: RecordId) -> Option<ConnState> {
        let cell = self.cells.get(id.index as usize)?;
        ConnState::from_u8(cell.state.load(Ordering::Relaxed) as u8)
    }

    /// Looks at the next `budget` places and takes out what has been silent for too long; each one taken is given to `ended`.
    pub fn sweep(&self, now_ns: u64, budget: usize, mut ended: impl FnMut(&Record)) {
        if self.is_empty() || self.cells.is_empty() {
            return;
        }
        let start = self.sweep_at.fetch_add(budget, Ordering::Relaxed);
        for step in 0..budget.min(self.cells.len()) {
            let index = (start.wrapping_add(step)) % self.cells.len();
            let cell = &self.cells[index];
            let id = RecordId {
                index: index as u32,
                incarnation: cell.incarnation.load(Ordering::Relaxed),
            };
            let last = cell
                .usage
                .iter()
                .map(|u| u.last_ns.load(Ordering::Relaxed))
                .max()
                .unwrap_or(0);
            let Some(state) = ConnState::from_u8(cell.state.load(Ordering::Relaxed) as u8) else {
                continue;
            };
            if now_ns.saturating_sub(last) > timeout_ns(state, &self.timeouts)
                && let Some(record) = self.remove(id)
            {
                self.expired.fetch_add(1, Ordering::Relaxed);
                ended(&record);
            }
        }
    }

    /// Connections that timed out so far.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Up to `limit` connections, for display. Takes each shard's lock for a moment; never all at once.
    pub fn rows(&self, now_ns: u64, limit: usize) -> Vec<ConnectionRow> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for key in shard.iter().filter(|k| k.direction == Direction::Original) {
                if rows.len() == limit {
                    return rows;
                }
                let cell = &self.cells[key.index as usize];
                let Some(state) = ConnState::from_u8(cell.state.load(Ordering::Relaxed) as u8) else {
                    continue;
                };
                let last = cell
                    .usage
                    .iter()
                    .map(|u| u.last_ns.load(Ordering::Relaxed))
                    .max()
                    .unwrap_or(0);
                rows.push(ConnectionRow {
                    record: cell.load(),
                    state,
                    age_ns: now_ns.saturating_sub(cell.created_ns.load(Ordering::Relaxed)),
                    idle_ns: now_ns.saturating_sub(last),
                    packets: core::array::from_fn(|i| cell.usage[i].packets.load(Ordering::Relaxed)),
                    bytes: core::array::from_fn(|i| cell.usage[i].bytes.load(Ordering::Relaxed)),
                });
            }
        }
        rows
    }

    /// Whether a decision of generation `generation` may replace what the record holds: never an older one a newer.
    pub fn may_replace(record: &Record, generation: Generation) -> bool {
        generation >= record.decided_in
    }

    fn hash(&self, tuple: &Tuple) -> u64 {
        self.hasher.hash_one(tuple)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        // Nothing panics while a shard is locked in a half-changed state, so a poisoned one is whole.
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks two shards, or one when they are the same, always in index order: the order is what prevents deadlock.
    fn lock_two(&self, a: usize, b: usize) -> Two<'_> {
        let (low, high) = (a.min(b), a.max(b));
        let first = self.lock(low);
        let second = (low != high).then(|| self.lock(high));
        Two { low, first, second }
    }
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
