//! Decides what the node under test is connected to: its pods, other nodes, services and policies, as many as are asked for. It
//! never sends a packet.

pub(crate) mod addresses;
mod forwarding;
mod policies;
mod services;

use addresses::{Family, HOST, HOST_MAC, UPLINK, UPLINK_MAC};
use sluice_snapshot::{Caps, Parts, Port, PortKind, PortTable, Services, Snapshot};
use sluice_wire::{PortSlot, Scope};
use std::sync::Arc;

/// Endpoints of each service, and pods of this node that serve.
pub(crate) const ENDPOINTS: u32 = 10;

/// Largest IP packet on the underlay, so that 1500-byte frames of pods fit into tunnels.
const UNDERLAY_MTU: u16 = 1600;
/// Largest IP packet of pods.
const POD_MTU: u16 = 1500;

/// How much of everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Size {
    pub(crate) family: Family,
    /// Pods of this node that talk; further [`ENDPOINTS`] pods listen.
    pub(crate) clients: u32,
    /// Each with [`ENDPOINTS`] pods of other nodes.
    pub(crate) services: u32,
    /// Each selects every pod; the first one allows what the cases need.
    pub(crate) policies: u32,
}

impl Size {
    /// As little as there can be.
    pub(crate) const LEAST: Self = Self {
        family: Family::V4,
        clients: 1,
        services: 1,
        policies: 0,
    };
}

/// A configuration, compiled, and the same after a change that concerns no flow.
pub(crate) struct World {
    pub(crate) size: Size,
    first: Arc<Snapshot>,
    /// What alternates under churn: one more service has all its endpoints, or all but one.
    services: [Arc<Services>; 2],
}

impl World {
    pub(crate) fn new(size: Size) -> Self {
        let services = [true, false].map(|whole| Arc::new(services::services(&size, whole)));
        let parts = Parts {
            node: Arc::new(forwarding::node(size.family)),
            ports: Arc::new(ports(&size)),
            forwarding: Arc::new(forwarding::forwarding(&size)),
            services: services[0].clone(),
            policies: Arc::new(policies::policies(&size)),
        };
        Self {
            size,
            first: Arc::new(Snapshot::first(parts)),
            services,
        }
    }

    /// The configuration to begin with.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.first
    }

    /// The configuration after `now`: the unrelated service has lost an endpoint, or has it again.
    pub(crate) fn changed(&self, now: &Snapshot) -> Snapshot {
        let other = usize::from(Arc::ptr_eq(&now.parts.services, &self.services[0]));
        let parts = Parts {
            services: self.services[other].clone(),
            ..now.parts.clone()
        };
        now.successor(parts).expect("an endpoint more or less is a change")
    }

    /// Slots that the load balancer's tables need: services, endpoints.
    pub(crate) fn slots(&self) -> (usize, usize) {
        let services = self.size.services as usize + 1;
        (services, services * ENDPOINTS as usize)
    }
}

/// Pods of other nodes: the endpoints of all services, the unrelated one's included.
fn remotes(size: &Size) -> u32 {
    (size.services + 1) * ENDPOINTS
}

/// Pods of this node.
fn pods(size: &Size) -> u32 {
    size.clients + ENDPOINTS
}

fn ports(size: &Size) -> PortTable {
    let mut table = PortTable::default();
    let mut add = |slot: PortSlot, kind, mtu, caps| {
        let scope = Scope::port(u32::from(slot.0) + 1);
        table.set(slot, Some(Arc::new(Port { scope, kind, mtu, caps })));
    };
    // No super-frames: what is measured is the packet, so that as many leave as came.
    let all = Caps {
        checksum: true,
        ..Caps::default()
    };
    add(HOST, PortKind::Host { mac: HOST_MAC }, POD_MTU, all);
    add(
        UPLINK,
        PortKind::Uplink { mac: UPLINK_MAC },
        UNDERLAY_MTU,
        Caps::default(),
    );
    for n in 0..pods(size) {
        let kind = PortKind::Pod {
            mac: addresses::pod_mac(n),
            addrs: [size.family.pod(n)].into(),
            name: format!("default/pod-{n}").into(),
        };
        add(addresses::pod_slot(n), kind, POD_MTU, all);
    }
    table
}
