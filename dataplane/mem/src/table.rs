//! Decides where large tables live: aligned, and on huge pages where the kernel has some. It never grows.

use crate::pool::{HUGE_PAGE, advise_huge_pages};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

/// A fixed number of values, visited in random order: on ordinary pages, a large one misses the TLB at each visit.
pub struct Table<T: Copy> {
    base: NonNull<T>,
    len: usize,
    /// The largest power of two that is not above `len`, less one.
    mask: usize,
    layout: Layout,
}

// SAFETY: a table owns its values, as a `Box<[T]>` does.
unsafe impl<T: Copy + Send> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Sync> Sync for Table<T> {}

impl<T: Copy> Table<T> {
    /// `len` copies of `value`; at least one.
    ///
    /// # Panics
    /// More bytes than an address space has.
    pub fn new(len: usize, value: T) -> Self {
        let len = len.max(1);
        let plain = Layout::array::<T>(len).expect("a table fits into the address space");
        let align = if plain.size() >= HUGE_PAGE {
            HUGE_PAGE
        } else {
            plain.align()
        };
        let layout = plain.align_to(align).expect("a huge page is no unusual alignment");
        assert!(layout.size() > 0, "values of a table have a size");
        // SAFETY: the layout's size is not zero.
        let Some(base) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        advise_huge_pages(base, layout.size());
        let base = base.cast::<T>();
        for n in 0..len {
            // SAFETY: `len` values fit into the layout, which is aligned for them.
            unsafe { base.add(n).write(value) };
        }
        let mask = (1 << len.ilog2()) - 1;
        Self {
            base,
            len,
            mask,
            layout,
        }
    }

    /// The value at `n`, counted round and round in a table whose length is a power of two; in any other, in its first ones that are.
    /// There is no bound that one could miss, so none is checked.
    #[inline(always)]
    pub fn round(&self, n: usize) -> &T {
        // SAFETY: `mask` is below `len` and never changes, so what it masks is the number of a value.
        unsafe { self.base.add(n & self.mask).as_ref() }
    }

    /// The same, to write.
    #[inline(always)]
    pub fn round_mut(&mut self, n: usize) -> &mut T {
        // SAFETY: as in `round`, and `self` is borrowed exclusively.
        unsafe { self.base.add(n & self.mask).as_mut() }
    }
}

impl<T: Copy> Deref for Table<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` values were written in `new`, and are ours.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Table<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`; the values need no drop.
        unsafe { dealloc(self.base.as_ptr().cast(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_round_and_round_stays_inside() {
        for len in 1..40usize {
            let mut table = Table::new(len, 0usize);
            for n in 0..len {
                table[n] = n;
            }
            let round = if len.is_power_of_two() {
                len
            } else {
                len.next_power_of_two() / 2
            };
            for n in (0..200).chain([usize::MAX - 1, usize::MAX]) {
                assert_eq!(*table.round(n), n % round, "{n} of {len}");
                assert_eq!(*table.round_mut(n), n % round, "{n} of {len}");
            }
        }
    }
}
