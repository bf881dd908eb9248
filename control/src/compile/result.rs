//! What a compilation gives: the parts of a snapshot and what goes with them.

use sluice_lb::{EndpointSlot, Frontend, ServiceSlot};
use sluice_snapshot::{Parts, Prefix};
use sluice_wire::{Addr, MacAddr, Proto};
use std::fmt;

/// The outcome of one compilation.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the workers are given. Unchanged parts are those of the compilation before.
    pub parts: Parts,
    /// What the uplink's program takes from the wire.
    pub steering: Steering,
    /// Next hops that must be kept resolved, by interface index; sorted.
    pub wanted_neighbours: Vec<(u32, Addr)>,
    /// Largest IP packet that a pod's interface should send, bytes.
    pub pod_mtu: u16,
    /// This node's pod ranges that can be used.
    pub own_ranges: Vec<Prefix>,
    /// What a person should know; sorted, warnings first.
    pub reports: Vec<Report>,
}

/// What the uplink's program takes from the wire; everything else is the kernel's. All lists are sorted and free of duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// Index of the uplink, 0 while it is not there: another one by the same name has another.
    pub uplink: u32,
    /// MAC of the uplink: frames for others are not ours.
    pub mac: MacAddr,
    /// Largest IP packet of the uplink, bytes.
    pub mtu: u16,
    /// Service addresses with protocol and port.
    pub frontends: Vec<Frontend>,
    /// Protocol, port and whether of IPv4: taken at every node address of that family, and the node's own in the other.
    pub node_ports: Vec<(Proto, u16, bool)>,
    /// Addresses of this node, without link-local ones.
    pub node_addresses: Vec<Addr>,
    /// Ranges of all nodes' pods.
    pub pod_ranges: Vec<Prefix>,
}

/// How much a report matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work as it was asked for.
    Warning,
    /// Good to know.
    Info,
}

/// What some reports are about, in a word that does not change. The API of Kubernetes calls that a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The own Node has no pod range that can be used.
    NoPodCidr,
    /// The uplink is not there.
    UplinkMissing,
    /// The uplink is down or has no carrier.
    UplinkDown,
    /// Several pods claim an address.
    AddressConflict,
    /// No Pod object is known of an attached pod.
    PodIsolated,
    /// A pod that was attached before a restart cannot be taken up.
    PodNotAttached,
    /// A pod takes much longer than others for a packet.
    SlowReceiver,
    /// The address of the API server is one that this agent serves.
    ApiServerIsOwnService,
}

impl Reason {
    /// The word, in CamelCase.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPodCidr => "NoPodCIDR",
            Self::UplinkMissing => "UplinkMissing",
            Self::UplinkDown => "UplinkDown",
            Self::AddressConflict => "AddressConflict",
            Self::PodIsolated => "PodIsolated",
            Self::PodNotAttached => "PodNotAttached",
            Self::SlowReceiver => "SlowReceiver",
            Self::ApiServerIsOwnService => "APIServerIsOwnService",
        }
    }
}

/// Something that is odd about the cluster's state, and never fatal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about, such as `service default/web`.
    pub object: String,
    /// What is odd, what follows from it, what to do.
    pub text: String,
    /// The same in a word, if somebody may want to know it by that.
    pub reason: Option<Reason>,
}

impl Report {
    pub(super) fn warning(object: impl fmt::Display, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            object: object.to_string(),
            text: text.into(),
            reason: None,
        }
    }

    /// The same for those who know it by a word.
    #[must_use]
    pub(super) fn because(self, reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    pub(super) fn info(object: impl fmt::Display, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            object: object.to_string(),
            text: text.into(),
            reason: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.text)
    }
}

/// Whoever keeps runtime state by slot. Asked before a slot that rested long enough is given to something else: the old state is
/// forgotten then, or, with false, the slot rests on.
pub trait SlotKeeper: Send {
    /// [`sluice_lb::Runtime::forget_service`].
    fn forget_service(&mut self, slot: ServiceSlot) -> bool;
    /// [`sluice_lb::Runtime::forget_endpoint`].
    fn forget_endpoint(&mut self, slot: EndpointSlot) -> bool;
}
