//! The table: records in one fixed array, both directions' keys in sharded maps behind short locks.

use super::record::{Direction, Life, Record, RecordId};
use super::records::{Records, RecordsError};
use super::seats::{Asked, Class, Seats};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, ENDINGS, ERAS, Keyed, Mutex, MutexGuard, Ordering, SHARDS};
use hashbrown::HashTable;
use sluice_lb::{ConnState, Timeouts};
use sluice_wire::{Generation, Scope, Tuple};
use std::hash::BuildHasher;
use std::sync::PoisonError;

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
    /// The port that opens it has as many as it may, all of them established.
    OverQuota,
    /// No record is free, and nobody has to make room for this port.
    Full,
}

/// How often a place that was to be freed may be gone already, before the table counts as full.
const EVICTIONS: usize = 4;

/// All connections of the node; shared by the workers.
pub struct ConnectionTable {
    pub(super) records: Records,
    pub(super) shards: Box<[Mutex<Shard>]>,
    pub(super) seats: Seats,
    hasher: Keyed,
    eras: Box<[AtomicU32]>,
    pub(super) endings: Box<[AtomicU32; ENDINGS]>,
    pub(super) timeouts: Timeouts,
    pub(super) sweep_at: AtomicUsize,
    live: AtomicU32,
    pub(super) expired: AtomicU64,
}

