//! Memory cut into chunks, and the pools that hand them out: one cache a worker over one shared depot.

use crate::Buf;
use crate::buf::LINK_BYTES;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use crossbeam::queue::ArrayQueue;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::Arc;

/// Where a frame's first byte lies in a fresh chunk. The kernel writes AF_XDP frames at this offset too
/// (`XDP_PACKET_HEADROOM`, include/uapi/linux/bpf.h).
pub const HEADROOM: usize = 256;

/// Chunk size for super-frames: 64 KiB of IP packet, the Ethernet header and [`HEADROOM`] fit, with some to spare.
pub const LARGE_CHUNK: usize = 66 * 1024;

const BATCH: usize = 64;
pub(crate) const PAGE: usize = 4096;
pub(crate) const HUGE_PAGE: usize = 2 << 20;
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// Why frame memory could not be made.
#[derive(Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The chunk size is no multiple of 2048, or below that.
    ChunkSize(usize),
    /// No chunks asked for, or more than 2^31 bytes.
    Count(usize),
}

impl core::fmt::Display for MemoryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ChunkSize(got) => write!(f, "chunk size {got} is no multiple of 2048 bytes"),
            Self::Count(got) => write!(f, "{got} chunks are none at all, or more than 2 GiB of frame memory"),
        }
    }
}

impl core::error::Error for MemoryError {}

#[derive(Clone, Copy)]
struct Batch {
    len: u8,
    chunks: [u32; BATCH],
}

struct Region {
    base: NonNull<u8>,
    layout: Layout,
    chunk_size: u32,
    count: u32,
    id: u32,
    depot: ArrayQueue<Batch>,
}

// SAFETY: the region's bytes are reached only through `Buf`s, each the only owner of its chunk; the rest is `Sync`.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Drop for Region {
    fn drop(&mut self) {
        let mut home = 0u32;
        while let Some(batch) = self.depot.pop() {
            home += u32::from(batch.len);
        }
        if home == self.count {
            // SAFETY: allocated with this layout in `Memory::new`; all chunks are home, so no `Buf` points here.
            unsafe { dealloc(self.base.as_ptr(), self.layout) };
        }
        // Otherwise a `Buf` may still be alive somewhere: leaking the region is what keeps it valid.
    }
}

/// Asks for transparent huge pages: frames are touched in random order, and 64 MiB of them are 16384 entries of a TLB
/// that has some 1500. A refusal costs speed only.
pub(crate) fn advise_huge_pages(base: NonNull<u8>, bytes: usize) {
    if bytes >= HUGE_PAGE && cfg!(not(miri)) {
        // SAFETY: the range was just allocated, is page-aligned, and the advice changes no byte of it.
        unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }
}

/// A region of frame memory: `count` chunks of `chunk_size` bytes. Clones are handles to the same region.
#[derive(Clone)]
pub struct Memory(Arc<Region>);

impl Memory {
    /// Allocates zeroed memory, aligned to pages (to huge ones from 2 MiB on), with every chunk in the depot.
    pub fn new(chunk_size: usize, count: usize) -> Result<Self, MemoryError> {
        if chunk_size < 2048 || !chunk_size.is_multiple_of(2048) {
            return Err(MemoryError::ChunkSize(chunk_size));
        }
        let bytes = chunk_size
            .checked_mul(count)
            .filter(|b| *b > 0 && *b <= 1 << 31)
            .ok_or(MemoryError::Count(count))?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
        let layout = Layout::from_size_align(bytes, align).map_err(|_| MemoryError::Count(count))?;
        // SAFETY: the layout's size is not zero.
        let Some(base) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        advise_huge_pages(base, bytes);
        // SAFETY: `bytes` bytes were just allocated. Zeroing them by hand touches them after the advice, so that they come
        // as huge pages.
        unsafe { base.as_ptr().write_bytes(0, bytes) };
        let depot = ArrayQueue::new(count.min(count / 16 + 1024).max(16));
        let region = Region {
            base,
            layout,
            chunk_size: chunk_size as u32,
            count: count as u32,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            depot,
        };
        let all: Vec<u32> = (0..count as u32).collect();
        for part in all.chunks(BATCH) {
            let mut batch = Batch {
                len: part.len() as u8,
                chunks: [0; BATCH],
            };
            batch.chunks[..part.len()].copy_from_slice(part);
            let pushed = region.depot.push(batch).is_ok();
            debug_assert!(pushed);
        }
        Ok(Self(Arc::new(region)))
    }

