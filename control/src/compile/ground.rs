//! Decides what depends on nodes, the kernel and the ports, and on no service or policy. It never looks at any of it twice for the same.

use super::fib::Fib;
use super::inputs::{AttachedPod, HostPort, Inputs, Settings, Underlay, UplinkPort};
use super::result::{Reason, Report};
use super::service_ranges::service_ranges;
use super::{cluster, forwarding, ports};
use crate::model::Store;
use sluice_snapshot::{Forwarding, Node, PortTable, Prefix};
use sluice_wire::Addr;
use std::sync::Arc;

/// All of it, and what it was made for.
pub(super) struct Ground {
    /// Grows whenever it is made anew.
    pub(super) made: u64,
    pub(super) node: Arc<Node>,
    pub(super) ports: Arc<PortTable>,
    pub(super) forwarding: Arc<Forwarding>,
    /// Next hops, sorted.
    pub(super) wanted: Vec<(u32, Addr)>,
    pub(super) pod_mtu: u16,
    pub(super) own_prefixes: Vec<Prefix>,
    /// Pod ranges of all nodes.
    pub(super) prefixes: Vec<Prefix>,
    /// What service addresses come from.
    pub(super) service_ranges: Vec<Prefix>,
    pub(super) reports: Vec<Report>,
    nodes: u64,
    service_cidrs: u64,
    settings: Settings,
    underlay: Underlay,
    pods: Vec<AttachedPod>,
    host: HostPort,
    uplink: UplinkPort,
}

impl Ground {
    /// Shares with the one before what is the same.
    ///
    /// # Errors
    /// As [`super::Compiler::compile`].
    pub(super) fn make(
        before: Option<&Self>,
        memo: &mut forwarding::Memo,
        store: &Store,
        inputs: &Inputs<'_>,
    ) -> Result<Self, Vec<Report>> {
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
            let (text, reason) = match uplink.ifindex {
                0 => ("it is not there; other nodes cannot be reached", Reason::UplinkMissing),
                _ => (
                    "it is down or has no carrier; other nodes cannot be reached",
                    Reason::UplinkDown,
                ),
            };
            reports.push(Report::warning(format!("uplink {}", uplink.name), text).because(reason));
        }
        let service_ranges = service_ranges(store, inputs, &cluster.prefixes, &mut reports);
        let node = ports::node(inputs, &cluster, &fib, &service_ranges);
        let same = before.map(|before| &before.node).filter(|before| ***before == node);
        let node = same.cloned().unwrap_or_else(|| Arc::new(node));
        let none = Arc::default();
        let ports = ports::ports(inputs, before.map_or(&none, |before| &before.ports));
        let (forwarding, wanted) = memo.compile(inputs, &node, &cluster, &fib, &mut reports);
        let outer_v4 = fib.uplink_addresses(true).next().is_some();
        Ok(Self {
            made: before.map_or(1, |before| before.made + 1),
            node,
            ports,
            forwarding,
            wanted: wanted.into_iter().collect(),
            pod_mtu: forwarding::tunnel_mtu(inputs, outer_v4),
            own_prefixes: cluster.own_prefixes,
            prefixes: cluster.prefixes,
            service_ranges,
            reports,
            nodes: store.revisions().nodes,
            service_cidrs: store.revisions().service_cidrs,
            settings: inputs.settings.clone(),
            underlay: inputs.underlay.clone(),
            pods: inputs.pods.to_vec(),
            host: inputs.host.clone(),
            uplink: inputs.uplink.clone(),
        })
    }

    /// Whether making it again would give the same.
    pub(super) fn still_holds(&self, store: &Store, inputs: &Inputs<'_>) -> bool {
        self.nodes == store.revisions().nodes
            && self.service_cidrs == store.revisions().service_cidrs
            && self.settings == *inputs.settings
            && self.pods == inputs.pods
            && self.host == *inputs.host
            && self.uplink == *inputs.uplink
            && self.underlay == *inputs.underlay
    }
}
