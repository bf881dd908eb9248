//! Decides which chunks the kernel has: a bit for each. It never trusts a ring to say so, because the kernel keeps some
//! chunks in none of its rings (`free_list` of an xsk pool, net/xdp/xsk_buff_pool.c).

/// Which chunks of one memory a socket holds.
pub(super) struct Held {
    words: Vec<u64>,
    count: usize,
}

impl Held {
    pub(super) fn new(chunks: usize) -> Self {
        Self {
            words: vec![0; chunks.div_ceil(64)],
            count: 0,
        }
    }

    /// Notes that the kernel gets the chunk. The caller knows that it exists and is not held.
    #[inline]
    pub(super) fn give(&mut self, index: u32) {
        if let Some(word) = self.words.get_mut(index as usize / 64) {
            debug_assert_eq!(*word >> (index % 64) & 1, 0, "chunk {index} is held already");
            *word |= 1 << (index % 64);
            self.count += 1;
        }
    }

    /// Notes that the kernel handed the chunk back; false when it did not have it.
    #[inline]
    pub(super) fn take(&mut self, index: u32) -> bool {
        let Some(word) = self.words.get_mut(index as usize / 64) else {
            return false;
        };
        let bit = 1 << (index % 64);
        let held = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(held);
        held
    }

    /// Takes any held chunk back.
    pub(super) fn take_any(&mut self) -> Option<u32> {
        let at = self.words.iter().position(|word| *word != 0)?;
        let index = at as u32 * 64 + self.words[at].trailing_zeros();
        self.take(index).then_some(index)
    }

    /// Chunks that the kernel has.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..200), 0..300)) {
            let (mut held, mut set) = (Held::new(150), BTreeSet::new());
            for (give, index) in steps {
                if !give {
                    prop_assert_eq!(held.take(index), set.remove(&index));
                } else if index < 150 && set.insert(index) {
                    held.give(index);
                }
                prop_assert_eq!(held.count(), set.len());
            }
            let rest: BTreeSet<u32> = core::iter::from_fn(|| held.take_any()).collect();
            prop_assert_eq!(rest, set);
        }
    }
}
