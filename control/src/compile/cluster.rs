//! Decides which nodes take part and what each of them owns. Where two claim the same, this node's claim holds, then the first by name; it never merges
//! claims, and never takes a range with which this node would cut itself off.

use super::forwarding::vtep_mac;
use super::inputs::{Settings, Underlay};
use super::result::{Reason, Report};
use super::taken::{Taken, describe};
use crate::model::{NodeRecord, Store};
use sluice_snapshot::Prefix;
use sluice_wire::Addr;
use std::collections::BTreeMap;

/// This node and the others.
pub(super) struct Cluster<'a> {
    pub(super) own: &'a NodeRecord,
    /// This node's pod ranges.
    pub(super) own_prefixes: Vec<Prefix>,
    pub(super) peers: Vec<PeerPlan<'a>>,
    /// Pod ranges of all nodes, none of which overlaps another, ordered by family and then by address.
    pub(super) prefixes: Vec<Prefix>,
}

/// The range that holds an address, among ranges ordered as in [`Cluster::prefixes`].
pub(super) fn covering(prefixes: &[Prefix], addr: Addr) -> Option<Prefix> {
    // They do not overlap, so it can only be the last one that begins at or before the address.
    let end = prefixes.partition_point(|prefix| (prefix.is_v4(), *prefix) <= (addr.is_v4(), Prefix::host(addr)));
    prefixes[..end].last().copied().filter(|prefix| prefix.contains(addr))
}

/// Another node, with what is undisputedly its.
pub(super) struct PeerPlan<'a> {
    pub(super) node: &'a NodeRecord,
    pub(super) prefixes: Vec<Prefix>,
    /// Outer address of either family: flannel's public address, else the first internal one.
    pub(super) outer_v4: Option<Addr>,
    pub(super) outer_v6: Option<Addr>,
    /// All addresses that its tunnel packets may come from.
    pub(super) endpoints: Vec<Addr>,
}

/// The nodes, or why nothing can be served.
pub(super) fn survey<'a>(
    store: &'a Store,
    settings: &Settings,
    underlay: &Underlay,
    reports: &mut Vec<Report>,
) -> Result<Cluster<'a>, Report> {
    let object = format!("node {}", settings.node_name);
    let Some(own) = store.node(&settings.node_name) else {
        let text = "no Node object has this name; nothing is served until one has (is the node name right?)";
        return Err(Report::warning(object, text));
    };
    if own.prefixes.is_empty() {
        let text = "this node has no pod range; nothing is served until spec.podCIDRs of its Node object has one";
        return Err(Report::warning(object, text).because(Reason::NoPodCidr));
    }
    let own_name = own.name.as_str();
    check_vni(own, settings, reports);
    let announced = [
        (own.vtep.public_v4, &own.overwrite_v4),
        (own.vtep.public_v6, &own.overwrite_v6),
    ];
    for (public, overwrite) in announced {
        if let Some(Err(text)) = overwrite {
            reports.push(Report::warning(&object, text));
        }
        // What is overwritten belongs to whatever translates this node's addresses.
        let Some(public) = public.filter(|_| !matches!(overwrite, Some(Ok(_)))) else {
            continue;
        };
        if !underlay.addresses.iter().any(|(_, addr)| *addr == public) {
            let text = format!(
                "the public address {public} of its annotations is on no interface here; others will not reach it"
            );
            reports.push(Report::warning(&object, text));
        }
    }
    let taken = Taken::new(underlay);
    let here = |addr: &Addr| underlay.addresses.iter().any(|(_, own)| own == addr);
    if !own.internal_ips.is_empty() && !own.internal_ips.iter().any(here) {
        let listed: Vec<String> = own.internal_ips.iter().map(Addr::to_string).collect();
        let text = format!(
            "none of the addresses of its Node object ({}) is on an interface here; other nodes take no tunnel packets from elsewhere",
            listed.join(", ")
        );
        reports.push(Report::warning(&object, text));
    }
    let mut ranges = Ranges::default();
    let mut own_prefixes = own.prefixes.clone();
    own_prefixes.retain(|prefix| is_free(own, prefix, &taken, reports) && ranges.claim(own, *prefix, reports));
    if own_prefixes.is_empty() {
        let text =
            "none of its pod ranges can be used; nothing is served until spec.podCIDRs of its Node object has one";
        return Err(Report::warning(object, text).because(Reason::NoPodCidr));
    }
    let mut owners = Owners::default();
    for (_, addr) in &underlay.addresses {
        owners.0.insert((addr.is_v4(), *addr), own_name);
    }
    let mut peers: Vec<PeerPlan<'_>> = store
        .nodes()
        .filter(|node| node.name != own_name)
        .filter_map(|node| peer(node, settings, &ranges, &mut owners, reports))
        .collect();
    let macs = [vtep_mac(own, true), vtep_mac(own, false)].map(Some);
    for PeerPlan { node, .. } in &peers {
        let copied = [node.vtep.mac_v4, node.vtep.mac_v6]
            .into_iter()
            .find(|mac| macs.contains(mac));
        if let Some(mac) = copied.flatten() {
            let text = format!(
                "its VtepMAC {mac} is this node's as well; packets between them may be taken for another's until one has a MAC of its own"
            );
            reports.push(Report::warning(format!("node {}", node.name), text));
        }
    }
    // After all addresses: a node is found by them, and no other's range must be in the way.
    for plan in &mut peers {
        let node = plan.node;
        plan.prefixes = node.prefixes.clone();
        plan.prefixes.retain(|prefix| {
            is_free(node, prefix, &taken, reports)
                && owners.is_free(node, prefix, reports)
                && ranges.claim(node, *prefix, reports)
        });
    }
    Ok(Cluster {
        own,
        own_prefixes,
        peers,
        prefixes: ranges.0.into_keys().map(|(_, prefix)| prefix).collect(),
    })
}

