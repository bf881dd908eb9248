//! Decides what the packet path is given for the model and the node's state at one moment. It never reads a file, a socket or a clock.

mod cluster;
mod endpoints;
mod fib;
mod forwarding;
mod inputs;
mod macs;
mod pods;
mod policies;
mod ports;
mod result;
mod service;
mod services;
mod slots;
mod taken;

pub(crate) use forwarding::vtep_mac;
pub use inputs::{AttachedPod, FibRoute, HostPort, Inputs, Neighbour, Settings, Underlay, Uplink, UplinkPort};
pub use result::{Compiled, Report, Severity, SlotKeeper, Steering};

use crate::model::Store;
use fib::{Fib, is_link_local};
use service::Context;
use sluice_lb::{EndpointSlot, ServiceSlot};
use sluice_snapshot::{Node, Parts, PortTable};
use std::sync::Arc;

/// Compiles again and again, keeping numbers stable and unchanged parts shared from one time to the next.
pub struct Compiler {
    node: Option<Arc<Node>>,
    ports: Arc<PortTable>,
    forwarding: forwarding::Memo,
    services: services::ServicesMemo,
    policies: policies::PoliciesMemo,
}

/// Nobody keeps state, so every slot can change hands.
struct NoKeeper;

impl SlotKeeper for NoKeeper {
    fn forget_service(&mut self, _: ServiceSlot) -> bool {
        true
    }

    fn forget_endpoint(&mut self, _: EndpointSlot) -> bool {
        true
    }
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new(Box::new(NoKeeper))
    }
}

impl Compiler {
    /// `keeper` is asked before a number of a service or endpoint changes hands.
    pub fn new(keeper: Box<dyn SlotKeeper>) -> Self {
        Self {
            node: None,
            ports: Arc::default(),
            forwarding: forwarding::Memo::default(),
            services: services::ServicesMemo::new(keeper),
            policies: policies::PoliciesMemo::default(),
        }
    }

    /// Everything for this moment. The caller has seen the store synced.
    ///
    /// # Errors
    /// This node's own record is missing or has no pod range: what was served before stays, the reports say why.
    pub fn compile(&mut self, store: &Store, inputs: &Inputs<'_>) -> Result<Compiled, Vec<Report>> {
        let mut reports = Vec::new();
        let cluster = match cluster::survey(store, inputs.settings, inputs.underlay, &mut reports) {
            Ok(cluster) => cluster,
            Err(report) => {
                reports.push(report);
                return Err(reports);
            }
        };
        let fib = Fib::new(inputs.underlay);
        let uplink = &inputs.underlay.uplink;
        if !uplink.up {
            reports.push(Report::warning(
                format!("uplink {}", uplink.name),
                "it is down or has no carrier; other nodes cannot be reached",
            ));
        }
        let node = ports::node(inputs, &cluster, &fib);
        let node = self
            .node
            .take()
            .filter(|before| **before == node)
            .unwrap_or_else(|| Arc::new(node));
        self.node = Some(node.clone());
        self.ports = ports::ports(inputs, &self.ports);
        let (forwarding, wanted) = self.forwarding.compile(inputs, &node, &cluster, &fib, &mut reports);
        let context = Context::new(inputs.settings, &cluster.own_prefixes);
        self.services.compile(store, context, &cluster.prefixes);
        self.policies.compile(store, inputs.pods);
        reports.extend(self.services.reports.iter().chain(&self.policies.reports).cloned());
        // The node's SSH must not hang on what somebody writes into a Service.
        let mut frontends = self.services.frontends.clone();
        frontends.retain(|frontend| {
            let own = node.addresses.contains(&frontend.addr);
            if own && node.in_services(frontend.addr) {
                let text = "is an address of this node, too: its own pods and programs meet what listens there";
                reports.push(Report::info(format!("service address {frontend}"), text));
            } else if own {
                let text = "is an address of this node, which keeps it: choose one from the service ranges";
                reports.push(Report::warning(format!("service address {frontend}"), text));
            }
            !own
        });
        reports.sort();
        reports.dedup();

        let mut node_addresses: Vec<_> = node
            .addresses
            .iter()
            .copied()
            .filter(|addr| !is_link_local(*addr))
            .collect();
        node_addresses.sort();
        let mut pod_ranges = node.cluster_prefixes.to_vec();
        pod_ranges.sort();
        pod_ranges.dedup();
        let steering = Steering {
            uplink: inputs.underlay.uplink.ifindex,
            mac: inputs.underlay.uplink.mac,
            mtu: inputs.underlay.uplink.mtu,
            frontends,
            node_ports: self.services.node_ports.clone(),
            node_addresses,
            pod_ranges,
        };
        let outer_v4 = fib.uplink_addresses(true).next().is_some();
        let parts = Parts {
            node,
            ports: self.ports.clone(),
            forwarding,
            services: self.services.services.clone(),
            policies: self.policies.policies.clone(),
        };
        let pod_mtu = forwarding::tunnel_mtu(inputs, outer_v4);
        Ok(Compiled {
            parts,
            steering,
            wanted_neighbours: wanted.into_iter().collect(),
            pod_mtu,
            own_ranges: cluster.own_prefixes,
            reports,
        })
    }
}
