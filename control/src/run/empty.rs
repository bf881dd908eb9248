//! What is served before there is anything to serve.

use sluice_snapshot::{Node, Parts, Prefixes};
use sluice_wire::{MacAddr, PortSlot, Vni};
use std::sync::Arc;

/// Parts without ports, routes, services and policies: every packet is dropped. For the first snapshot of a
/// [`sluice_snapshot::Publisher`].
pub fn empty_parts() -> Parts {
    /// In an empty port table every slot is.
    const NO_PORT: PortSlot = PortSlot(u16::MAX);
    let Some(vni) = Vni::new(0) else {
        unreachable!("0 has fewer than 24 bits")
    };
    Parts {
        node: Arc::new(Node {
            name: String::new(),
            vni,
            tunnel_port: 0,
            gateway_mac: MacAddr::default(),
            vtep_mac_v4: MacAddr::default(),
            vtep_mac_v6: MacAddr::default(),
            addresses: Default::default(),
            base_v4: None,
            base_v6: None,
            outside_v4: None,
            outside_v6: None,
            cluster_prefixes: Prefixes::default(),
            service_prefixes: Prefixes::default(),
            host_port: NO_PORT,
            uplink_port: NO_PORT,
            masquerade_ports: (0, 0),
        }),
        ports: Arc::default(),
        forwarding: Arc::default(),
        services: Arc::default(),
        policies: Arc::default(),
    }
}
