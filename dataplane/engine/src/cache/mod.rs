//! A worker's private flow cache: bounded, disposable, eight places for each hash. What every packet of a flow needs is in two cache
//! lines; what decisions rest on is kept apart, once for all that rest on the same.

mod entry;
mod grounds;
mod set;

pub(crate) use entry::{Basis, Entry, Flags, Link};

use crate::counters::Events;
use core::num::NonZeroU32;
use grounds::Grounds;
use set::{Set, WAYS, first};
use sluice_mem::Table;
use sluice_snapshot::{Deps, Snapshot};
use sluice_wire::FlowWords;

/// Where an entry lies: one more than its number, so that none needs no space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    #[inline(always)]
    fn new(at: usize) -> Option<Self> {
        NonZeroU32::new(at as u32 + 1).map(Self)
    }

    #[inline(always)]
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

pub(crate) struct FlowCache {
    sets: Table<Set>,
    entries: Table<Entry>,
    grounds: Grounds,
    mask: u64,
}

impl FlowCache {
    /// Room for at least `flows` entries, a power of two.
    pub(crate) fn new(flows: usize) -> Self {
        let sets = (flows / WAYS).next_power_of_two().max(16);
        Self {
            sets: Table::new(sets, Set::EMPTY),
            entries: Table::new(sets * WAYS, Entry::EMPTY),
            grounds: Grounds::new(sets * WAYS),
            mask: sets as u64 - 1,
        }
    }

    /// Asks the processor for the set that this hash belongs to.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        sluice_mem::prefetch(self.sets.round(hash as usize));
    }

    /// Where the flow of this hash probably is; the processor is asked for the entry.
    #[inline(always)]
    pub(crate) fn candidate(&self, hash: u64) -> Option<Place> {
        let way = first(self.sets.round(hash as usize).matches(hash))?;
        let at = (hash & self.mask) as usize * WAYS + way;
        let entry = self.entries.round(at);
        sluice_mem::prefetch(entry);
        sluice_mem::prefetch(&entry.patch);
        Place::new(at)
    }

    #[inline]
    pub(crate) fn find(&self, key: &FlowWords, hash: u64) -> Option<Place> {
        let set = (hash & self.mask) as usize;
        let mut left = self.sets[set].matches(hash);
        while let Some(way) = first(left) {
            let at = set * WAYS + way;
            if self.entries[at].words() == *key {
                return Place::new(at);
            }
            left &= left - 1;
        }
        None
    }

    /// The entry there, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self, place: Place) -> Option<&Entry> {
        let entry = self.entries.round(place.index());
        entry.flags.has(Flags::PRESENT).then_some(entry)
    }

    /// Asks the processor for what this entry rests on.
    #[inline(always)]
    pub(crate) fn prefetch_ground(&self, entry: &Entry) {
        self.grounds.prefetch(entry.ground);
    }

    /// An entry that is known to be there, if it still holds under this configuration, which is noted then.
    #[inline(always)]
    pub(crate) fn renewed(&mut self, place: Place, snapshot: &Snapshot, events: &Events) -> Option<&mut Entry> {
        let entry = self.entries.round_mut(place.index());
        if entry.generation != snapshot.generation {
            if !self.grounds.hold(entry.ground, entry.generation, snapshot) {
                return None;
            }
            entry.generation = snapshot.generation;
            events.renewed.add(1);
        }
        Some(entry)
    }

    /// Puts an entry in, replacing the one of the same key, else an empty place, else the one that is longest there.
    /// The link of an entry that had to go is returned, so that what it counted is not lost.
    pub(crate) fn insert(&mut self, hash: u64, mut entry: Entry, deps: Deps) -> Option<Link> {
        let set = (hash & self.mask) as usize;
        let same = self.find(&entry.words(), hash).map(|p| p.index() - set * WAYS);
        let ways = &mut self.sets[set];
        let way = same.unwrap_or_else(|| ways.vacant());
        ways.occupy(way, hash);
        entry.ground = self.grounds.take(deps);
        let old = core::mem::replace(&mut self.entries[set * WAYS + way], entry);
        self.gone(&old)
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Link> {
        let at = place.index();
        self.sets[at / WAYS].leave(at % WAYS);
        let old = core::mem::replace(self.entries.get_mut(at)?, Entry::EMPTY);
        self.gone(&old)
    }

    /// The link of an entry that is no longer there, if there was one.
    fn gone(&mut self, old: &Entry) -> Option<Link> {
        self.grounds.give(old.ground);
        old.flags.has(Flags::PRESENT).then(|| old.link()).flatten()
    }

    /// Takes out what the entries counted.
    pub(crate) fn take_counts(&mut self) -> impl Iterator<Item = Link> {
        let counted = self.entries.iter_mut().filter(|entry| entry.packets > 0);
        counted.filter_map(|entry| entry.take_counts(entry.tick))
    }

    /// Different combinations of what entries rest on.
    #[cfg(test)]
    pub(crate) fn grounds(&self) -> usize {
        self.grounds.len()
    }
}