impl ConnectionTable {
    /// Room for `capacity` connections; the hash is keyed anew at each start.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn new(capacity: u32, timeouts: Timeouts) -> Result<Self, RecordsError> {
        let per_shard = 2 * capacity as usize / SHARDS + 16;
        Ok(Self {
            records: Records::create(capacity)?,
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Shard::with_capacity(per_shard)))
                .collect(),
            seats: Seats::new(capacity),
            hasher: Keyed::default(),
            eras: (0..ERAS).map(|_| AtomicU32::new(0)).collect(),
            endings: Box::new(core::array::from_fn(|_| AtomicU32::new(0))),
            timeouts,
            sweep_at: AtomicUsize::new(0),
            live: AtomicU32::new(0),
            expired: AtomicU64::new(0),
        })
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
        self.records.count() as usize
    }

    /// Connections that came in by this port first; those that are just being entered included.
    pub fn held(&self, owner: Scope) -> u32 {
        self.seats.held(owner)
    }

    /// The records, to read them or to hand them on.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The connection that a packet with this tuple belongs to.
    pub fn lookup(&self, tuple: &Tuple) -> Option<(RecordId, Record, Direction)> {
        let hash = self.hash(tuple);
        let shard = self.lock(shard_of(hash));
        let key = self.find(&shard, hash, tuple)?;
        let (id, record) = self.read(key.index)?;
        Some((id, record, key.direction))
    }

    /// Changes whenever a connection to which packets with this tuple may belong is entered or taken out, and sometimes
    /// otherwise. Who looked one up after reading it need not look again while it stays.
    #[inline]
    pub fn era(&self, tuple: &Tuple) -> u32 {
        self.eras[era_of(self.hash(tuple))].load(Ordering::Acquire)
    }

    /// Enters both keys of a connection, or neither. Complete before it returns, so that a reply that arrives at another
    /// worker finds it. The port that opens it may hold `quota`; a connection that had to make room is given to `evicted`.
    pub fn insert(
        &self,
        record: &Record,
        state: ConnState,
        now_ns: u64,
        quota: u32,
        evicted: impl FnMut(&Record),
    ) -> Inserted {
        let index = match self.seats.ask(record.owner, quota, |index| self.id(index)) {
            Asked::Free(index) => index,
            // Nobody makes room for what cannot be entered.
            asked => match self.in_the_way(record) {
                Some(found) => return found,
                None => match self.make_room(asked, record.owner, quota, evicted) {
                    Ok(index) => index,
                    Err(refused) => return refused,
                },
            },
        };
        let inserted = self.enter(index, record, state, now_ns);
        if !matches!(inserted, Inserted::Won(_)) {
            self.seats.leave(index);
        }
        inserted
    }

    /// Without a shard locked, since another connection's shards are locked to take it out.
    fn make_room(
        &self,
        mut asked: Asked,
        owner: Scope,
        quota: u32,
        mut evicted: impl FnMut(&Record),
    ) -> Result<u32, Inserted> {
        for _ in 0..EVICTIONS {
            match asked {
                Asked::Free(index) => return Ok(index),
                Asked::Evict(id, class) => {
                    let same = |state| class == Class::Established || class_of(state) == class;
                    if let Some(record) = self.take_out(id, Some(owner), same) {
                        evicted(&record);
                        return Ok(id.index);
                    }
                }
                Asked::OverQuota => return Err(Inserted::OverQuota),
                Asked::Full => return Err(Inserted::Full),
            }
            asked = self.seats.ask(owner, quota, |index| self.id(index));
        }
        Err(Inserted::Full)
    }

    fn in_the_way(&self, record: &Record) -> Option<Inserted> {
        if let Some((id, found, _)) = self.lookup(&record.original) {
            return Some(Inserted::Lost(id, found));
        }
        self.lookup(&record.reply).map(|_| Inserted::ReplyTaken)
    }

    fn enter(&self, index: u32, record: &Record, state: ConnState, now_ns: u64) -> Inserted {
        let (original, reply) = (self.hash(&record.original), self.hash(&record.reply));
        let (first, second) = (shard_of(original), shard_of(reply));
        let mut locks = self.lock_two(first, second);
        if let Some(key) = self.find(locks.get(first), original, &record.original) {
            let found = self.read(key.index);
            return found.map_or(Inserted::Full, |(id, record)| Inserted::Lost(id, record));
        }
        if self.find(locks.get(second), reply, &record.reply).is_some() {
            return Inserted::ReplyTaken;
        }
        let Some(cell) = self.records.cell(index) else {
            return Inserted::Full;
        };
        cell.store(record, now_ns);
        let life = Life {
            incarnation: cell.life().incarnation,
            state: Some(state),
            cut: false,
        };
        // Last: whoever sees it live, such as the sweep, must see its times too.
        cell.set_life(life);
        for (shard, hash, direction) in [
            (first, original, Direction::Original),
            (second, reply, Direction::Reply),
        ] {
            locks
                .get_mut(shard)
                .insert_unique(hash, Key { index, direction }, |key| self.rehash(key));
            self.eras[era_of(hash)].fetch_add(1, Ordering::Release);
        }
        self.seats.enter(index, class_of(state));
        self.live.fetch_add(1, Ordering::Relaxed);
        Inserted::Won(RecordId {
            index,
            incarnation: life.incarnation,
        })
    }

    /// Takes a connection out; what it was, for the caller who removed it (nobody else gets it).
    pub fn remove(&self, id: RecordId) -> Option<Record> {
        self.take_out(id, None, |_| true)
    }

    /// Takes a connection out, if its state is one of `these` still, and gives its place to `heir`, or else back.
    fn take_out(&self, id: RecordId, heir: Option<Scope>, these: impl Fn(ConnState) -> bool) -> Option<Record> {
        let cell = self.records.cell(id.index)?;
        let record = cell.load();
        let (original, reply) = (self.hash(&record.original), self.hash(&record.reply));
        let (first, second) = (shard_of(original), shard_of(reply));
        let mut locks = self.lock_two(first, second);
        // Read again under the locks: another worker may have removed it, and the place may have been taken anew.
        if cell.life().incarnation != id.incarnation || cell.load() != record {
            return None;
        }
        let over = |life: Life| Life {
            incarnation: life.incarnation.wrapping_add(1),
            state: None,
            cut: false,
        };
        // In one step with the question: a packet may establish meanwhile what was to be evicted unanswered.
        let ends = |life: Life| {
            if life.state.is_some_and(&these) {
                over(life)
            } else {
                life
            }
        };
        let (before, after) = cell.change_life(id.incarnation, ends)?;
        if after == before {
            return None;
        }
        self.note_ending(id.index);
        for (shard, hash, direction) in [
            (first, original, Direction::Original),
            (second, reply, Direction::Reply),
        ] {
            let found = locks
                .get_mut(shard)
                .find_entry(hash, |k| k.index == id.index && k.direction == direction);
            if let Ok(entry) = found {
                entry.remove();
            }
        }
        for hash in [original, reply] {
            self.eras[era_of(hash)].fetch_add(1, Ordering::Release);
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
        match heir {
            Some(owner) => self.seats.pass_on(id.index, owner),
            None => self.seats.leave(id.index),
        }
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

    fn id(&self, index: u32) -> Option<RecordId> {
        let incarnation = self.records.life(index)?.incarnation;
        Some(RecordId { index, incarnation })
    }

    fn read(&self, index: u32) -> Option<(RecordId, Record)> {
        Some((self.id(index)?, self.records.cell(index)?.load()))
    }

    fn find(&self, shard: &Shard, hash: u64, tuple: &Tuple) -> Option<Key> {
        let same = |key: &Key| self.arriving(key) == Some(*tuple);
        shard.find(hash, same).copied()
    }

    fn arriving(&self, key: &Key) -> Option<Tuple> {
        self.records.cell(key.index).map(|cell| cell.arriving(key.direction))
    }

    fn rehash(&self, key: &Key) -> u64 {
        self.arriving(key).map_or(0, |tuple| self.hash(&tuple))
    }

    pub(crate) fn hash(&self, tuple: &Tuple) -> u64 {
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
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

pub(super) fn class_of(state: ConnState) -> Class {
    if state.is_expendable() {
        Class::Expendable
    } else {
        Class::Established
    }
}
