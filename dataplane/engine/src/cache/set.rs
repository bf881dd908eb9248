//! Which of the eight places of a hash may have its entry, without reading one. It never knows keys.

pub(super) const WAYS: usize = 8;

/// What tells the entries of one hash apart, in half a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Set {
    // Sixteen bits each, 0 for an empty place.
    tags: [u64; WAYS / 4],
    age: [u8; WAYS],
}

impl Set {
    pub(super) const EMPTY: Self = Self {
        tags: [0; WAYS / 4],
        age: [0; WAYS],
    };

    /// The ways whose tags may be this hash's, a bit for each (its tag's highest); the lowest one is right.
    ///
    /// Four tags at a time: what is zero after the exclusive or borrows from its highest bit. A tag above a right one may seem right by that
    /// borrow, if it differs in the lowest bit alone; keys are compared anyway.
    #[inline(always)]
    pub(super) fn matches(&self, hash: u64) -> u128 {
        const LOWEST: u64 = 0x0001_0001_0001_0001;
        const HIGHEST: u64 = LOWEST << 15;
        let tag = u64::from(tag(hash)) * LOWEST;
        let zeros = |tags: u64| {
            let differ = tags ^ tag;
            differ.wrapping_sub(LOWEST) & !differ & HIGHEST
        };
        let [low, high] = self.tags;
        u128::from(zeros(high)) << 64 | u128::from(zeros(low))
    }

    /// The way for a new entry: an empty one, else the one that is longest there.
    pub(super) fn vacant(&self) -> usize {
        let empty = (0..WAYS).find(|way| self.tag(*way) == 0);
        empty.unwrap_or_else(|| (0..WAYS).max_by_key(|way| self.age[*way]).unwrap_or(0))
    }

    /// The way is taken for this hash, just now.
    pub(super) fn occupy(&mut self, way: usize, hash: u64) {
        for (w, age) in self.age.iter_mut().enumerate() {
            *age = if w == way { 0 } else { age.saturating_add(1) };
        }
        self.set_tag(way, tag(hash));
    }

    /// The way is empty.
    pub(super) fn leave(&mut self, way: usize) {
        self.set_tag(way, 0);
    }

    fn tag(&self, way: usize) -> u16 {
        (self.tags[way / 4] >> (16 * (way % 4))) as u16
    }

    fn set_tag(&mut self, way: usize, tag: u16) {
        let (word, shift) = (&mut self.tags[way / 4], 16 * (way % 4));
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }
}

#[inline(always)]
pub(super) fn first(ways: u128) -> Option<usize> {
    (ways != 0).then(|| ways.trailing_zeros() as usize / 16)
}

/// Never 0, which marks an empty place.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16 | 1
}
