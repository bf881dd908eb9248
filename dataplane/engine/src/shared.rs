//! What all workers share.

use crate::{ConnectionTable, FragmentTable, PathMtu};
use sluice_lb::{Runtime, SnatPorts, Timeouts};

/// The node's connections, the schedulers' state and the ports that masquerading may use.
pub struct Shared {
    /// Connections.
    pub connections: ConnectionTable,
    /// Cursors, counts and affinity of services.
    pub runtime: Runtime,
    /// Source ports (and echo identifiers) towards outside: those whose replies the uplink steers to us.
    pub outside_ports: SnatPorts,
    /// Source ports (and echo identifiers) towards pods, at the base address, where every reply comes to us.
    pub base_ports: SnatPorts,
    /// Fragmented packets under way.
    pub fragments: FragmentTable,
    /// What was learnt about tunnels' paths.
    pub path_mtu: PathMtu,
}

impl Shared {
    /// Room for `connections`.
    pub fn new(connections: usize, runtime: Runtime, outside_ports: SnatPorts, base_ports: SnatPorts) -> Self {
        let connections = ConnectionTable::new(connections, Timeouts::default());
        Self {
            connections,
            runtime,
            outside_ports,
            base_ports,
            fragments: FragmentTable::default(),
            path_mtu: PathMtu::default(),
        }
    }
}
