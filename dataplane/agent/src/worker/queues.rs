//! The queues a worker owns, by port slot, and whose turn it is to use the worker's time.

use super::budget::{Round, Turns, Used};
use super::line::{Line, units};
use super::pace::Pace;
use crate::clock::{Clock, Now};
use sluice_engine::{Burst, Counters, Frame};
use sluice_io::ready::{ReadySet, Tokens};
use sluice_io::{Occupancy, PacketIo, Stats};
use sluice_mem::Pools;
use sluice_wire::{DropReason, PortSlot};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a wire counts for beside one pod: it speaks for all nodes.
const WIRE_WEIGHT: u64 = 8;

/// A port's queues that belong to this worker, and what waits to leave by it.
struct Port {
    to_host: bool,
    queues: Vec<Box<dyn PacketIo>>,
    out: Burst,
    /// Time used to receive from it.
    used: Used,
    pace: Pace,
    /// Where writing runs the receiver: its allowance and who waits for it.
    line: Option<Line>,
}

pub(super) struct Queues<C = Clock> {
    clock: C,
    ports: Vec<Option<Port>>,
    /// Ports with something in `out`.
    dirty: Vec<PortSlot>,
    /// Ports with frames in their line.
    waiting: Vec<PortSlot>,
    waiting_units: usize,
    turns: Turns,
    round: Round,
    /// Time that receivers took since it was last asked for.
    receivers_ns: u64,
    /// For others to see: what a frame costs each port's receiver here.
    costs: Arc<[AtomicU32]>,
    /// What queues that were closed had lost.
    closed: Losses,
}

/// What devices counted, by port.
pub(crate) type Losses = BTreeMap<PortSlot, Stats>;

fn token(slot: PortSlot, queue: usize) -> u64 {
    (queue as u64) << 16 | u64::from(slot.0)
}

fn slot_of(token: u64) -> PortSlot {
    PortSlot(token as u16)
}

impl<C: Now> Queues<C> {
    pub(super) fn new(clock: C, costs: Arc<[AtomicU32]>) -> Self {
        Self {
            clock,
            ports: Vec::new(),
            dirty: Vec::new(),
            waiting: Vec::new(),
            waiting_units: 0,
            turns: Turns::default(),
            round: Round::default(),
            receivers_ns: 0,
            costs,
            closed: Losses::new(),
        }
    }

    fn port(&mut self, slot: PortSlot) -> Option<&mut Port> {
        self.ports.get_mut(slot.index()).and_then(Option::as_mut)
    }

    /// Takes a queue; frames of it are received from the next round on.
    pub(super) fn add(&mut self, slot: PortSlot, to_host: bool, io: Box<dyn PacketIo>, ready: &ReadySet) {
        if self.ports.len() <= slot.index() {
            self.ports.resize_with(slot.index() + 1, || None);
            self.dirty.reserve(self.ports.len());
            self.waiting.reserve(self.ports.len());
        }
        let port = self.ports[slot.index()].get_or_insert_with(|| Port {
            to_host,
            queues: Vec::new(),
            out: Burst::new(),
            used: Used::default(),
            pace: Pace::default(),
            line: io.runs_receiver().then(Line::new),
        });
        if let Some(fd) = io.readiness()
            && let Err(err) = ready.add(fd, token(slot, port.queues.len()))
        {
            tracing::error!(slot = slot.0, %err, "a queue cannot be watched, so nothing will be received from it");
        }
        port.queues.push(io);
    }

    /// Whether this worker can send by the port.
    pub(super) fn has(&self, slot: PortSlot) -> bool {
        self.ports.get(slot.index()).is_some_and(Option::is_some)
    }

    /// All ports with queues here.
    pub(super) fn slots(&self) -> Vec<PortSlot> {
        (0..self.ports.len())
            .filter(|i| self.ports[*i].is_some())
            .map(|i| PortSlot(i as u16))
            .collect()
    }

