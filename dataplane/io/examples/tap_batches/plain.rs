//! Decides how frames move by plain calls, as the product's taps do it: one `epoll` call a round, one `readv` or `writev` a
//! frame. It never looks into a frame.

use crate::Way;
use crate::taps::{HEADER, LARGEST, Taps};
use libc::iovec;
use sluice_io::ready::{ReadySet, Tokens};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

const SMALL: usize = 2048;
/// Frames and bytes of a burst, as the product bounds them.
const BURST: usize = 64;
const BURST_BYTES: usize = 160 * 1024;
const LARGE_BUFFERS: usize = 4;

pub(crate) struct Plain {
    taps: Taps,
    descriptors: Vec<RawFd>,
    ready: ReadySet,
    tokens: Tokens,
    heads: [[u8; HEADER]; BURST],
    small: Vec<[u8; SMALL]>,
    large: Vec<Vec<u8>>,
    expect_large: Vec<bool>,
    burst: Vec<Placed>,
}

/// Where a frame was read to: bytes in the small buffer of its number, and in that large one.
#[derive(Clone, Copy)]
struct Placed {
    small: usize,
    large: usize,
    buffer: usize,
}

impl Plain {
    pub(crate) fn new(taps: Taps) -> io::Result<Self> {
        let ready = ReadySet::new()?;
        for (n, fd) in taps.descriptors().enumerate() {
            ready.add(fd, n as u64)?;
        }
        Ok(Self {
            descriptors: taps.raw(),
            expect_large: vec![false; taps.len()],
            taps,
            ready,
            tokens: Tokens::new(),
            heads: [[0; HEADER]; BURST],
            small: vec![[0; SMALL]; BURST],
            large: vec![vec![0; LARGEST]; LARGE_BUFFERS],
            burst: Vec::with_capacity(BURST),
        })
    }
}

impl Plain {
    /// Reads a burst from this tap.
    fn read(&mut self, tap: usize) -> io::Result<()> {
        self.burst.clear();
        let (mut bytes, mut large_used) = (0, 0);
        while self.burst.len() < BURST && bytes < BURST_BYTES {
            let at = self.burst.len();
            let straight = self.expect_large[tap];
            let mut vectors = [
                vector(&mut self.heads[at]),
                vector(&mut self.small[at]),
                vector(&mut self.large[large_used]),
            ];
            if straight {
                vectors[1].iov_len = 0;
            }
            // SAFETY: each vector was made from a buffer of ours that nothing else uses during the call.
            let got = unsafe { libc::readv(self.descriptors[tap], vectors.as_ptr(), 3) };
            let Some(got) = counted(got)? else { break };
            let len = got.saturating_sub(HEADER);
            let small = len.min(vectors[1].iov_len);
            let placed = Placed {
                small,
                large: len - small,
                buffer: large_used,
            };
            self.expect_large[tap] = len > SMALL;
            large_used += usize::from(placed.large > 0);
            bytes += len;
            self.burst.push(placed);
        }
        Ok(())
    }

    /// Writes the burst to this tap.
    fn write(&mut self, tap: usize) -> io::Result<()> {
        for (at, placed) in self.burst.iter().enumerate() {
            let mut vectors = [
                vector(&mut self.heads[at]),
                vector(&mut self.small[at][..placed.small]),
                vector(&mut self.large[placed.buffer][..placed.large]),
            ];
            if placed.small == 0 {
                vectors.swap(1, 2);
            }
            let used = 1 + libc::c_int::from(placed.small > 0) + libc::c_int::from(placed.large > 0);
            // SAFETY: the vectors describe bytes of ours, which are only read.
            let put = unsafe { libc::writev(self.descriptors[tap], vectors.as_ptr(), used) };
            counted(put)?.ok_or(io::ErrorKind::WouldBlock)?;
        }
        Ok(())
    }
}

impl Way for Plain {
    fn taps(&self) -> &Taps {
        &self.taps
    }

    fn forward(&mut self, frames: usize) -> io::Result<()> {
        let mut done = 0;
        while done < frames {
            self.ready.poll(Some(Duration::ZERO), &mut self.tokens)?;
            for token in self.tokens.clone() {
                self.read(token as usize)?;
                done += self.burst.len();
                self.write((token as usize + 1) % self.taps.len())?;
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ready.poll(None, &mut self.tokens)?;
        for token in self.tokens.clone() {
            self.read(token as usize)?;
        }
        Ok(())
    }
}

fn vector(bytes: &mut [u8]) -> iovec {
    iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// What a call moved; `None` where it would have to wait.
fn counted(got: isize) -> io::Result<Option<usize>> {
    if got >= 0 {
        return Ok(Some(got as usize));
    }
    match io::Error::last_os_error() {
        err if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        err => Err(err),
    }
}
