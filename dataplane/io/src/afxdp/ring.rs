//! Decides how entries cross a ring shared with the kernel: one side produces, the other consumes. It never makes a
//! system call, and runs as well over ordinary memory.

use crate::Level;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, fence};

/// Where the parts of a ring lie.
pub(super) struct Parts<T> {
    pub(super) producer: NonNull<AtomicU32>,
    pub(super) consumer: NonNull<AtomicU32>,
    pub(super) flags: NonNull<AtomicU32>,
    pub(super) entries: NonNull<T>,
    /// A power of two.
    pub(super) size: u32,
    /// What keeps the memory alive.
    pub(super) _backing: Box<dyn Send>,
}

struct Ring<T> {
    parts: Parts<T>,
    mask: u32,
}

// SAFETY: the pointers lead into memory that the value keeps alive itself and that is not tied to a thread.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    /// # Safety
    /// As for [`Producer::new`].
    unsafe fn new(parts: Parts<T>) -> Self {
        assert!(parts.size.is_power_of_two(), "ring sizes are powers of two");
        let mask = parts.size - 1;
        Self { parts, mask }
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: `new`'s caller says the pointer is valid as long as the backing, which we own.
        unsafe { self.parts.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.parts.consumer.as_ref() }
    }

    fn entry(&self, at: u32) -> NonNull<T> {
        // SAFETY: the mask keeps the index below the number of entries.
        unsafe { self.parts.entries.add((at & self.mask) as usize) }
    }
}

/// Our end of a ring that the kernel consumes (fill, transmit).
pub(super) struct Producer<T> {
    ring: Ring<T>,
    head: u32,
    consumed: u32,
}

impl<T: Copy> Producer<T> {
    /// # Safety
    /// All pointers must be valid and aligned while `_backing` lives, with `size` entries, and nobody else may produce.
    pub(super) unsafe fn new(parts: Parts<T>) -> Self {
        // SAFETY: passed on to the caller.
        let ring = unsafe { Ring::new(parts) };
        let (head, consumed) = (
            ring.producer().load(Ordering::Relaxed),
            ring.consumer().load(Ordering::Acquire),
        );
        Self { ring, head, consumed }
    }

    /// Entries that can be pushed now, looked up anew only when fewer than `want` are known to be.
    #[inline]
    pub(super) fn room(&mut self, want: u32) -> u32 {
        let known = self
            .ring
            .parts
            .size
            .saturating_sub(self.head.wrapping_sub(self.consumed));
        if known >= want {
            return known;
        }
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.ring
            .parts
            .size
            .saturating_sub(self.head.wrapping_sub(self.consumed))
    }

