//! Decides what goes wrong between a worker and its device: a [`FaultPort`] around any other port drops, duplicates,
//! reorders, truncates, corrupts and stalls, as often as it is told and the same way for the same seed. It never loses count:
//! a frame is in one place, and every fault is counted.
//!
//! Towards the worker it is a wire: what it has taken is sent, whatever it does to it afterwards, so the worker's books
//! balance as if a real wire had eaten the frame.

mod damage;
mod rates;
#[cfg(test)]
mod tests;

pub use rates::{ALWAYS, FaultCounts, Faults};

use crate::ready::{ReadySet, Tokens};
use crate::{Burst, Caps, Frame, Occupancy, PacketIo, Received, Recycled, Sent, Stats};
use damage::Dice;
use rates::count;
use sluice_mem::Pools;
use sluice_wire::BURST;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// Frames that may be under way in each direction: a burst that waits, and another with as many copies.
const ROOM: usize = 4 * BURST;
/// Longest stall, in calls.
const LONGEST_STALL: u64 = 64;

/// One direction.
struct Line {
    waiting: VecDeque<Frame>,
    /// Lets the next frame pass.
    late: Option<Frame>,
    stalled: u64,
}

impl Line {
    fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(ROOM),
            late: None,
            stalled: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.late.is_none()
    }

    fn free(&mut self, pools: &mut Pools) {
        for frame in self.waiting.drain(..).chain(self.late.take()) {
            pools.free(frame.buf);
        }
    }
}

/// A port with something wrong.
pub struct FaultPort {
    inner: Box<dyn PacketIo>,
    /// The inner port's readiness, and a waker for what waits here; `None` where the inner port must be asked.
    ready: Option<ReadySet>,
    inbound: Line,
    outbound: Line,
    chance: Chance,
}

struct Chance {
    faults: Faults,
    dice: Dice,
    counts: Arc<FaultCounts>,
}

impl FaultPort {
    /// Puts faults in front of `inner`. `salt` tells queues of one seed apart.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(inner: Box<dyn PacketIo>, faults: Faults, salt: u64, counts: Arc<FaultCounts>) -> std::io::Result<Self> {
        let ready = match inner.readiness() {
            Some(fd) => {
                let set = ReadySet::new()?;
                set.add(fd, 0)?;
                Some(set)
            }
            None => None,
        };
        Ok(Self {
            inner,
            ready,
            inbound: Line::new(),
            outbound: Line::new(),
            chance: Chance {
                faults,
                dice: Dice::new(faults.seed, salt),
                counts,
            },
        })
    }

    /// Hands what is on the line to the device, unless it stalls.
    fn flush(&mut self, pools: &mut Pools) {
        if self.chance.stalls(&mut self.outbound) {
            return;
        }
        while !self.outbound.waiting.is_empty() {
            let mut burst = Burst::new();
            while !burst.is_full()
                && let Some(frame) = self.outbound.waiting.pop_front()
            {
                burst.push(frame);
            }
            let sent = self.inner.transmit(pools, &mut burst);
            for _ in 0..sent.refused {
                count(&self.chance.counts.refused);
            }
            let full = !burst.is_empty();
            while let Some(frame) = burst.pop() {
                self.outbound.waiting.push_front(frame);
            }
            if full {
                return;
            }
        }
    }
}

impl Chance {
    /// Whether the line stands still in this call.
    fn stalls(&mut self, line: &mut Line) -> bool {
        if line.stalled > 0 {
            line.stalled -= 1;
        } else if self.dice.hits(self.faults.stall) {
            count(&self.counts.stalled);
            line.stalled = self.dice.below(LONGEST_STALL);
        } else {
            return false;
        }
        true
    }

    /// Puts a frame on the line, with what befalls it. There must be room for it and a copy.
    fn admit(&mut self, line: &mut Line, mut frame: Frame, pools: &mut Pools) {
        let (faults, dice, counts) = (&self.faults, &mut self.dice, &self.counts);
        if dice.hits(faults.drop) {
            count(&counts.dropped);
            return pools.free(frame.buf);
        }
        if dice.hits(faults.corrupt) && damage::corrupt(&mut frame, dice) {
            count(&counts.corrupted);
        }
        if dice.hits(faults.truncate) && damage::truncate(&mut frame, dice, pools) {
            count(&counts.truncated);
        }
        let copy = if dice.hits(faults.duplicate) {
            damage::copy(&frame, pools)
        } else {
            None
        };
        let twice = copy.is_some();
        if let Some(copy) = copy {
            count(&counts.duplicated);
            line.waiting.push_back(copy);
        }
        // Of two alike only the second would be late, which nobody could tell.
        if line.late.is_none() && !twice && dice.hits(faults.reorder) {
            line.late = Some(frame);
            return;
        }
        line.waiting.push_back(frame);
        if let Some(late) = line.late.take() {
            count(&counts.reordered);
            line.waiting.push_back(late);
        }
    }
}

impl PacketIo for FaultPort {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        if let Some(ready) = &self.ready {
            // Takes a wake-up back; what the set says of the inner port is asked below.
            let _ = ready.poll(Some(Duration::ZERO), &mut Tokens::new());
        }
        let mut received = Received::default();
        if !self.chance.stalls(&mut self.inbound) {
            let mut arrived = Burst::new();
            if self.inbound.waiting.len() <= BURST {
                received = self.inner.receive(pools, &mut arrived, most);
            }
            if arrived.is_empty() {
                // Nobody came to pass it.
                self.inbound.waiting.extend(self.inbound.late.take());
            }
            for frame in arrived.drain(..) {
                self.chance.admit(&mut self.inbound, frame, pools);
            }
            received.frames = 0;
            while (received.frames as usize) < most
                && !burst.is_full()
                && let Some(frame) = self.inbound.waiting.pop_front()
            {
                burst.push(frame);
                received.frames += 1;
            }
        }
        if !self.inbound.is_empty() {
            received.more = true;
            if let Some(ready) = &self.ready {
                ready.waker().wake();
            }
        }
        received
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let mut sent = Sent::default();
        // Each may bring a copy, and one may be late.
        let room = ROOM.saturating_sub(self.outbound.waiting.len() + 1) / 2;
        for frame in burst.drain(..room.min(burst.len())) {
            sent.frames += 1;
            sent.bytes += frame.buf.total_len() as u64;
            self.chance.admit(&mut self.outbound, frame, pools);
        }
        self.flush(pools);
        sent
    }

    fn recycle(&mut self, pools: &mut Pools) -> Recycled {
        self.outbound.waiting.extend(self.outbound.late.take());
        if !self.outbound.is_empty() {
            self.flush(pools);
        }
        let recycled = self.inner.recycle(pools);
        Recycled {
            unsent: recycled.unsent || !self.outbound.is_empty(),
            ..recycled
        }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.ready.as_ref().map(AsFd::as_fd)
    }

    fn alive(&self) -> bool {
        self.inner.alive()
    }

    fn runs_receiver(&self) -> bool {
        self.inner.runs_receiver()
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn occupancy(&self) -> Option<Occupancy> {
        self.inner.occupancy()
    }

    fn close(mut self: Box<Self>, pools: &mut Pools) {
        self.inbound.free(pools);
        self.outbound.free(pools);
        // The set must not watch a descriptor that is closed.
        if let (Some(ready), Some(fd)) = (&self.ready, self.inner.readiness()) {
            let _ = ready.remove(fd);
        }
        self.inner.close(pools);
    }
}
