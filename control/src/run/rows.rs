//! The snapshot that is served, as rows for people and programs.

use super::Dataplane;
use super::draining::Draining;
use crate::api::{EndpointRow, FrontendRow, PolicyRow, PolicySide, SelectingPolicyRow, ServiceRow};
use crate::objects::shown;
use sluice_lb::ServiceSlot;
use sluice_policy::{Direction, Pod, PodPolicy};
use sluice_snapshot::{Parts, Peer, PortKind, Prefix, Snapshot};
use sluice_wire::{Addr, Proto};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Where addresses belong.
pub(super) struct Owners {
    pub(super) snapshot: Arc<Snapshot>,
    node_name: String,
    own: Vec<Prefix>,
    pub(super) pods: HashMap<Addr, String>,
}

impl Owners {
    /// `known` are the pods of the whole cluster; what is attached here is the authority on its addresses.
    pub(super) fn new<'p>(
        snapshot: Arc<Snapshot>,
        node_name: &str,
        own: Vec<Prefix>,
        known: impl Iterator<Item = &'p Pod>,
    ) -> Self {
        let mut pods = HashMap::new();
        for pod in known.filter(|pod| !pod.host_network) {
            let name = || format!("{}/{}", pod.namespace, pod.name);
            pods.extend(pod.addrs.iter().map(|addr| (*addr, name())));
        }
        for (_, port) in snapshot.parts.ports.iter() {
            if let PortKind::Pod { addrs, name, .. } = &port.kind {
                pods.extend(addrs.iter().map(|addr| (*addr, name.to_string())));
            }
        }
        Self {
            snapshot,
            node_name: node_name.to_owned(),
            own,
            pods,
        }
    }

    fn node(&self, addr: Addr) -> Option<String> {
        if self.own.iter().any(|prefix| prefix.contains(addr)) || self.snapshot.parts.node.is_local(addr) {
            return Some(self.node_name.clone());
        }
        let owner =
            |peer: &Peer| peer.endpoints.contains(&addr) || peer.prefixes.iter().any(|prefix| prefix.contains(addr));
        self.snapshot
            .parts
            .forwarding
            .peers()
            .find(|(_, peer)| owner(peer))
            .map(|(_, peer)| peer.name.clone())
    }
}

/// All service ports whose service `wanted` names, by namespace, name and port name.
///
/// # Errors
/// None is served that has this name; the text says which are.
pub(super) fn services(
    owners: &Owners,
    wanted: Option<&str>,
    draining: &Draining,
    dataplane: &dyn Dataplane,
) -> Result<Vec<ServiceRow>, String> {
    let services = &owners.snapshot.parts.services;
    let mut frontends: BTreeMap<ServiceSlot, Vec<FrontendRow>> = BTreeMap::new();
    for (frontend, slot) in services.frontends() {
        let address = Some(frontend.addr.to_string());
        let row = FrontendRow {
            address,
            protocol: protocol(frontend.proto),
            port: frontend.port,
        };
        frontends.entry(slot).or_default().push(row);
    }
    for (proto, port, _, slot) in services.node_ports() {
        frontends.entry(slot).or_default().push(FrontendRow {
            address: None,
            protocol: protocol(proto),
            port,
        });
    }
    let rows: Vec<_> = services
        .iter()
        .filter(|(_, service)| names(wanted, &service.name().namespace, &service.name().name))
        .map(|(slot, service)| {
            let frontends = frontends.remove(&slot).unwrap_or_default();
            ServiceRow {
                namespace: service.name().namespace.clone(),
                name: service.name().name.clone(),
                port_name: service.name().port.clone(),
                frontends,
                scheduler: service.scheduler().to_string(),
                affinity_s: service.affinity_s(),
                endpoints: endpoints_of(owners, service, draining, dataplane),
            }
        })
        .collect();
    if let Some(wanted) = wanted.filter(|_| rows.is_empty()) {
        let all = services.iter().map(|(_, service)| service.name());
        let all = all.map(|name| format!("{}/{}", name.namespace, name.name)).collect();
        return Err(format!("no service {} is served; {}", shown(wanted), there_are(&all)));
    }
    Ok(joined(rows))
}

/// What could have been meant.
fn there_are(all: &BTreeSet<String>) -> String {
    const MOST: usize = 8;
    if all.is_empty() {
        return "there is none at all  (sluice status)".to_owned();
    }
    let names: Vec<&str> = all.iter().take(MOST).map(String::as_str).collect();
    let more = match all.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("there are {}{more}", names.join(", "))
}