    /// Writes the next entry; the kernel sees it after [`Self::publish`]. False (and nothing done) when the ring is full.
    #[inline]
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.room(1) == 0 {
            return false;
        }
        // SAFETY: the slot lies between our head and the consumer's place, so it is ours to write.
        unsafe { self.ring.entry(self.head).write(entry) };
        self.head = self.head.wrapping_add(1);
        true
    }

    /// Shows the kernel everything pushed.
    #[inline]
    pub(super) fn publish(&self) {
        self.ring.producer().store(self.head, Ordering::Release);
    }

    /// Published entries that the kernel has not consumed.
    pub(super) fn pending(&self) -> u32 {
        self.head.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// How full the ring is.
    pub(super) fn level(&self) -> Level {
        Level {
            used: self.pending(),
            size: self.ring.parts.size,
        }
    }

    /// Whether the kernel wants a system call before it looks at the ring.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        // The kernel sets the flag and then looks for entries; we must publish before we look at the flag.
        fence(Ordering::SeqCst);
        // SAFETY: as in `Ring::producer`.
        unsafe { self.ring.parts.flags.as_ref() }.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// Our end of a ring that the kernel produces (receive, completion).
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    tail: u32,
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// As for [`Producer::new`], with nobody else consuming; the entries must be initialised.
    pub(super) unsafe fn new(parts: Parts<T>) -> Self {
        // SAFETY: passed on to the caller.
        let ring = unsafe { Ring::new(parts) };
        let tail = ring.consumer().load(Ordering::Relaxed);
        Self {
            ring,
            tail,
            produced: tail,
        }
    }

    /// Whether there is something to [`Self::pop`].
    #[inline]
    pub(super) fn is_empty(&mut self) -> bool {
        if self.produced == self.tail {
            self.produced = self.ring.producer().load(Ordering::Acquire);
        }
        self.produced == self.tail
    }

    /// How full the ring is.
    pub(super) fn level(&self) -> Level {
        Level {
            used: self.ring.producer().load(Ordering::Acquire).wrapping_sub(self.tail),
            size: self.ring.parts.size,
        }
    }

    /// Reads the next entry; its slot is the kernel's again after [`Self::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the slot lies between our tail and the producer's place, so the kernel has written it and waits.
        let entry = unsafe { self.ring.entry(self.tail).read() };
        self.tail = self.tail.wrapping_add(1);
        Some(entry)
    }

    /// Hands the slots of everything popped back.
    #[inline]
    pub(super) fn release(&self) {
        self.ring.consumer().store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use core::cell::UnsafeCell;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;

    struct Plain {
        words: [AtomicU32; 3],
        entries: Vec<UnsafeCell<u64>>,
    }

    // SAFETY: entries are reached through the rings' protocol only.
    unsafe impl Sync for Plain {}

    /// Both ends of a ring over ordinary memory, whose indices begin at `at`.
    pub(in super::super) fn ring(size: u32, at: u32) -> (Producer<u64>, Consumer<u64>) {
        let plain = Arc::new(Plain {
            words: [AtomicU32::new(at), AtomicU32::new(at), AtomicU32::new(0)],
            entries: (0..size).map(|_| UnsafeCell::new(0)).collect(),
        });
        let parts = || Parts {
            producer: NonNull::from(&plain.words[0]),
            consumer: NonNull::from(&plain.words[1]),
            flags: NonNull::from(&plain.words[2]),
            entries: NonNull::new(UnsafeCell::raw_get(plain.entries.as_ptr())).unwrap(),
            size,
            _backing: Box::new(Arc::clone(&plain)),
        };
        // SAFETY: the parts belong to one allocation that both keep, and each end is made once.
        unsafe { (Producer::new(parts()), Consumer::new(parts())) }
    }

    /// What the kernel's end says: whether it wants a system call.
    pub(in super::super) fn ask(producer: &Producer<u64>, wanted: bool) {
        // SAFETY: as in `Ring::producer`.
        let flags = unsafe { producer.ring.parts.flags.as_ref() };
        flags.store(u32::from(wanted) * libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
    }

    proptest! {
        #[test]
        fn behaves_as_a_bounded_queue(
            bits in 0u32..5, at: u32, steps in proptest::collection::vec((any::<bool>(), 0u32..20), 0..100),
        ) {
            let size = 1 << bits;
            let (mut producer, mut consumer) = ring(size, at);
            let (mut twin, mut next) = (VecDeque::new(), 0u64);
            for (push, count) in steps {
                for _ in 0..count {
                    if push {
                        let room = twin.len() < size as usize;
                        prop_assert_eq!(producer.push(next), room);
                        if room {
                            twin.push_back(next);
                        }
                        next += 1;
                    } else {
                        prop_assert_eq!(consumer.pop(), twin.pop_front());
                    }
                }
                producer.publish();
                consumer.release();
                prop_assert_eq!(producer.pending() as usize, twin.len());
                let level = Level { used: twin.len() as u32, size };
                prop_assert_eq!((producer.level(), consumer.level()), (level, level));
                prop_assert_eq!(producer.room(u32::MAX) as usize, size as usize - twin.len());
                prop_assert_eq!(consumer.is_empty(), twin.is_empty());
            }
        }
    }

    #[test]
    fn two_threads_pass_everything_in_order() {
        const COUNT: u64 = if cfg!(miri) { 300 } else { 200_000 };
        let (mut producer, mut consumer) = ring(8, u32::MAX - 5);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..COUNT {
                    while !producer.push(n) {
                        producer.publish();
                        std::thread::yield_now();
                    }
                    producer.publish();
                }
            });
            let mut want = 0;
            while want < COUNT {
                match consumer.pop() {
                    Some(got) => {
                        assert_eq!(got, want);
                        want += 1;
                    }
                    None => std::thread::yield_now(),
                }
                consumer.release();
            }
        });
    }
}
