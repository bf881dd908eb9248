//! What control needs from the packet side.

use crate::api::{CountersReport, FlowQuery, FlowRow, LostCount, RingRow, WorkerTotals};
use crate::compile::{Report, SlotKeeper, Steering};
use sluice_lb::{EndpointSlot, ServiceSlot};
use sluice_snapshot::Caps;
use sluice_wire::{DropReason, MacAddr, PortSlot, Scope};
use std::path::Path;
use std::sync::Arc;

/// A pod's port, as the packet side has opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// Its place.
    pub slot: PortSlot,
    /// Its incarnation; never one that was used before.
    pub scope: Scope,
    /// MAC of the pod's interface.
    pub mac: MacAddr,
    /// What the interface does by itself.
    pub caps: Caps,
}

/// A packet that the packet side dropped and kept a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedPacket {
    /// The worker that dropped it.
    pub worker: u16,
    /// Counts the samples of this worker and reason.
    pub sequence: u64,
    /// How long ago.
    pub age_ns: u64,
    /// Why.
    pub reason: DropReason,
    /// The port it came in by; `None` when that is gone or not known.
    pub ingress: Option<PortSlot>,
    /// The port it was to leave by, if that was decided and is not gone.
    pub egress: Option<PortSlot>,
    /// Bytes of the frame; 0 when they are not known.
    pub length: u32,
    /// The first of them.
    pub bytes: Vec<u8>,
}

/// What control needs from the packet side; the agent implements it. Calls come from control's own threads and may
/// block for some milliseconds; errors are texts for people.
pub trait Dataplane: Send + Sync + 'static {
    /// Creates the interface in the namespace, or opens the one it left there before, and hands its queues to the
    /// workers. No packet passes before a snapshot names the port.
    ///
    /// # Errors
    /// The interface cannot be made or opened.
    fn attach_pod(&self, netns: &Path, interface: &str, mtu: u16) -> Result<PodPort, String>;

    /// Takes the port from the workers and closes it; returns when no worker uses it any more. No snapshot names it
    /// when this is called. Removes the interface from the pod if asked to; a namespace that is gone is no error.
    ///
    /// # Errors
    /// The port does not exist, or a worker does not let it go.
    fn detach_pod(&self, slot: PortSlot, remove_interface: bool) -> Result<(), String>;

    /// Tells the uplink what to take from the wire. Called when it differs from the last one that succeeded.
    ///
    /// # Errors
    /// The program or its tables refuse, for example because a table is full.
    fn steer(&self, steering: &Steering) -> Result<(), String>;

    /// Connections, at most `query.limit`.
    fn flows(&self, query: &FlowQuery) -> Vec<FlowRow>;

    /// All counters since start, without [`Self::devices`] and [`Self::workers`].
    fn counters(&self) -> CountersReport;

    /// What devices lost on the way to the workers, and how full their rings are. Asks each worker, and the kernel about each device, so
    /// it may take longer than anything else here.
    fn devices(&self) -> (Vec<LostCount>, Vec<RingRow>) {
        (Vec::new(), Vec::new())
    }

    /// Some of the packets that were dropped, in no order.
    fn drops(&self) -> Vec<DroppedPacket>;

    /// Every worker's totals since start, in the order of their indices.
    fn workers(&self) -> Vec<WorkerTotals>;

    /// Ticks a second of the counter that workers' cycles are told in; `None` where it is not known.
    fn tsc_hz(&self) -> Option<u64> {
        None
    }

    /// What writing a packet to each port's receiver cost, ns, about the median; ports written to since the last call only.
    fn receiver_costs(&self) -> Vec<(PortSlot, u32)>;

    /// Ports that are ours for masquerading now, without those that programs of the host have.
    fn owned_ports(&self) -> Vec<u16>;

    /// How packets come from the uplink, for people, such as `AF_XDP native, copy`.
    fn uplink_mode(&self) -> String;

    /// How many queues of the uplink are in use.
    fn uplink_queues(&self) -> u16;

    /// What the agent's log writes; with `wanted` (a level, or levels of modules, or `default`), from now on that.
    ///
    /// # Errors
    /// `wanted` cannot be understood.
    fn log_filter(&self, wanted: Option<&str>) -> Result<String, String> {
        Err(format!(
            "this agent's log cannot be changed to {}",
            wanted.unwrap_or("anything")
        ))
    }
    /// What a person should know of the packet side; part of `status`.
    fn warnings(&self) -> Vec<Report> {
        Vec::new()
    }

    /// Connections to this endpoint now.
    fn endpoint_connections(&self, slot: EndpointSlot) -> u32;

    /// The slot is about to be given to another service port: forget what is kept for it
    /// ([`sluice_lb::Runtime::forget_service`]). False when it cannot be forgotten yet.
    fn forget_service(&self, slot: ServiceSlot) -> bool;

    /// The slot is about to be given to another endpoint, likewise ([`sluice_lb::Runtime::forget_endpoint`]).
    fn forget_endpoint(&self, slot: EndpointSlot) -> bool;
}

/// Lets the compiler ask the packet side about slots.
pub(super) struct Keeper(pub(super) Arc<dyn Dataplane>);

impl SlotKeeper for Keeper {
    fn forget_service(&mut self, slot: ServiceSlot) -> bool {
        self.0.forget_service(slot)
    }

    fn forget_endpoint(&mut self, slot: EndpointSlot) -> bool {
        self.0.forget_endpoint(slot)
    }
}
