//! How a worker's frames leave: by its own queue of the port, or over a bounded ring to a worker that has one.

use super::queues::Queues;
use crossbeam::channel::Sender;
use crossbeam::queue::ArrayQueue;
use sluice_engine::{COUNTED_PORTS, Counters, Egress, Frame};
use sluice_io::ready::Waker;
use sluice_mem::Pools;
use sluice_wire::{Addr, DropReason, PortSlot};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering, fence};

/// Frames that may wait for another worker.
const RING: usize = 1024;
const NOBODY: u16 = u16::MAX;

struct Inbox {
    frames: ArrayQueue<(PortSlot, Frame)>,
    sleeping: AtomicBool,
    waker: Waker,
}

/// Rings between workers, for ports that have fewer queues than there are workers.
pub(crate) struct Crossing {
    inboxes: Vec<Inbox>,
    /// By port slot: a worker that has a queue of it.
    owners: Box<[AtomicU16]>,
}

impl Crossing {
    /// One inbox for each worker's waker.
    pub(crate) fn new(wakers: Vec<Waker>) -> Self {
        let inbox = |waker| Inbox {
            frames: ArrayQueue::new(RING),
            sleeping: AtomicBool::new(false),
            waker,
        };
        Self {
            inboxes: wakers.into_iter().map(inbox).collect(),
            owners: (0..COUNTED_PORTS).map(|_| AtomicU16::new(NOBODY)).collect(),
        }
    }

    /// Names the worker that sends for those that have no queue of this port; `None` when the port goes.
    pub(crate) fn set_owner(&self, slot: PortSlot, worker: Option<usize>) {
        if let Some(owner) = self.owners.get(slot.index()) {
            owner.store(worker.map_or(NOBODY, |w| w as u16), Ordering::Release);
        }
    }

    /// A worker is about to sleep; frames that come from now on wake it.
    pub(crate) fn sleeps(&self, worker: usize) {
        if let Some(inbox) = self.inboxes.get(worker) {
            inbox.sleeping.store(true, Ordering::Relaxed);
            // Pairs with the fence in `send`: either we see the frame, or the sender sees that we sleep.
            fence(Ordering::SeqCst);
        }
    }

    pub(crate) fn has_frames(&self, worker: usize) -> bool {
        self.inboxes.get(worker).is_some_and(|i| !i.frames.is_empty())
    }

    fn send(&self, slot: PortSlot, frame: Frame) -> Result<(), (Frame, DropReason)> {
        let owner = self
            .owners
            .get(slot.index())
            .map_or(NOBODY, |o| o.load(Ordering::Acquire));
        let Some(inbox) = self.inboxes.get(usize::from(owner)) else {
            return Err((frame, DropReason::PortGone));
        };
        inbox
            .frames
            .push((slot, frame))
            .map_err(|(_, frame)| (frame, DropReason::TxRingFull))?;
        fence(Ordering::SeqCst);
        if inbox.sleeping.swap(false, Ordering::Relaxed) {
            inbox.waker.wake();
        }
        Ok(())
    }

    /// Ends what still waits for a worker that goes.
    pub(crate) fn drain(&self, worker: usize, pools: &mut Pools, counters: &Counters) {
        let Some(inbox) = self.inboxes.get(worker) else { return };
        while let Some((slot, frame)) = inbox.frames.pop() {
            counters.refuse(DropReason::PortGone, &frame, Some(slot));
            pools.free(frame.buf);
        }
    }
}

/// A worker's way out, for one round.
pub(crate) struct Out<'a> {
    pub(crate) queues: &'a mut Queues,
    counters: &'a Counters,
    crossing: &'a Crossing,
    worker: usize,
    resolve: &'a Sender<Addr>,
}

impl<'a> Out<'a> {
    pub(crate) fn new(
        queues: &'a mut Queues,
        counters: &'a Counters,
        crossing: &'a Crossing,
        worker: usize,
        resolve: &'a Sender<Addr>,
    ) -> Self {
        Self {
            queues,
            counters,
            crossing,
            worker,
            resolve,
        }
    }

    /// Sends what other workers left here; counts it as work.
    pub(crate) fn take_crossed(&mut self, pools: &mut Pools, work: &mut usize) {
        let Some(inbox) = self.crossing.inboxes.get(self.worker) else {
            return;
        };
        if inbox.sleeping.load(Ordering::Relaxed) {
            inbox.sleeping.store(false, Ordering::Relaxed);
        }
        for _ in 0..sluice_wire::BURST {
            let Some((slot, frame)) = inbox.frames.pop() else { break };
            *work += 1;
            self.queues.push(slot, frame, pools, self.counters);
        }
        self.queues.flush(pools, self.counters);
    }
}

impl Egress for Out<'_> {
    fn send(&mut self, pools: &mut Pools, port: PortSlot, frame: Frame) {
        if self.queues.has(port) {
            return self.queues.push(port, frame, pools, self.counters);
        }
        if let Err((frame, reason)) = self.crossing.send(port, frame) {
            self.counters.refuse(reason, &frame, Some(port));
            pools.free(frame.buf);
        }
    }

    fn flush(&mut self, pools: &mut Pools) {
        self.queues.flush(pools, self.counters);
    }

    fn resolve(&mut self, neighbour: Addr) {
        // A full channel means that many are asked for already; the next packet asks again.
        let _ = self.resolve.try_send(neighbour);
    }
}
