//! Frames that wait until their receiver has time again. It decides who may stand in line; when they go is `budget`'s.

use super::budget::Allowance;
use sluice_engine::{Burst, Frame};
use sluice_wire::BURST;
use std::collections::VecDeque;

/// Most frames in one port's line.
const LINE: usize = 256;
/// Most of them that lie in a super-frame's memory, an eighth of what a worker has.
const LARGE_LINE: usize = 32;
/// Units in all lines of a worker together; beyond that every line is short.
const ALL_LINES: usize = 1024;
/// What a line may have then, and how many of them in a super-frame's memory.
const SHORT: usize = 16;
const LARGE_SHORT: usize = 2;
/// Longer than an ordinary frame's chunk.
const LARGE_BYTES: usize = 4096;

/// A port whose receiver runs on the worker's time: how much it may have, and what waits for it.
#[derive(Default)]
pub(super) struct Line {
    pub(super) allowance: Allowance,
    frames: VecDeque<Frame>,
    large: usize,
}

/// What a frame counts for, in memory and in time: each page of a super-frame like an ordinary frame.
pub(super) fn units(frame: &Frame) -> usize {
    frame.buf.total_len().div_ceil(LARGE_BYTES).max(1)
}

fn is_large(frame: &Frame) -> bool {
    frame.buf.total_len() > LARGE_BYTES
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            frames: VecDeque::with_capacity(LINE),
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Stands behind the others; the frame comes back when the line is full. `all` wait in all lines of the worker.
    pub(super) fn join(&mut self, frame: Frame, all: usize) -> Result<(), Frame> {
        let large = is_large(&frame);
        let (most, most_large) = if all < ALL_LINES {
            (LINE, LARGE_LINE)
        } else {
            (SHORT, LARGE_SHORT)
        };
        if self.frames.len() >= most || (large && self.large >= most_large) {
            return Err(frame);
        }
        self.large += usize::from(large);
        self.frames.push_back(frame);
        Ok(())
    }

    /// Moves the first frames into an empty burst, until they are `most` units or more.
    pub(super) fn call(&mut self, most: usize, burst: &mut Burst) {
        let mut called = 0;
        while called < most && burst.len() < BURST {
            let Some(frame) = self.frames.pop_front() else { return };
            called += units(&frame);
            self.large -= usize::from(is_large(&frame));
            burst.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mem::{Memory, Pools};
    use sluice_wire::{Meta, PortSlot};

    #[test]
    fn lines_are_bounded_and_keep_their_order() {
        let (small, large) = (
            Memory::new(2048, 512).unwrap(),
            Memory::new(sluice_mem::LARGE_CHUNK, 64).unwrap(),
        );
        let mut pools = Pools::new(&small, &large);
        let frame = |pools: &mut Pools, len: usize| {
            let pool = if len > 1900 { &mut pools.large } else { &mut pools.small };
            let mut buf = pool.alloc().unwrap();
            buf.extend(len).unwrap();
            Frame {
                buf,
                meta: Meta::from_port(PortSlot(3)),
            }
        };
        let mut line = Line::new();
        let mut joined = 0;
        while line
            .join(frame(&mut pools, 60 + joined), 0)
            .map_err(|f| pools.free(f.buf))
            .is_ok()
        {
            joined += 1;
        }
        assert_eq!((joined, line.len()), (LINE, LINE));
        let mut seen = 0;
        while !line.is_empty() {
            let mut burst = Burst::new();
            line.call(50, &mut burst);
            for frame in burst {
                assert_eq!(frame.buf.total_len(), 60 + seen);
                seen += 1;
                pools.free(frame.buf);
            }
        }
        assert_eq!(seen, LINE);
        let mut large_ones = 0;
        while line
            .join(frame(&mut pools, 60_000), 0)
            .map_err(|f| pools.free(f.buf))
            .is_ok()
        {
            large_ones += 1;
        }
        assert_eq!(large_ones, LARGE_LINE);
        // When much waits elsewhere, a new line is short.
        let mut other = Line::new();
        let mut few = 0;
        while other
            .join(frame(&mut pools, 60), ALL_LINES)
            .map_err(|f| pools.free(f.buf))
            .is_ok()
        {
            few += 1;
        }
        assert_eq!(few, SHORT);
        let mut burst = Burst::new();
        for line in [&mut line, &mut other] {
            while !line.is_empty() {
                line.call(BURST, &mut burst);
                burst.drain(..).for_each(|f| pools.free(f.buf));
            }
        }
        drop(pools);
        assert_eq!(small.home() + large.home(), small.count() + large.count());
    }
}
