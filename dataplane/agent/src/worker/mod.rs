//! A packet worker: one pinned thread, its queues, one engine. Decides nothing about packets; it moves bursts between the
//! queues and the engine, and sleeps when it may.

mod budget;
mod egress;
#[cfg(test)]
mod faults;
mod idle;
mod line;
mod meters;
mod pace;
mod priority;
mod queues;

use crate::clock::Clock;
use crossbeam::channel::{Receiver, Sender};
pub(crate) use egress::Crossing;
use egress::Out;
pub(crate) use idle::Polling;
use idle::{Idle, Left};
pub(crate) use meters::Meters;
use meters::Span;
pub(crate) use priority::Priority;
pub(crate) use queues::Losses;
use queues::Queues;
use sluice_engine::{Burst, Counters, Engine};
use sluice_io::ready::{ReadySet, Tokens, Waker};
use sluice_io::{Occupancy, PacketIo};
use sluice_mem::Pools;
use sluice_snapshot::Subscriber;
use sluice_wire::{Addr, PortSlot};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// What a worker is told. It answers at a point where no packet is under way.
pub(crate) enum Command {
    /// Takes this queue of a port.
    Add {
        slot: PortSlot,
        to_host: bool,
        io: Box<dyn PacketIo>,
    },
    /// Lets the port go: what is queued is sent, its queues are closed, then `done` hears of it.
    Remove { slot: PortSlot, done: Sender<()> },
    /// Says what devices lost on the way to this worker's queues, and how full their rings are.
    Devices { tell: Sender<Devices> },
    /// Ends.
    Stop,
}

/// What a worker says of its queues' devices.
pub(crate) struct Devices {
    pub(crate) worker: usize,
    pub(crate) losses: Losses,
    pub(crate) rings: Vec<(PortSlot, Occupancy)>,
}

/// What others may know about a running worker.
pub(crate) struct WorkerHandle {
    pub(crate) commands: Sender<Command>,
    pub(crate) waker: Waker,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    /// By port slot: what a frame costs the receiver behind it on this worker's time, ns; 0 where nothing was written yet.
    pub(crate) receiver_costs: Arc<[AtomicU32]>,
    pub(crate) cpu: Option<usize>,
    pub(crate) thread: Option<std::thread::JoinHandle<()>>,
}

impl WorkerHandle {
    /// Sends a command and makes sure that it is seen soon. False when the worker has ended.
    pub(crate) fn tell(&self, command: Command) -> bool {
        let told = self.commands.send(command).is_ok();
        self.waker.wake();
        told
    }
}

/// Everything a worker owns.
pub(crate) struct Worker {
    pub(crate) engine: Engine,
    pub(crate) pools: Pools,
    pub(crate) config: Subscriber,
    pub(crate) commands: Receiver<Command>,
    pub(crate) ready: ReadySet,
    pub(crate) crossing: Arc<Crossing>,
    pub(crate) index: usize,
    pub(crate) resolve: Sender<Addr>,
    pub(crate) clock: Clock,
    pub(crate) polling: Polling,
    pub(crate) priority: Priority,
    pub(crate) meters: Arc<Meters>,
    pub(crate) costs: Arc<[AtomicU32]>,
}

impl Worker {
    /// Runs until told to stop; then everything it held is back in the pools and its queues are closed.
    pub(crate) fn run(mut self) {
        let counters = self.engine.counters().clone();
        let mut queues = Queues::new(self.clock, self.costs.clone());
        let mut idle = Idle::new(self.polling);
        let (mut rx, mut tokens) = (Burst::new(), Tokens::new());
        let mut timeout = Duration::ZERO;
        let mut before_ns = self.clock.now_ns();
        loop {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Add { slot, to_host, io } => queues.add(slot, to_host, io, &self.ready),
                    Command::Remove { slot, done } => {
                        queues.remove(slot, &self.ready, &mut self.pools, &counters);
                        // Nobody may be left who waits.
                        let _ = done.send(());
                    }
                    Command::Devices { tell } => {
                        let (worker, losses, rings) = (self.index, queues.losses(), queues.rings());
                        // Nobody may be left who waits.
                        let _ = tell.send(Devices { worker, losses, rings });
                    }
                    Command::Stop => return self.end(queues),
                }
            }
            let slept = timeout > Duration::ZERO;
            // One call tells which queues have something, and is where the worker sleeps.
            if self.ready.poll(Some(timeout), &mut tokens).is_err() {
                tracing::error!(
                    worker = self.index,
                    "the set of queues cannot be polled; the worker stops"
                );
                return self.end(queues);
            }
            // Quiescent point: nothing of the last configuration is borrowed here.
            let snapshot = self.config.refresh();
            let now_ns = self.clock.now_ns();
            counters.samples.set_now(now_ns);
            let mut work = 0usize;
            let mut out = Out::new(&mut queues, &counters, &self.crossing, self.index, &self.resolve);
            out.queues.begin_round(now_ns, &mut tokens);
            out.take_crossed(&mut self.pools, &mut work);
            // Without frames of other workers the round has only just begun, and the clock need not be read again.
            let mut began_ns = if work > 0 { self.clock.now_ns() } else { now_ns };
            for token in &tokens {
                if !out.queues.may_receive(*token)
                    || !out
                        .queues
                        .receive(*token, &mut self.pools, &mut rx, &self.ready, &counters)
                {
                    continue;
                }
                let frames = rx.len();
                work += frames;
                counters.events.bursts.add(1);
                self.meters.burst(frames);
                self.engine
                    .process(snapshot, now_ns, &mut self.pools, &mut rx, &mut out);
                let ended_ns = self.clock.now_ns();
                out.queues.charge(*token, frames, ended_ns.saturating_sub(began_ns));
                began_ns = ended_ns;
            }
            out.queues.end_round(&mut self.pools, &counters);
            self.engine.tick(snapshot, now_ns, &mut self.pools, &mut out);
            let unsent = out.queues.recycle(&mut self.pools);
            let left = Left {
                waiting: out.queues.has_waiting(),
                unsent,
                held: counters.held.get().0 > 0,
            };
            let found = work > 0 || left.waiting;
            counters.events.rounds.add(1);
            let after_ns = self.clock.now_ns();
            let span = Span {
                after_ns: before_ns,
                began_ns: now_ns,
                ended_ns: after_ns,
                slept,
            };
            self.meters.round(span, found);
            if !found {
                counters.events.idle_rounds.add(1);
            }
            self.priority.after(self.index, span);
            timeout = idle.after(span, found, left);
            before_ns = after_ns;
            if timeout > Duration::ZERO {
                counters.events.sleeps.add(1);
                self.crossing.sleeps(self.index);
                // Somebody may have sent us frames before he could see that we sleep.
                if self.crossing.has_frames(self.index) {
                    timeout = Duration::ZERO;
                }
            }
        }
    }

    fn end(mut self, mut queues: Queues) {
        let counters = self.engine.counters().clone();
        self.engine.drain(&mut self.pools);
        self.engine.publish_usage(self.clock.now_ns());
        self.crossing.drain(self.index, &mut self.pools, &counters);
        for slot in queues.slots() {
            queues.remove(slot, &self.ready, &mut self.pools, &counters);
        }
    }
}