/// Whether the range leaves this node its own network.
fn is_free(node: &NodeRecord, prefix: &Prefix, taken: &Taken, reports: &mut Vec<Report>) -> bool {
    let Some(touched) = taken.touched(prefix) else {
        return true;
    };
    let text = format!(
        "its pod range {prefix} overlaps {}; the range is not used, give the node another",
        describe(touched)
    );
    reports.push(Report::warning(format!("node {}", node.name), text));
    false
}

/// Addresses of nodes, and whose they are.
#[derive(Default)]
struct Owners<'a>(BTreeMap<(bool, Addr), &'a str>);

impl Owners<'_> {
    /// Whether no node has an address in the range.
    fn is_free(&self, node: &NodeRecord, prefix: &Prefix, reports: &mut Vec<Report>) -> bool {
        let next = self.0.range((prefix.is_v4(), prefix.base())..).next();
        let Some(((_, addr), owner)) = next.filter(|((_, addr), _)| prefix.contains(*addr)) else {
            return true;
        };
        let text = format!(
            "its pod range {prefix} holds {addr}, an address of node {owner}; the range is not used, give the node another"
        );
        reports.push(Report::warning(format!("node {}", node.name), text));
        false
    }
}

/// The node's plan, without its ranges.
fn peer<'a>(
    node: &'a NodeRecord,
    settings: &Settings,
    own: &Ranges<'_>,
    owners: &mut Owners<'a>,
    reports: &mut Vec<Report>,
) -> Option<PeerPlan<'a>> {
    let object = format!("node {}", node.name);
    if let Some(backend) = node.vtep.backend.as_deref().filter(|backend| *backend != "vxlan") {
        let backend = crate::objects::shown(backend);
        let text = format!("its flannel back end is {backend}, not vxlan; its pods cannot be reached");
        reports.push(Report::warning(object, text));
        return None;
    }
    if node.prefixes.is_empty() {
        reports.push(Report::warning(
            object,
            "it has no pod range (spec.podCIDRs); its pods cannot be reached",
        ));
        return None;
    }
    check_vni(node, settings, reports);
    let first = |v4: bool| node.internal_ips.iter().copied().find(|addr| addr.is_v4() == v4);
    let outer_v4 = node.vtep.public_v4.or_else(|| first(true));
    let outer_v6 = node.vtep.public_v6.or_else(|| first(false));
    let mut endpoints: Vec<Addr> = [outer_v4, outer_v6]
        .into_iter()
        .flatten()
        .chain(node.internal_ips.iter().copied())
        .collect();
    endpoints.sort();
    endpoints.dedup();
    endpoints.retain(|addr| {
        if let Some(range) = own.holding(*addr) {
            let text = format!("its address {addr} lies in the pod range {range} of this node, which keeps it");
            reports.push(Report::warning(&object, text));
            return false;
        }
        let owner = *owners.0.entry((addr.is_v4(), *addr)).or_insert(&node.name);
        if owner != node.name {
            let text = format!("its address {addr} is {owner}'s as well; {owner} keeps it");
            reports.push(Report::warning(&object, text));
        }
        owner == node.name
    });
    let ours = |addr: Option<Addr>| addr.filter(|addr| endpoints.contains(addr));
    let (outer_v4, outer_v6) = (ours(outer_v4), ours(outer_v6));
    if outer_v4.is_none() && outer_v6.is_none() {
        let text = "it has no usable address (status.addresses of type InternalIP, or flannel's annotations); its pods cannot be reached";
        reports.push(Report::warning(&object, text));
    }
    Some(PeerPlan {
        node,
        prefixes: Vec::new(),
        outer_v4,
        outer_v6,
        endpoints,
    })
}