/// Each family, and the node port, of a service port has a slot of its own; people see one service port.
fn joined(mut rows: Vec<ServiceRow>) -> Vec<ServiceRow> {
    let key = |row: &ServiceRow| {
        let protocol = row.frontends.first().map(|frontend| frontend.protocol.clone());
        (row.namespace.clone(), row.name.clone(), row.port_name.clone(), protocol)
    };
    rows.sort_by_cached_key(key);
    let mut out: Vec<ServiceRow> = Vec::with_capacity(rows.len());
    for row in rows {
        match out.last_mut() {
            Some(last) if key(last) == key(&row) => {
                last.frontends.extend(row.frontends);
                last.endpoints.extend(row.endpoints);
            }
            _ => out.push(row),
        }
    }
    for row in &mut out {
        // Service addresses before node ports.
        row.frontends
            .sort_by(|a, b| a.address.is_none().cmp(&b.address.is_none()).then_with(|| a.cmp(b)));
        row.frontends.dedup();
        let place = |endpoint: &EndpointRow| (endpoint.address.parse::<std::net::IpAddr>().ok(), endpoint.port);
        row.endpoints.sort_by_key(place);
        // The same endpoint behind address and node port is one endpoint; its connections are those of both.
        row.endpoints.dedup_by(|next, kept| {
            let same = place(next) == place(kept);
            if same {
                kept.connections = kept.connections.saturating_add(next.connections);
            }
            same
        });
    }
    out
}

/// The endpoints of those services, one row an endpoint.
///
/// # Errors
/// As of [`services`].
pub(super) fn endpoints(
    owners: &Owners,
    wanted: Option<&str>,
    draining: &Draining,
    dataplane: &dyn Dataplane,
) -> Result<Vec<EndpointRow>, String> {
    let services = services(owners, wanted, draining, dataplane)?;
    Ok(services.into_iter().flat_map(|service| service.endpoints).collect())
}

/// What new connections go to, and with weight 0 what still has old ones.
fn endpoints_of(
    owners: &Owners,
    service: &sluice_lb::Service,
    draining: &Draining,
    dataplane: &dyn Dataplane,
) -> Vec<EndpointRow> {
    let name = service.name();
    let row = |endpoint: &sluice_lb::Endpoint, weight| EndpointRow {
        service: format!("{}/{}", name.namespace, name.name),
        port_name: name.port.clone(),
        address: endpoint.addr.to_string(),
        port: endpoint.port,
        node: owners.node(endpoint.addr),
        pod: owners.pods.get(&endpoint.addr).cloned(),
        weight,
        connections: dataplane.endpoint_connections(endpoint.slot),
    };
    let serving = service
        .endpoints()
        .iter()
        .map(|endpoint| row(endpoint, endpoint.weight));
    let left = draining.of(service.slot()).map(|endpoint| row(endpoint, 0));
    serving.chain(left.filter(|row| row.connections > 0)).collect()
}

/// Policies of the attached pods, by pod.
///
/// # Errors
/// No pod of this name is attached; the text says which are.
pub(super) fn policies(parts: &Parts, wanted: Option<&str>) -> Result<Vec<PolicyRow>, String> {
    let mut attached = BTreeSet::new();
    let mut rows = Vec::new();
    for (slot, port) in parts.ports.iter() {
        let PortKind::Pod { addrs, name, .. } = &port.kind else {
            continue;
        };
        let (namespace, pod) = name.split_once('/').unwrap_or(("", name));
        if !names(wanted, namespace, pod) {
            attached.insert(name.to_string());
            continue;
        }
        let policy = parts.policies.pods.get(&slot);
        rows.push(PolicyRow {
            pod: name.to_string(),
            addresses: addrs.iter().map(Addr::to_string).collect(),
            ingress: side(policy.map(AsRef::as_ref), Direction::Ingress),
            egress: side(policy.map(AsRef::as_ref), Direction::Egress),
        });
    }
    if let Some(wanted) = wanted.filter(|_| rows.is_empty()) {
        return Err(format!(
            "no pod {} is attached to this node; {}",
            shown(wanted),
            there_are(&attached)
        ));
    }
    rows.sort_by(|a: &PolicyRow, b| a.pod.cmp(&b.pod));
    Ok(rows)
}

fn side(policy: Option<&PodPolicy>, direction: Direction) -> PolicySide {
    let Some((policy, policies)) = policy.and_then(|policy| Some((policy, policy.policies(direction)?))) else {
        return PolicySide::default();
    };
    let row = |policy: &sluice_policy::SelectingPolicy| SelectingPolicyRow {
        policy: match policy.cluster {
            None => format!("{}/{}", policy.namespace, policy.name),
            Some(_) => policy.name.clone(),
        },
        tier: policy.cluster.map(|(tier, _)| tier.to_string()),
        priority: policy.cluster.map(|(_, priority)| priority),
        rules: policy.rules.clone(),
    };
    PolicySide {
        isolated: policy.is_isolated(direction),
        policies: policies.iter().map(row).collect(),
    }
}

/// Whether a person who wrote `wanted` means this object: by `namespace/name`, or by the name in any namespace.
pub(super) fn names(wanted: Option<&str>, namespace: &str, name: &str) -> bool {
    match wanted.map(|wanted| wanted.split_once('/').ok_or(wanted)) {
        None => true,
        Some(Ok((ns, n))) => ns == namespace && n == name,
        Some(Err(n)) => n == name,
    }
}

pub(super) fn protocol(proto: Proto) -> String {
    match proto {
        Proto::TCP => "tcp".into(),
        Proto::UDP => "udp".into(),
        Proto::SCTP => "sctp".into(),
        Proto::ICMP => "icmp".into(),
        Proto::ICMPV6 => "icmpv6".into(),
        Proto(other) => other.to_string(),
    }
}
