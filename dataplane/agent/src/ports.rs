//! Ports of this node: slots, incarnations, and who holds their queues.

use crate::worker::{Command, Crossing, WorkerHandle};
use sluice_io::PacketIo;
use sluice_io::lost::Lost;
use sluice_wire::{PortSlot, Scope};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The uplink's slot.
pub(crate) const UPLINK: PortSlot = PortSlot(0);
/// The slot of `sluice0`.
pub(crate) const HOST: PortSlot = PortSlot(1);
/// Incarnations of these two, which live as long as the agent.
pub(crate) const UPLINK_SCOPE: Scope = Scope::port(1);
pub(crate) const HOST_SCOPE: Scope = Scope::port(2);
const FIRST_POD: usize = 2;
/// Longest time a worker may take to let a port go.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pod's interface, as it can be removed again.
#[derive(Clone, Debug)]
pub(crate) struct PodInterface {
    pub(crate) netns: PathBuf,
    pub(crate) name: String,
    /// Since when it has its slot: what happened there before was another pod's.
    pub(crate) since_ns: u64,
    /// What its interface had lost by then.
    pub(crate) lost_before: Lost,
}

/// The table of slots, and the workers behind it.
pub(crate) struct Ports {
    workers: Vec<WorkerHandle>,
    crossing: Arc<Crossing>,
    pods: Mutex<Vec<Option<PodInterface>>>,
    scopes: AtomicU32,
}

impl Ports {
    pub(crate) fn new(workers: Vec<WorkerHandle>, crossing: Arc<Crossing>) -> Self {
        Self {
            workers,
            crossing,
            pods: Mutex::default(),
            scopes: AtomicU32::new(3),
        }
    }

    pub(crate) fn workers(&self) -> &[WorkerHandle] {
        &self.workers
    }

    /// An incarnation that no port had before.
    pub(crate) fn next_scope(&self) -> Scope {
        Scope::port(self.scopes.fetch_add(1, Ordering::Relaxed))
    }

    /// Reserves a slot for a pod.
    pub(crate) fn reserve(&self, pod: PodInterface) -> Result<PortSlot, String> {
        let mut pods = self.pods();
        let at = pods.iter().position(Option::is_none).unwrap_or(pods.len());
        let slot = u16::try_from(at + FIRST_POD)
            .map(PortSlot)
            .ok()
            .filter(|s| s.index() < sluice_engine::COUNTED_PORTS);
        let slot = slot.ok_or_else(|| {
            format!(
                "this node already has {} ports, the most it can have; detach pods first",
                sluice_engine::COUNTED_PORTS
            )
        })?;
        if at == pods.len() {
            pods.push(None);
        }
        pods[at] = Some(pod);
        Ok(slot)
    }

    /// Gives a pod's slot back, and says what it was.
    pub(crate) fn release(&self, slot: PortSlot) -> Option<PodInterface> {
        self.pods().get_mut(slot.index().checked_sub(FIRST_POD)?)?.take()
    }

    /// Every pod and its slot.
    pub(crate) fn all_pods(&self) -> Vec<(PortSlot, PodInterface)> {
        let pods = self.pods();
        let there = pods.iter().enumerate().filter_map(|(at, pod)| Some((at, pod.clone()?)));
        there
            .map(|(at, pod)| (PortSlot((at + FIRST_POD) as u16), pod))
            .collect()
    }

    /// Whether the port that is in this slot now was there at that time.
    pub(crate) fn was_there(&self, slot: PortSlot, at_ns: u64) -> bool {
        let pods = self.pods();
        let pod = slot
            .index()
            .checked_sub(FIRST_POD)
            .map(|at| pods.get(at).and_then(Option::as_ref));
        pod.is_none_or(|pod| pod.is_some_and(|pod| pod.since_ns <= at_ns))
    }

    /// Hands the queues of a port to the workers: queue n to worker n, and round again when there are more queues.
    /// Workers without a queue send over one that has.
    pub(crate) fn hand_out(&self, slot: PortSlot, to_host: bool, queues: Vec<Box<dyn PacketIo>>) -> Result<(), String> {
        for (n, io) in queues.into_iter().enumerate() {
            let worker = &self.workers[n % self.workers.len()];
            if !worker.tell(Command::Add { slot, to_host, io }) {
                return Err("a packet worker has ended; see the log, and restart the agent".into());
            }
        }
        self.crossing.set_owner(slot, Some(0));
        Ok(())
    }

    /// Adds a queue that only receives to the first worker, which has one of the port to send by.
    pub(crate) fn also_receive(&self, slot: PortSlot, io: Box<dyn PacketIo>) -> Result<(), String> {
        let to_host = false;
        if self.workers[0].tell(Command::Add { slot, to_host, io }) {
            Ok(())
        } else {
            Err("a packet worker has ended; see the log, and restart the agent".into())
        }
    }

    /// Takes a port from all workers; returns when none of them has a packet of it under way any more.
    pub(crate) fn withdraw(&self, slot: PortSlot) -> Result<(), String> {
        self.crossing.set_owner(slot, None);
        let (done, finished) = crossbeam::channel::bounded(self.workers.len());
        let asked = self
            .workers
            .iter()
            .filter(|w| {
                w.tell(Command::Remove {
                    slot,
                    done: done.clone(),
                })
            })
            .count();
        for _ in 0..asked {
            finished
                .recv_timeout(PATIENCE)
                .map_err(|_| format!("a packet worker did not let port {} go within {PATIENCE:?}", slot.0))?;
        }
        Ok(())
    }

    /// Ends all workers and waits for them.
    pub(crate) fn stop(&mut self) {
        for worker in &self.workers {
            worker.tell(Command::Stop);
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a packet worker had panicked");
            }
        }
    }

    fn pods(&self) -> MutexGuard<'_, Vec<Option<PodInterface>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
