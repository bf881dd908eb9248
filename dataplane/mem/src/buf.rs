//! One owned window into one chunk of frame memory, with an optional chain of further ones.

use core::ptr::NonNull;

/// Bytes at the front of every chunk that hold the chain link and never frame data.
pub(crate) const LINK_BYTES: u32 = 64;

/// A window `start..start + len` of a chunk that this value alone owns.
///
/// A value is neither `Copy` nor `Clone`, so a chunk is in one place only. Dropping one loses its chunk until the
/// memory itself goes: give it back with [`crate::Pools::free`].
#[must_use = "a buffer that is dropped is lost to its pool"]
pub struct Buf {
    chunk: NonNull<u8>,
    cap: u32,
    start: u32,
    len: u32,
    index: u32,
    memory: u32,
    linked: bool,
}

// SAFETY: a `Buf` is the only owner of its chunk, as a `Box<[u8]>` would be; nothing in it is tied to a thread.
unsafe impl Send for Buf {}

impl Buf {
    /// # Safety
    /// `chunk` must point to `cap` initialised bytes, aligned for `Buf`, which nobody else reads or writes while the
    /// value lives, and `start + len <= cap` must hold with `start >= LINK_BYTES`.
    #[inline(always)]
    pub(crate) unsafe fn from_parts(
        chunk: NonNull<u8>,
        cap: u32,
        start: u32,
        len: u32,
        index: u32,
        memory: u32,
    ) -> Self {
        debug_assert!(start >= LINK_BYTES && start.checked_add(len).is_some_and(|end| end <= cap));
        Self {
            chunk,
            cap,
            start,
            len,
            index,
            memory,
            linked: false,
        }
    }

    /// The window's bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start + len <= cap` is kept by every method, and we own the chunk.
        unsafe { core::slice::from_raw_parts(self.chunk.as_ptr().add(self.start as usize), self.len as usize) }
    }

    /// The window's bytes, to write.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.chunk.as_ptr().add(self.start as usize), self.len as usize) }
    }

    /// Bytes in the window (this segment only).
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the window is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the window starts, from the chunk's first byte.
    #[inline]
    pub fn start(&self) -> usize {
        self.start as usize
    }

    /// Bytes that [`Self::push`] can still give.
    #[inline]
    pub fn headroom(&self) -> usize {
        (self.start - LINK_BYTES) as usize
    }

    /// Bytes that [`Self::extend`] can still give.
    #[inline]
    pub fn tailroom(&self) -> usize {
        (self.cap - self.start - self.len) as usize
    }

    /// Grows the window by `n` bytes at the front and returns them, whatever they held; `None` when there is no room.
    #[inline]
    pub fn push(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.headroom() {
            return None;
        }
        self.start -= n as u32;
        self.len += n as u32;
        self.bytes_mut().get_mut(..n)
    }

    /// Takes `n` bytes off the front; false (and no change) when there are fewer.
    #[inline]
    pub fn pull(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        self.start += n as u32;
        self.len -= n as u32;
        true
    }

    /// Grows the window by `n` bytes at the back and returns them, whatever they held; `None` when there is no room.
    #[inline]
    pub fn extend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        let old = self.len();
        self.len += n as u32;
        self.bytes_mut().get_mut(old..)
    }

    /// Shortens the window to `n` bytes; longer values change nothing.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.len = n as u32;
        }
    }

    /// An empty window that starts `headroom` bytes behind the lowest possible start; false when the chunk is smaller.
    #[inline]
    pub fn reset(&mut self, headroom: usize) -> bool {
        if headroom > (self.cap - LINK_BYTES) as usize {
            return false;
        }
        self.start = LINK_BYTES + headroom as u32;
        self.len = 0;
        true
    }

    /// Number of the chunk in its memory.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Which memory the chunk belongs to ([`crate::Memory::id`]).
    #[inline]
    pub fn memory(&self) -> u32 {
        self.memory
    }

    /// Appends `tail` (and its own chain) as further segments of this frame. A chain that exists already is walked:
    /// keep the last segment at hand where long chains are built.
    pub fn append(&mut self, tail: Buf) {
        if self.linked {
            let mut next = self.take_next_inner();
            next.append(tail);
            self.put_next(next);
        } else {
            self.put_next(tail);
        }
    }

    /// Takes the rest of the chain off; `None` when this is the only segment.
    pub fn take_next(&mut self) -> Option<Buf> {
        self.linked.then(|| self.take_next_inner())
    }

    /// The next segment of the chain, if there is one.
    #[inline]
    pub fn next(&self) -> Option<&Buf> {
        if !self.linked {
            return None;
        }
        // SAFETY: `linked` says that `put_next` wrote a `Buf` into the link area, which only `take_next_inner` takes out;
        // it is borrowed as long as `self`.
        Some(unsafe { &*self.chunk.as_ptr().cast::<Buf>() })
    }

    /// Bytes of all segments together.
    #[inline(always)]
    pub fn total_len(&self) -> usize {
        // Most have one.
        if self.linked { self.chain_len() } else { self.len() }
    }

    fn chain_len(&self) -> usize {
        let mut sum = self.len();
        let mut at = self;
        while let Some(next) = at.next() {
            sum += next.len();
            at = next;
        }
        sum
    }

    fn put_next(&mut self, next: Buf) {
        debug_assert!(!self.linked);
        // SAFETY: the first LINK_BYTES of a chunk are aligned for `Buf`, large enough (checked below), and outside every
        // window; we own the chunk.
        unsafe { self.chunk.as_ptr().cast::<Buf>().write(next) };
        self.linked = true;
    }

    fn take_next_inner(&mut self) -> Buf {
        debug_assert!(self.linked);
        self.linked = false;
        // SAFETY: `linked` was set, so a `Buf` was written there and not taken since; clearing the flag makes this the
        // only read that takes it.
        unsafe { self.chunk.as_ptr().cast::<Buf>().read() }
    }
}

const _: () = assert!(size_of::<Buf>() <= LINK_BYTES as usize && align_of::<Buf>() <= 64);

impl core::fmt::Debug for Buf {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Buf(memory {} chunk {} {}+{}{})",
            self.memory,
            self.index,
            self.start,
            self.len,
            if self.linked { " .." } else { "" }
        )
    }
}
