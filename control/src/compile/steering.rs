//! Decides what the uplink's program takes from the wire. It never lets a Service take an address of the node.

use super::fib::is_link_local;
use super::ground::Ground;
use super::inputs::Inputs;
use super::result::{Report, Steering};
use super::services::ServicesMemo;

/// It, and what is odd about services at the node's own addresses.
pub(super) fn steering(inputs: &Inputs<'_>, ground: &Ground, services: &ServicesMemo) -> (Steering, Vec<Report>) {
    let node = &ground.node;
    let mut reports = Vec::new();
    // The node's SSH must not hang on what somebody writes into a Service.
    let mut frontends = services.frontends.clone();
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
    let addresses = node.addresses.iter().copied();
    let mut node_addresses: Vec<_> = addresses.filter(|addr| !is_link_local(*addr)).collect();
    node_addresses.sort();
    let mut pod_ranges = node.cluster_prefixes.to_vec();
    pod_ranges.sort();
    pod_ranges.dedup();
    let uplink = &inputs.underlay.uplink;
    let steering = Steering {
        uplink: uplink.ifindex,
        mac: uplink.mac,
        mtu: uplink.mtu,
        frontends,
        node_ports: services.node_ports.clone(),
        node_addresses,
        pod_ranges,
    };
    (steering, reports)
}