    /// Identifies the memory within the process; see [`Buf::memory`].
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Bytes in a chunk.
    pub fn chunk_size(&self) -> usize {
        self.0.chunk_size as usize
    }

    /// Chunks in all.
    pub fn count(&self) -> usize {
        self.0.count as usize
    }

    /// First byte and size of the region, to register it with the kernel (AF_XDP UMEM).
    pub fn region(&self) -> (NonNull<u8>, usize) {
        (self.0.base, self.0.layout.size())
    }

    /// Takes a chunk's ownership back from a device.
    ///
    /// # Safety
    /// The chunk must have been given away with [`Self::surrender`] on this memory, must not be in use by the device
    /// any more, and must not be adopted twice.
    pub unsafe fn adopt(&self, index: u32, start: usize, len: usize) -> Option<Buf> {
        let size = self.0.chunk_size;
        let (start, len) = (u32::try_from(start).ok()?, u32::try_from(len).ok()?);
        if index >= self.0.count || start < LINK_BYTES || start.checked_add(len)? > size {
            return None;
        }
        // SAFETY: the index is in range, and the caller says nobody else has the chunk.
        Some(unsafe { self.buf(index, start, len) })
    }

    /// Gives a chunk to a device: its number, which [`Self::adopt`] takes. Segments chained behind it must be taken off first.
    pub fn surrender(&self, buf: Buf) -> Result<u32, Buf> {
        if buf.memory() != self.0.id || buf.next().is_some() {
            return Err(buf);
        }
        Ok(buf.index())
    }

    /// # Safety
    /// As for [`Self::adopt`], with `index`, `start` and `len` in range.
    unsafe fn buf(&self, index: u32, start: u32, len: u32) -> Buf {
        let region = &self.0;
        // SAFETY: index < count, so the chunk lies within the region; it was zeroed at allocation; chunks start at
        // multiples of 2048 from a page boundary, which aligns them for `Buf`.
        unsafe {
            let chunk = region.base.add(index as usize * region.chunk_size as usize);
            Buf::from_parts(chunk, region.chunk_size, start, len, index, region.id)
        }
    }

    /// A worker's own cache over this memory.
    pub fn pool(&self) -> Pool {
        Pool {
            memory: self.clone(),
            cache: Vec::with_capacity(2 * BATCH),
        }
    }

    /// Chunks in the depot now; with every pool dropped and every frame freed this is [`Self::count`].
    pub fn home(&self) -> usize {
        let mut parked = Vec::with_capacity(self.0.depot.len());
        while let Some(batch) = self.0.depot.pop() {
            parked.push(batch);
        }
        let sum = parked.iter().map(|b| usize::from(b.len)).sum();
        for batch in parked {
            let pushed = self.0.depot.push(batch).is_ok();
            debug_assert!(pushed);
        }
        sum
    }
}

/// A worker's cache of free chunks. Refills from and spills to the depot in batches.
pub struct Pool {
    memory: Memory,
    cache: Vec<u32>,
}

impl Pool {
    /// The memory behind it.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// An empty window at [`HEADROOM`]; `None` when the memory is used up.
    #[inline(always)]
    pub fn alloc(&mut self) -> Option<Buf> {
        let index = match self.cache.pop() {
            Some(index) => index,
            None => self.refill()?,
        };
        // SAFETY: a free chunk's number is in one list only, and it has just left it.
        Some(unsafe { self.memory.buf(index, HEADROOM as u32, 0) })
    }

    #[cold]
    fn refill(&mut self) -> Option<u32> {
        let batch = self.memory.0.depot.pop()?;
        self.cache.extend_from_slice(&batch.chunks[..usize::from(batch.len)]);
        self.cache.pop()
    }