    /// Sends what waits, closes the port's queues and forgets it.
    pub(super) fn remove(&mut self, slot: PortSlot, ready: &ReadySet, pools: &mut Pools, counters: &Counters) {
        self.flush_port(slot, pools, counters);
        while self.call(slot, usize::MAX) > 0 {
            self.write(slot, pools, counters);
        }
        self.waiting.retain(|waiting| *waiting != slot);
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::take) else {
            return;
        };
        if let Some(cost) = self.costs.get(slot.index()) {
            cost.store(0, Ordering::Relaxed);
        }
        for io in port.queues {
            note(&mut self.closed, slot, &*io);
            close(io, ready, pools);
        }
    }

    /// What the kernel lost on the way to these queues, also to those that were closed. Asks the kernel about each uplink queue.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = self.closed.clone();
        for slot in self.slots() {
            let port = self.ports[slot.index()].as_ref();
            for io in port.iter().flat_map(|port| &port.queues) {
                note(&mut losses, slot, &**io);
            }
        }
        losses
    }

    /// How full the rings of these queues are, where they have any.
    pub(super) fn rings(&self) -> Vec<(PortSlot, Occupancy)> {
        let of = |slot: PortSlot| {
            let queues = self.ports[slot.index()].iter().flat_map(|port| &port.queues);
            queues.filter_map(move |io| Some((slot, io.occupancy()?)))
        };
        self.slots().into_iter().flat_map(of).collect()
    }

    /// Begins a round in which these queues have something: decides whose turn it is. Who used least goes first.
    pub(super) fn begin_round(&mut self, now_ns: u64, tokens: &mut Tokens) {
        self.round = Round {
            number: self.round.number + 1,
            began_ns: now_ns,
            quiet: tokens.is_empty(),
        };
        for token in tokens.iter() {
            if let Some(port) = self.ports.get_mut(slot_of(*token).index()).and_then(Option::as_mut) {
                self.turns.ask(&mut port.used);
            }
        }
        self.turns.begin();
        tokens.sort_unstable_by_key(|token| {
            let port = self.ports.get(slot_of(*token).index()).and_then(Option::as_ref);
            port.map(|port| port.used)
        });
        self.receivers_ns = 0;
    }

    /// Ends a round: sends what waited for receivers that have time again, after what has come for others.
    pub(super) fn end_round(&mut self, pools: &mut Pools, counters: &Counters) {
        let mut at = 0;
        while let Some(slot) = self.waiting.get(at).copied() {
            let round = self.round;
            let line = self.port(slot).and_then(|port| port.line.as_mut());
            let may = line.map_or(0, |line| line.allowance.units(round));
            if self.call(slot, may) > 0 {
                self.write(slot, pools, counters);
            }
            if self.line(slot).is_none_or(Line::is_empty) {
                self.waiting.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Whether something still waits for a receiver's time, so that the worker must not sleep.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the port is to receive in this round.
    pub(super) fn may_receive(&self, token: u64) -> bool {
        let slot = slot_of(token);
        self.ports
            .get(slot.index())
            .and_then(Option::as_ref)
            .is_some_and(|port| self.turns.may(port.used))
    }

    /// A burst of `frames` of this queue took `ns`; what receivers had of it is on their own account.
    pub(super) fn charge(&mut self, token: u64, frames: usize, ns: u64) {
        let own = ns.saturating_sub(std::mem::take(&mut self.receivers_ns));
        if let Some(port) = self.port(slot_of(token)) {
            let weight = if port.line.is_some() { 1 } else { WIRE_WEIGHT };
            port.used.charge(own, weight);
            port.pace.took(frames, ns);
        }
    }

    /// One burst from the queue with this token; false when there was nothing.
    pub(super) fn receive(
        &mut self,
        token: u64,
        pools: &mut Pools,
        rx: &mut Burst,
        ready: &ReadySet,
        counters: &Counters,
    ) -> bool {
        let index = (token >> 16) as usize;
        let Some(port) = self.port(slot_of(token)) else {
            return false;
        };
        let most = port.pace.most();
        let Some(io) = port.queues.get_mut(index) else {
            return false;
        };
        let got = io.receive(pools, rx, most);
        if got.invalid > 0 {
            counters.refuse_unusable(u64::from(got.invalid), slot_of(token));
        }
        if got.frames == 0 && !io.alive() {
            // Its namespace or device is gone. A dead descriptor would be ready for ever; the port itself goes when control
            // notices.
            if let Some(fd) = io.readiness() {
                let _ = ready.remove(fd);
            }
        }
        !rx.is_empty()
    }

    /// Finished transmissions go home and receive rings are filled; whether a queue must be asked again to send.
    pub(super) fn recycle(&mut self, pools: &mut Pools) -> bool {
        let queues = self.ports.iter_mut().flatten().flat_map(|port| &mut port.queues);
        queues.fold(false, |unsent, io| io.recycle(pools).unsent | unsent)
    }

    /// Queues a frame for a port that [`Self::has`] queues here; a full burst goes first.
    pub(super) fn push(&mut self, slot: PortSlot, frame: Frame, pools: &mut Pools, counters: &Counters) {
        if self.port(slot).is_some_and(|port| port.out.is_full()) {
            self.flush_port(slot, pools, counters);
        }
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::as_mut) else {
            counters.refuse(DropReason::PortGone, &frame, Some(slot));
            return pools.free(frame.buf);
        };
        if port.out.is_empty() {
            self.dirty.push(slot);
        }
        port.out.push(frame);
    }

    /// Sends everything that may go.
    pub(super) fn flush(&mut self, pools: &mut Pools, counters: &Counters) {
        while let Some(slot) = self.dirty.pop() {
            self.flush_port(slot, pools, counters);
        }
    }

    fn line(&self, slot: PortSlot) -> Option<&Line> {
        self.ports.get(slot.index())?.as_ref()?.line.as_ref()
    }

    /// Moves up to `most` units from the port's line into its empty burst.
    fn call(&mut self, slot: PortSlot, most: usize) -> usize {
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::as_mut) else {
            return 0;
        };
        let Some(line) = &mut port.line else { return 0 };
        line.call(most, &mut port.out);
        self.waiting_units -= port.out.iter().map(units).sum::<usize>();
        port.out.len()
    }

    fn flush_port(&mut self, slot: PortSlot, pools: &mut Pools, counters: &Counters) {
        let round = self.round;
        if let Some(port) = self.port(slot)
            && let Some(line) = &mut port.line
        {
            let may = if line.is_empty() {
                line.allowance.units(round)
            } else {
                0
            };
            let may = fitting(&port.out, may);
            if may < port.out.len() {
                self.stand_in_line(slot, may, pools, counters);
            }
        }
        self.write(slot, pools, counters);
    }

    /// What the receiver has no time for in this round waits, behind what waits already.
    fn stand_in_line(&mut self, slot: PortSlot, may: usize, pools: &mut Pools, counters: &Counters) {
        let mut rest = Burst::new();
        if let Some(port) = self.port(slot) {
            rest.extend(port.out.drain(may..));
        }
        for frame in rest {
            let all = self.waiting_units;
            let Some(line) = self.port(slot).and_then(|port| port.line.as_mut()) else {
                counters.refuse(DropReason::PortGone, &frame, Some(slot));
                pools.free(frame.buf);
                continue;
            };
            let more = units(&frame);
            match line.join(frame, all) {
                Ok(()) => self.waiting_units += more,
                Err(frame) => {
                    counters.refuse(DropReason::SlowReceiver, &frame, Some(slot));
                    pools.free(frame.buf);
                }
            }
        }
        if !self.waiting.contains(&slot) {
            self.waiting.push(slot);
        }
    }

    /// Writes what is in the port's burst.
    fn write(&mut self, slot: PortSlot, pools: &mut Pools, counters: &Counters) {
        let Some(port) = self.ports.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        if port.out.is_empty() {
            return;
        }
        let Some(line) = &mut port.line else {
            return send(slot, port.to_host, &mut port.queues, &mut port.out, pools, counters);
        };
        let units = port.out.iter().map(units).sum();
        let began_ns = self.clock.now_ns();
        send(slot, port.to_host, &mut port.queues, &mut port.out, pools, counters);
        let took_ns = self.clock.now_ns().saturating_sub(began_ns);
        line.allowance.spend(units, took_ns);
        self.receivers_ns += took_ns;
        if let Some(cost) = self.costs.get(slot.index()) {
            cost.store(
                line.allowance.cost_ns().min(u64::from(u32::MAX)) as u32,
                Ordering::Relaxed,
            );
        }
    }
}

