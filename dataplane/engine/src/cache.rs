//! A worker's private flow cache: bounded, disposable, four places for each hash.

use crate::action::Action;
use crate::connection::{Direction, RecordId};
use sluice_snapshot::Deps;
use sluice_wire::{FlowKey, Generation};

const WAYS: usize = 4;

/// The connection that an entry belongs to, and what is to be reported to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) record: RecordId,
    pub(crate) direction: Direction,
    /// Clock tick in which the record last heard of this entry.
    pub(crate) tick: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u64,
}

/// What an entry rests on besides the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Basis {
    /// A connection allows it.
    Connection(Link),
    /// Policy allows neither the connection that there is, nor one to begin. Holds while the table's era for the tuple does: another
    /// connection may come to which the same packets are replies, and with the one that is denied its backend goes.
    Denial { era: u32 },
}

impl Basis {
    fn link(self) -> Option<Link> {
        match self {
            Self::Connection(link) => Some(link),
            Self::Denial { .. } => None,
        }
    }
}

/// One decided direction of one flow, as seen at one ingress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: FlowKey,
    pub(crate) generation: Generation,
    pub(crate) deps: Deps,
    pub(crate) action: Action,
    pub(crate) basis: Basis,
}

#[derive(Clone, Copy)]
struct Set {
    // Tags in front, so that a miss reads one line.
    tags: [u32; WAYS],
    age: [u8; WAYS],
}

const EMPTY: Set = Set {
    tags: [0; WAYS],
    age: [0; WAYS],
};

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

pub(crate) struct FlowCache {
    sets: Box<[Set]>,
    entries: Box<[Option<Entry>]>,
    mask: u64,
}

impl FlowCache {
    /// Room for at least `flows` entries, a power of two.
    pub(crate) fn new(flows: usize) -> Self {
        let sets = (flows / WAYS).next_power_of_two().max(16);
        Self {
            sets: vec![EMPTY; sets].into_boxed_slice(),
            entries: vec![None; sets * WAYS].into_boxed_slice(),
            mask: sets as u64 - 1,
        }
    }

    /// Asks the processor for the set that this hash belongs to.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let set = (hash & self.mask) as usize;
        sluice_mem::prefetch(&self.sets[set]);
        sluice_mem::prefetch(&self.entries[set * WAYS]);
    }

    /// The connection that the entry at `place` rests on.
    #[inline]
    pub(crate) fn record_at(&self, place: Place) -> Option<RecordId> {
        let entry = self.entries.get(place.0 as usize)?.as_ref()?;
        entry.basis.link().map(|link| link.record)
    }

    #[inline]
    pub(crate) fn find(&self, key: &FlowKey, hash: u64) -> Option<Place> {
        let set = (hash & self.mask) as usize;
        let tag = tag(hash);
        (0..WAYS).find_map(|way| {
            let at = set * WAYS + way;
            (self.sets[set].tags[way] == tag && self.entries[at].as_ref().is_some_and(|e| e.key == *key))
                .then_some(Place(at as u32))
        })
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.entries.get_mut(place.0 as usize)?.as_mut()
    }

    /// Puts an entry in, replacing the one of the same key, else an empty place, else the one that is longest there.
    /// The link of an entry that had to go is returned, so that what it counted is not lost.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) -> Option<Link> {
        let set = (hash & self.mask) as usize;
        let same = self.find(&entry.key, hash).map(|p| p.0 as usize - set * WAYS);
        let ways = &mut self.sets[set];
        let way = same.unwrap_or_else(|| {
            (0..WAYS)
                .find(|w| ways.tags[*w] == 0)
                .unwrap_or_else(|| (0..WAYS).max_by_key(|w| ways.age[*w]).unwrap_or(0))
        });
        for (w, age) in ways.age.iter_mut().enumerate() {
            *age = if w == way { 0 } else { age.saturating_add(1) };
        }
        ways.tags[way] = tag(hash);
        self.entries[set * WAYS + way]
            .replace(entry)
            .and_then(|old| old.basis.link())
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Link> {
        let at = place.0 as usize;
        self.sets[at / WAYS].tags[at % WAYS] = 0;
        self.entries.get_mut(at)?.take().and_then(|old| old.basis.link())
    }

    /// Links of all entries, to report what they counted.
    pub(crate) fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.entries.iter_mut().flatten().filter_map(|e| match &mut e.basis {
            Basis::Connection(link) => Some(link),
            Basis::Denial { .. } => None,
        })
    }
}

/// Never 0, which marks an empty place.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
