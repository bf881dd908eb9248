//! Decides how frames move by io_uring: one multishot read waits at each tap and takes a provided buffer a frame; writes
//! are submitted by the call that also collects what came. It never looks into a frame.

use crate::Way;
use crate::taps::{LARGEST, Taps};
use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers: how many, a power of two, and of which size. A read that finds none ends, and is begun anew.
#[derive(Clone, Copy)]
pub(crate) struct Buffers {
    count: u16,
    size: usize,
}

/// What a tap needs: whatever comes next may be a super-frame. Four megabytes of them.
pub(crate) const LARGE: Buffers = Buffers {
    count: 64,
    size: LARGEST,
};
/// As few as stay in the nearest caches, as a pool that hands out first what came back last has them.
pub(crate) const FEW: Buffers = Buffers {
    count: 4,
    size: LARGEST,
};
/// What small frames need.
pub(crate) const SMALL: Buffers = Buffers {
    count: 1024,
    size: 2048,
};

const ENTRIES: u32 = 2048;
const GROUP: u16 = 0;
const PAGE: usize = 4096;
const GET_EVENTS: u32 = 1;
/// In `user_data`: a write, of the buffer in the lower bits; otherwise a read, from the tap in them.
const WRITE: u64 = 1 << 32;

pub(crate) struct Ring {
    // Before the memory that it uses.
    ring: IoUring,
    taps: Taps,
    memory: Vec<u8>,
    provided: Provided,
    size: usize,
}

impl Ring {
    pub(crate) fn new(taps: Taps, buffers: Buffers) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(2 * ENTRIES)
            .build(ENTRIES)
            .map_err(|err| {
                io::Error::other(format!(
                    "cannot set io_uring up: {err}. It needs Linux 6.1, and to be allowed (kernel.io_uring_disabled)"
                ))
            })?;
        ring.submitter().register_files(&taps.raw())?;
        let memory = vec![0; usize::from(buffers.count) * buffers.size];
        let mut provided = Provided::new(buffers.count);
        // SAFETY: the entries are aligned to a page, as many as said, and freed after the ring (order of fields).
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(provided.entries.as_ptr() as u64, buffers.count, GROUP, 0)?;
        }
        for id in 0..buffers.count {
            provided.put(&memory, buffers.size, id);
        }
        provided.publish();
        let mut way = Self {
            ring,
            memory,
            provided,
            size: buffers.size,
            taps,
        };
        for tap in 0..way.taps.len() {
            push(&mut way.ring.submission(), &read(tap as u32))?;
        }
        way.enter(0)?;
        Ok(way)
    }

    /// Submits what is queued, and collects what came; waits until there is `least`.
    fn enter(&mut self, least: u32) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed.
        let entered = unsafe { self.ring.submitter().enter::<()>(queued, least, GET_EVENTS, None) };
        entered.map(drop)
    }

    /// Handles all completions; how many frames came and how many were written. What came is written, or dropped.
    fn complete(&mut self, write: bool) -> io::Result<(usize, usize)> {
        let (mut came, mut written) = (0, 0);
        let (_, mut queue, completions) = self.ring.split();
        for done in completions {
            let (result, data) = (done.result(), done.user_data());
            if data & WRITE != 0 {
                failed(result)?;
                written += 1;
                self.provided.put(&self.memory, self.size, data as u16);
                continue;
            }
            if !cqueue::more(done.flags()) {
                push(&mut queue, &read(data as u32))?;
            }
            if result == -libc::ENOBUFS {
                continue;
            }
            failed(result)?;
            let Some(id) = cqueue::buffer_select(done.flags()) else {
                continue;
            };
            came += 1;
            if !write {
                self.provided.put(&self.memory, self.size, id);
                continue;
            }
            let bytes = &self.memory[usize::from(id) * self.size..][..result as usize];
            let to = (data as u32 + 1) % self.taps.len() as u32;
            let entry = opcode::Write::new(Fixed(to), bytes.as_ptr(), bytes.len() as u32)
                .offset(u64::MAX)
                .build()
                .user_data(WRITE | u64::from(id));
            push(&mut queue, &entry)?;
        }
        self.provided.publish();
        Ok((came, written))
    }
}

impl Way for Ring {
    fn taps(&self) -> &Taps {
        &self.taps
    }

    fn forward(&mut self, frames: usize) -> io::Result<()> {
        let mut done = 0;
        while done < frames {
            self.enter(0)?;
            done += self.complete(true)?.1;
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        loop {
            self.enter(1)?;
            if self.complete(false)?.0 > 0 {
                return Ok(());
            }
        }
    }
}

fn read(tap: u32) -> squeue::Entry {
    opcode::ReadMulti::new(Fixed(tap), 0, GROUP)
        .offset(u64::MAX)
        .build()
        .user_data(u64::from(tap))
}

fn push(queue: &mut squeue::SubmissionQueue<'_>, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: reads go to provided buffers, and a written one is provided again only after its completion; both outlive
    // the ring.
    unsafe { queue.push(entry) }.map_err(io::Error::other)
}

fn failed(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::from_raw_os_error(-result))
    } else {
        Ok(())
    }
}

/// The ring of provided buffers that the kernel takes from.
struct Provided {
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: u16,
}

impl Provided {
    fn layout(count: u16) -> Layout {
        let entries = Layout::array::<BufRingEntry>(usize::from(count)).and_then(|l| l.align_to(PAGE));
        entries.expect("a few thousand entries have a layout")
    }

    fn new(count: u16) -> Self {
        let layout = Self::layout(count);
        // SAFETY: the layout has a size.
        let Some(entries) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        Self {
            entries: entries.cast(),
            count,
            tail: 0,
        }
    }

    /// Provides buffer `id` of `memory`, once it is published.
    fn put(&mut self, memory: &[u8], size: usize, id: u16) {
        let buffer = &memory[usize::from(id) * size..][..size];
        // SAFETY: the mask keeps the place within the ring, and the kernel does not read beyond the published tail. Fields
        // are set one by one, as the first entry's last one is the tail.
        let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & (self.count - 1))) };
        entry.set_addr(buffer.as_ptr() as u64);
        entry.set_len(size as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the pointer leads to the first entry, whose tail is an aligned integer shared with the kernel.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the ring that used it was closed before.
        unsafe { dealloc(self.entries.as_ptr().cast(), Self::layout(self.count)) };
    }
}