/// How many of the first frames may go, if that many units may.
fn fitting(burst: &Burst, may: usize) -> usize {
    let mut before = 0;
    let fits = |frame: &&Frame| {
        let fits = before < may;
        before += units(frame);
        fits
    };
    burst.iter().take_while(fits).count()
}

fn send(
    slot: PortSlot,
    to_host: bool,
    queues: &mut [Box<dyn PacketIo>],
    out: &mut Burst,
    pools: &mut Pools,
    counters: &Counters,
) {
    let Some(io) = queues.first_mut() else { return };
    for attempt in 0..2 {
        if out.is_empty() {
            return;
        }
        if attempt > 0 {
            // Room may come back with what has been sent meanwhile.
            io.recycle(pools);
        }
        let before = bytes(out);
        let sent = io.transmit(pools, out);
        counters.transmit(slot, to_host, u64::from(sent.frames), sent.bytes);
        let refused = before - sent.bytes - bytes(out);
        if sent.refused > 0 {
            counters.refuse_unseen(DropReason::TxRefused, u64::from(sent.refused), refused, slot);
        }
    }
    for frame in out.drain(..) {
        counters.refuse(DropReason::TxRingFull, &frame, Some(slot));
        pools.free(frame.buf);
    }
}

fn note(losses: &mut Losses, slot: PortSlot, io: &dyn PacketIo) {
    let stats = io.stats();
    if stats.has_losses() {
        *losses.entry(slot).or_default() += stats;
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

#[cfg(test)]
mod losses;
#[cfg(test)]
mod tests;
