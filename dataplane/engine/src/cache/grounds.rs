//! What decisions rest on: each combination once, however many entries share it, so that a new configuration is asked once for all of
//! them. Never forgets one that an entry still rests on, and never grows beyond one for each entry.

use foldhash::quality::RandomState;
use sluice_snapshot::{Deps, Snapshot, Stamps};
use sluice_wire::Generation;
use std::hash::BuildHasher;

/// One combination, in a cache line of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Ground {
    /// When something of it last changed, as far as `asked_in` knows.
    changed_in: Generation,
    asked_in: Generation,
    /// Entries that rest on it.
    entries: u32,
    /// The next one whose hash is alike, or the next one that is free.
    next: GroundId,
    deps: Deps,
}

const _: () = assert!(size_of::<Ground>() == 64);

/// One more than where it lies; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GroundId(u32);

impl GroundId {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }
}

/// All combinations that entries rest on.
pub(super) struct Grounds {
    all: Vec<Ground>,
    /// The first one of each hash.
    chains: Vec<GroundId>,
    free: GroundId,
    hasher: RandomState,
}

impl Grounds {
    /// Enough for so many entries, in memory that is touched when it is needed.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            // A new one comes before an old one goes.
            all: Vec::with_capacity(entries + 1),
            chains: vec![GroundId::NONE; (entries / 2).next_power_of_two()],
            free: GroundId::NONE,
            hasher: RandomState::default(),
        }
    }

    /// Whether nothing of it has changed since `since`.
    #[inline(always)]
    pub(super) fn hold(&mut self, id: GroundId, since: Generation, snapshot: &Snapshot) -> bool {
        let Some(ground) = self.all.get_mut(id.index()) else {
            return false;
        };
        if ground.asked_in != snapshot.generation {
            ground.ask(snapshot.generation, &snapshot.stamps);
        }
        ground.changed_in <= since
    }

    /// Asks the processor for what [`Self::hold`] reads.
    #[inline(always)]
    pub(super) fn prefetch(&self, id: GroundId) {
        if let Some(ground) = self.all.get(id.index()) {
            sluice_mem::prefetch(ground);
        }
    }

    /// One more entry rests on this.
    pub(super) fn take(&mut self, deps: Deps) -> GroundId {
        let chain = self.chain(&deps);
        let mut id = self.chains[chain];
        while let Some(ground) = self.all.get_mut(id.index()) {
            if ground.deps == deps {
                ground.entries += 1;
                return id;
            }
            id = ground.next;
        }
        let ground = Ground {
            changed_in: Generation(0),
            asked_in: Generation(0),
            entries: 1,
            next: self.chains[chain],
            deps,
        };
        let id = match self.all.get_mut(self.free.index()) {
            Some(place) => core::mem::replace(&mut self.free, core::mem::replace(place, ground).next),
            None => {
                self.all.push(ground);
                GroundId(self.all.len() as u32)
            }
        };
        self.chains[chain] = id;
        id
    }

    /// One entry less rests on it.
    pub(super) fn give(&mut self, id: GroundId) {
        let Some(ground) = self.all.get_mut(id.index()) else {
            return;
        };
        ground.entries -= 1;
        if ground.entries > 0 {
            return;
        }
        let (deps, next) = (ground.deps, core::mem::replace(&mut ground.next, self.free));
        self.free = id;
        let chain = self.chain(&deps);
        let mut before = self.chains[chain];
        if before == id {
            self.chains[chain] = next;
            return;
        }
        while let Some(ground) = self.all.get_mut(before.index()) {
            if ground.next == id {
                ground.next = next;
                return;
            }
            before = ground.next;
        }
    }

    fn chain(&self, deps: &Deps) -> usize {
        self.hasher.hash_one(deps) as usize % self.chains.len()
    }

    /// Combinations that some entry rests on.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.iter().filter(|ground| ground.entries > 0).count()
    }
}

impl Ground {
    #[cold]
    fn ask(&mut self, generation: Generation, stamps: &Stamps) {
        (self.changed_in, self.asked_in) = (stamps.latest(&self.deps), generation);
    }
}
