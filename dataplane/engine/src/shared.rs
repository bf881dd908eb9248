//! What all workers share.

use crate::limits::{Limits, TokenBuckets};
use crate::{ConnectionTable, EchoIds, FragmentTable, PathMtu, Record, RecordsError};
use sluice_lb::{Runtime, SnatPorts, Timeouts};
use std::sync::Arc;

/// The node's connections, the schedulers' state and the ports that masquerading may use.
pub struct Shared {
    /// Connections.
    pub connections: ConnectionTable,
    /// What each port may take of them.
    pub limits: Limits,
    /// How many flows each port may begin now.
    pub new_flows: TokenBuckets,
    /// How many errors and resets each port may be answered now.
    pub answers: TokenBuckets,
    /// Cursors, counts and affinity of services.
    pub runtime: Runtime,
    /// Source ports (and echo identifiers) towards outside: those whose replies the uplink steers to us.
    pub outside_ports: SnatPorts,
    /// Source ports (and echo identifiers) towards pods, at the base address, where every reply comes to us.
    pub base_ports: SnatPorts,
    /// Echo identifiers that pings are masqueraded to now.
    pub echo_ids: Arc<EchoIds>,
    /// Fragmented packets under way.
    pub fragments: FragmentTable,
    /// What was learnt about tunnels' paths.
    pub path_mtu: PathMtu,
}

impl Shared {
    /// Room for `connections`.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn new(
        connections: u32,
        limits: Limits,
        runtime: Runtime,
        outside_ports: SnatPorts,
        base_ports: SnatPorts,
    ) -> Result<Self, RecordsError> {
        Ok(Self {
            connections: ConnectionTable::new(connections, Timeouts::default())?,
            limits,
            new_flows: TokenBuckets::new(limits.new_flows_per_s, limits.new_flows_burst),
            answers: TokenBuckets::new(limits.answers_per_s, limits.answers_burst),
            runtime,
            outside_ports,
            base_ports,
            echo_ids: Arc::default(),
            fragments: FragmentTable::default(),
            path_mtu: PathMtu::default(),
        })
    }

    /// Gives back what a connection held besides its place in the table; for who took it out.
    pub(crate) fn ended(&self, record: &Record) {
        if let Some(endpoint) = record.endpoint {
            self.runtime.release(endpoint);
        }
        self.echo_ids.release(record);
    }
}
