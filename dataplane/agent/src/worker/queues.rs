//! The queues a worker owns, by port slot.

use sluice_engine::{Burst, Counters};
use sluice_io::PacketIo;
use sluice_io::ready::ReadySet;
use sluice_mem::Pools;
use sluice_wire::{DropReason, PortSlot};

/// A port's queues that belong to this worker, and what waits to leave by it.
struct Port {
    to_host: bool,
    queues: Vec<Box<dyn PacketIo>>,
    out: Burst,
}

#[derive(Default)]
pub(crate) struct Queues {
    ports: Vec<Option<Port>>,
    /// Ports with something in `out`.
    dirty: Vec<PortSlot>,
}

fn token(slot: PortSlot, queue: usize) -> u64 {
    (queue as u64) << 16 | u64::from(slot.0)
}

impl Queues {
    /// Takes a queue; frames of it are received from the next round on.
    pub(crate) fn add(&mut self, slot: PortSlot, to_host: bool, io: Box<dyn PacketIo>, ready: &ReadySet) {
        if self.ports.len() <= slot.index() {
            self.ports.resize_with(slot.index() + 1, || None);
            self.dirty.reserve(self.ports.len());
        }
        let port = self.ports[slot.index()].get_or_insert_with(|| Port {
            to_host,
            queues: Vec::new(),
            out: Burst::new(),
        });
        if let Some(fd) = io.readiness()
            && let Err(err) = ready.add(fd, token(slot, port.queues.len()))
        {
            tracing::error!(slot = slot.0, %err, "a queue cannot be watched, so nothing will be received from it");
        }
        port.queues.push(io);
    }

    /// Whether this worker can send by the port.
    pub(crate) fn has(&self, slot: PortSlot) -> bool {
        self.ports.get(slot.index()).is_some_and(Option::is_some)
    }

    /// All ports with queues here.
    pub(crate) fn slots(&self) -> Vec<PortSlot> {
        (0..self.ports.len())
            .filter(|i| self.ports[*i].is_some())
            .map(|i| PortSlot(i as u16))
            .collect()
    }

    /// Sends what waits, closes the port's queues and forgets it.
    pub(crate) fn remove(&mut self, slot: PortSlot, ready: &ReadySet, pools: &mut Pools, counters: &Counters) {
        self.flush_port(slot, pools, counters);
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::take) else {
            return;
        };
        for io in port.queues {
            close(io, ready, pools);
        }
    }

    /// One burst from the queue with this token; false when there was nothing.
    pub(crate) fn receive(&mut self, token: u64, pools: &mut Pools, rx: &mut Burst, ready: &ReadySet) -> bool {
        let (slot, index) = ((token & 0xffff) as usize, (token >> 16) as usize);
        let Some(port) = self.ports.get_mut(slot).and_then(Option::as_mut) else {
            return false;
        };
        let Some(io) = port.queues.get_mut(index) else {
            return false;
        };
        let got = io.receive(pools, rx);
        if got.frames == 0 && !io.alive() {
            // Its namespace or device is gone. A dead descriptor would be ready for ever; the port itself goes when control
            // notices.
            if let Some(fd) = io.readiness() {
                let _ = ready.remove(fd);
            }
        }
        !rx.is_empty()
    }

    /// Finished transmissions go home and receive rings are filled; how many frames moved.
    pub(crate) fn recycle(&mut self, pools: &mut Pools) -> usize {
        let mut moved = 0;
        for io in self.ports.iter_mut().flatten().flat_map(|p| &mut p.queues) {
            moved += io.recycle(pools).returned as usize;
        }
        moved
    }

    /// Queues a frame for a port that [`Self::has`] queues here; a full burst goes first.
    pub(crate) fn push(&mut self, slot: PortSlot, frame: sluice_engine::Frame, pools: &mut Pools, counters: &Counters) {
        if self
            .ports
            .get(slot.index())
            .and_then(Option::as_ref)
            .is_some_and(|p| p.out.is_full())
        {
            self.flush_port(slot, pools, counters);
        }
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::as_mut) else {
            counters.refuse(DropReason::PortGone, frame.buf.total_len());
            return pools.free(frame.buf);
        };
        if port.out.is_empty() {
            self.dirty.push(slot);
        }
        port.out.push(frame);
    }

    /// Sends everything that waits.
    pub(crate) fn flush(&mut self, pools: &mut Pools, counters: &Counters) {
        while let Some(slot) = self.dirty.pop() {
            self.flush_port(slot, pools, counters);
        }
    }

    fn flush_port(&mut self, slot: PortSlot, pools: &mut Pools, counters: &Counters) {
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let Some(io) = port.queues.first_mut() else { return };
        for attempt in 0..2 {
            if port.out.is_empty() {
                return;
            }
            if attempt > 0 {
                // Room may come back with what has been sent meanwhile.
                io.recycle(pools);
            }
            let before = bytes(&port.out);
            let sent = io.transmit(pools, &mut port.out);
            counters.transmit(slot, port.to_host, u64::from(sent.frames), sent.bytes);
            let refused = before - sent.bytes - bytes(&port.out);
            if sent.refused > 0 {
                counters.refuse_many(DropReason::TxRefused, u64::from(sent.refused), refused);
            }
        }
        for frame in port.out.drain(..) {
            counters.refuse(DropReason::TxRingFull, frame.buf.total_len());
            pools.free(frame.buf);
        }
    }
}

fn bytes(burst: &Burst) -> u64 {
    burst.iter().map(|f| f.buf.total_len() as u64).sum()
}

fn close(io: Box<dyn PacketIo>, ready: &ReadySet, pools: &mut Pools) {
    if let Some(fd) = io.readiness() {
        // A dead queue has left the set before.
        let _ = ready.remove(fd);
    }
    io.close(pools);
}
