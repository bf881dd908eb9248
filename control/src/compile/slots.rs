//! Decides which number stands for which thing, over all compilations. It never gives a number to something else before it rested.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Numbers for things of one sort. A thing that goes and comes back finds its number, as long as nothing else needed it.
#[derive(Debug)]
pub(super) struct Slots<K> {
    entries: HashMap<K, Entry>,
    /// Things that went, the earliest first, with the round they went in.
    resting: VecDeque<(K, u64)>,
    next: u32,
    /// Below this many numbers none is given out a second time.
    plenty: u32,
    /// Rounds that a number rests at least.
    rest: u64,
    round: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    released: Option<u64>,
}

impl<K: Eq + Hash + Clone> Slots<K> {
    pub(super) fn new(plenty: u32, rest: u64) -> Self {
        Self {
            entries: HashMap::new(),
            resting: VecDeque::new(),
            next: 0,
            plenty,
            rest,
            round: 0,
        }
    }

    /// A new compilation begins.
    pub(super) fn begin_round(&mut self) {
        self.round += 1;
    }

    /// The number of this thing. `may_reuse` is asked before a number changes hands.
    pub(super) fn acquire(&mut self, key: &K, mut may_reuse: impl FnMut(u32) -> bool) -> u32 {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.released = None;
            return entry.slot;
        }
        let slot = self.rested(&mut may_reuse).unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.entries.insert(key.clone(), Entry { slot, released: None });
        slot
    }

    /// The thing is gone.
    pub(super) fn release(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.released.is_none()) {
            entry.released = Some(self.round);
            self.resting.push_back((key.clone(), self.round));
        }
    }

    /// Releases all things but these.
    pub(super) fn keep(&mut self, wanted: impl Fn(&K) -> bool) {
        let live = self.entries.iter().filter(|(_, entry)| entry.released.is_none());
        let gone: Vec<K> = live.map(|(key, _)| key).filter(|key| !wanted(key)).cloned().collect();
        gone.iter().for_each(|key| self.release(key));
    }

    fn rested(&mut self, may_reuse: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        if self.next < self.plenty {
            return None;
        }
        for _ in 0..self.resting.len().min(64) {
            if self.round - self.resting.front()?.1 <= self.rest {
                return None;
            }
            let (key, since) = self.resting.pop_front()?;
            let Some(entry) = self
                .entries
                .get(&key)
                .copied()
                .filter(|entry| entry.released == Some(since))
            else {
                continue; // came back meanwhile
            };
            if may_reuse(entry.slot) {
                self.entries.remove(&key);
                return Some(entry.slot);
            }
            self.entries.insert(
                key.clone(),
                Entry {
                    released: Some(self.round),
                    ..entry
                },
            );
            self.resting.push_back((key, self.round));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_rests_before_it_changes_hands() {
        let mut slots = Slots::new(1, 2);
        assert_eq!(slots.acquire(&"a", |_| true), 0);
        slots.release(&"a");
        assert_eq!(slots.acquire(&"b", |_| true), 1, "released in this very round");
        for _ in 0..3 {
            slots.begin_round();
        }
        assert_eq!(slots.acquire(&"c", |_| false), 2, "its keeper still needs it");
        for _ in 0..3 {
            slots.begin_round();
        }
        assert_eq!(slots.acquire(&"d", |_| true), 0);
        assert_eq!(slots.acquire(&"a", |_| true), 3, "too late to come back");
    }

    #[test]
    fn what_comes_back_in_time_finds_its_number() {
        let mut slots = Slots::new(8, 2);
        let first = slots.acquire(&"a", |_| true);
        slots.keep(|_| false);
        for _ in 0..10 {
            slots.begin_round();
        }
        assert_eq!(slots.acquire(&"b", |_| true), 1, "plenty of fresh numbers");
        assert_eq!(slots.acquire(&"a", |_| true), first);
    }

    proptest! {
        #[test]
        fn no_two_live_things_share_a_number(steps in proptest::collection::vec((0u8..12, 0u8..3), 0..200)) {
            let mut slots = Slots::new(2, 1);
            let mut live: HashMap<u8, u32> = HashMap::new();
            for (key, step) in steps {
                match step {
                    0 => {
                        let slot = slots.acquire(&key, |_| true);
                        prop_assert!(live.get(&key).is_none_or(|known| *known == slot));
                        live.insert(key, slot);
                    }
                    1 => {
                        slots.release(&key);
                        live.remove(&key);
                    }
                    _ => slots.begin_round(),
                }
                let mut numbers: Vec<_> = live.values().collect();
                numbers.sort();
                numbers.dedup();
                prop_assert_eq!(numbers.len(), live.len());
            }
        }
    }
}