    /// Takes a chunk back; the chain behind it must be taken off first. A buffer of another memory is handed back.
    #[inline]
    pub fn free(&mut self, buf: Buf) -> Result<(), Buf> {
        let index = self.memory.surrender(buf)?;
        if self.cache.len() == 2 * BATCH {
            let mut batch = Batch {
                len: BATCH as u8,
                chunks: [0; BATCH],
            };
            let keep = self.cache.len() - BATCH;
            batch.chunks.copy_from_slice(&self.cache[keep..]);
            self.cache.truncate(keep);
            let pushed = self.memory.0.depot.push(batch).is_ok();
            debug_assert!(pushed);
        }
        self.cache.push(index);
        Ok(())
    }

    /// About how many chunks this pool could hand out now: its cache, and the depot as if all its batches were full.
    #[inline]
    pub fn about(&self) -> usize {
        self.cache.len() + self.memory.0.depot.len() * BATCH
    }

    /// Chunks in this cache.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for part in self.cache.chunks(BATCH) {
            let mut batch = Batch {
                len: part.len() as u8,
                chunks: [0; BATCH],
            };
            batch.chunks[..part.len()].copy_from_slice(part);
            let pushed = self.memory.0.depot.push(batch).is_ok();
            debug_assert!(pushed);
        }
    }
}

/// A worker's pools: ordinary frames (the memory that is registered with AF_XDP) and 64 KiB spill buffers for super-frames.
pub struct Pools {
    /// Ordinary frames.
    pub small: Pool,
    /// Super-frames.
    pub large: Pool,
}

impl Pools {
    /// Caches over the two memories.
    pub fn new(small: &Memory, large: &Memory) -> Self {
        Self {
            small: small.pool(),
            large: large.pool(),
        }
    }

    /// A buffer with room for `len` bytes: an ordinary one if they fit there.
    #[inline]
    pub fn alloc(&mut self, len: usize) -> Option<Buf> {
        if len <= self.small.memory().chunk_size() - HEADROOM {
            self.small.alloc()
        } else {
            self.large.alloc()
        }
    }

    /// Gives a frame's whole chain back.
    #[inline(always)]
    pub fn free(&mut self, buf: Buf) {
        // Most are one ordinary buffer, which goes to a list with room.
        if buf.memory() == self.small.memory.0.id && buf.next().is_none() && self.small.cache.len() < 2 * BATCH {
            self.small.cache.push(buf.index());
        } else {
            self.free_all(buf);
        }
    }

    fn free_all(&mut self, mut buf: Buf) {
        loop {
            let next = buf.take_next();
            let lost = self.small.free(buf).or_else(|buf| self.large.free(buf)).is_err();
            debug_assert!(!lost, "buffer of a memory that this worker does not know");
            match next {
                Some(rest) => buf = rest,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_comes_home_and_the_window_moves_both_ways() {
        let (small, large) = (Memory::new(2048, 128).unwrap(), Memory::new(1 << 16, 4).unwrap());
        let mut pools = Pools::new(&small, &large);
        let mut head = pools.small.alloc().unwrap();
        head.extend(4).unwrap().copy_from_slice(b"tail");
        head.push(5).unwrap().copy_from_slice(b"head ");
        assert_eq!(head.bytes(), b"head tail");
        assert!(head.pull(5) && !head.pull(5));
        for _ in 0..3 {
            let mut more = pools.large.alloc().unwrap();
            more.extend(1000).unwrap();
            head.append(more);
        }
        assert_eq!(head.total_len(), 3004);
        assert!(head.push(HEADROOM).is_none(), "the link area is no headroom");
        pools.free(head);
        drop(pools);
        assert_eq!((small.home(), large.home()), (128, 4));
    }

    #[test]
    fn used_up_memory_gives_none_and_recovers() {
        let memory = Memory::new(2048, 200).unwrap();
        let mut pool = memory.pool();
        let all: Vec<Buf> = core::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!(all.len(), 200);
        let mut seen: Vec<u32> = all.iter().map(Buf::index).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 200, "no chunk is handed out twice");
        for buf in all {
            pool.free(buf).unwrap();
        }
        drop(pool);
        assert_eq!(memory.home(), 200);
    }

    #[test]
    fn a_foreign_buffer_is_handed_back() {
        let (a, b) = (Memory::new(2048, 4).unwrap(), Memory::new(2048, 4).unwrap());
        let (mut pa, mut pb) = (a.pool(), b.pool());
        let buf = pa.alloc().unwrap();
        let buf = pb.free(buf).unwrap_err();
        pa.free(buf).unwrap();
    }
}