fn check_vni(node: &NodeRecord, settings: &Settings, reports: &mut Vec<Report>) {
    let ours = settings.vni.get();
    if let Some(vni) = node.vtep.vni.filter(|vni| *vni != ours) {
        let text = format!("it announces vni {vni}, this agent uses {ours}; packets between them will be refused");
        reports.push(Report::warning(format!("node {}", node.name), text));
    }
}

/// Pod ranges so far, none of which overlaps another; ordered by family first.
#[derive(Default)]
struct Ranges<'a>(BTreeMap<(bool, Prefix), &'a str>);

impl<'a> Ranges<'a> {
    /// The range that an address lies in.
    fn holding(&self, addr: Addr) -> Option<Prefix> {
        let (_, prefix) = self.0.range(..=(addr.is_v4(), Prefix::host(addr))).next_back()?.0;
        prefix.contains(addr).then_some(*prefix)
    }

    /// False when the range overlaps an earlier one.
    fn claim(&mut self, node: &'a NodeRecord, prefix: Prefix, reports: &mut Vec<Report>) -> bool {
        let key = (prefix.is_v4(), prefix);
        // As earlier ones do not overlap, only the last that begins before and the first that begins after can touch this one.
        let nearest = self
            .0
            .range(..=key)
            .next_back()
            .into_iter()
            .chain(self.0.range(key..).next());
        let clash = nearest
            .into_iter()
            .find(|((_, other), _)| other.covers(&prefix) || prefix.covers(other));
        let Some(((_, other), owner)) = clash else {
            self.0.insert(key, &node.name);
            return true;
        };
        if *owner != node.name {
            let text = format!(
                "its pod range {prefix} overlaps {other} of node {owner}, which keeps it; give each node a range of its own"
            );
            reports.push(Report::warning(format!("node {}", node.name), text));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_never_overlap_and_covering_agrees_with_a_scan(
            blocks in proptest::collection::vec((any::<bool>(), 0u8..4, 0u8..4, 14u8..=30), 0..24),
            probes in proptest::collection::vec((any::<bool>(), 0u8..4, 0u8..4, any::<u8>()), 1..24),
        ) {
            let addr = |v4: bool, a: u8, b: u8, c: u8| if v4 {
                Addr::v4([10, a, b, c])
            } else {
                Addr::v6([0xfd, a, b, c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            };
            let mut kept: Vec<Prefix> = Vec::new();
            let nodes: Vec<NodeRecord> = (0..blocks.len()).map(|i| NodeRecord { name: format!("n{i}"), ..NodeRecord::default() }).collect();
            let mut ranges = Ranges::default();
            let mut reports = Vec::new();
            for ((v4, a, b, len), node) in blocks.into_iter().zip(&nodes) {
                let prefix = Prefix::new(addr(v4, a, b, 0), len).unwrap();
                let free = !kept.iter().any(|k| k.covers(&prefix) || prefix.covers(k));
                prop_assert_eq!(ranges.claim(node, prefix, &mut reports), free);
                if free {
                    kept.push(prefix);
                }
            }
            let sorted: Vec<Prefix> = ranges.0.into_keys().map(|(_, prefix)| prefix).collect();
            for (v4, a, b, c) in probes {
                let probe = addr(v4, a, b, c);
                prop_assert_eq!(covering(&sorted, probe), kept.iter().copied().find(|k| k.contains(probe)));
            }
        }
    }
}
