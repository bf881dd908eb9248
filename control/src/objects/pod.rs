//! Decides what a Pod or Namespace object says about labels, addresses and named ports. It never gives an ended pod an address.

use super::fault::{Faults, FieldPath};
use super::parts::{Meta, host_addr, port, proto};
use crate::model::{NamespaceRecord, PodRecord};
use serde::{Deserialize, Serialize};
use sluice_policy::NamedPort;
use std::sync::Arc;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Namespace {
    pub(super) metadata: Meta,
}

/// The label that the API server puts on every namespace.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn convert_namespace(namespace: Namespace) -> NamespaceRecord {
    let Meta { name, mut labels, .. } = namespace.metadata;
    labels.insert(NAME_LABEL.to_owned(), name.clone());
    NamespaceRecord { name, labels }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    ports: Vec<ContainerPort>,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: String,
    container_port: i64,
    protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct PodIp {
    ip: String,
}

pub(super) fn convert(pod: Pod, faults: &mut Faults) -> PodRecord {
    let Pod { metadata, spec, status } = pod;
    let mut addrs = Vec::new();
    if !matches!(status.phase.as_str(), "Succeeded" | "Failed") {
        let list = FieldPath::of(&["status", "podIPs"]);
        for (i, entry) in status.pod_ips.iter().enumerate() {
            addrs.extend(faults.take(list.index(i).key("ip"), host_addr(&entry.ip)));
        }
        if status.pod_ips.is_empty() && !status.pod_ip.is_empty() {
            addrs.extend(faults.take(FieldPath::of(&["status", "podIP"]), host_addr(&status.pod_ip)));
        }
    }
    addrs.dedup();
    let named_ports = named_ports(&spec, faults);
    let identity = sluice_policy::Pod {
        namespace: metadata.namespace,
        name: metadata.name,
        labels: metadata.labels,
        addrs,
        named_ports,
        host_network: spec.host_network,
    };
    PodRecord {
        identity: Arc::new(identity),
        node: spec.node_name.filter(|name| !name.is_empty()),
        created: metadata.creation_timestamp,
        // A uid of the API server; whatever else may stand there is of no use to anybody.
        uid: (1..=64).contains(&metadata.uid.len()).then(|| metadata.uid.into()),
    }
}

fn named_ports(spec: &Spec, faults: &mut Faults) -> Vec<NamedPort> {
    // An init container that is restarted always runs beside the others, so its ports count as theirs do.
    let sidecars = spec
        .init_containers
        .iter()
        .enumerate()
        .filter(|(_, c)| c.restart_policy.as_deref() == Some("Always"));
    let sidecars = sidecars.map(|(i, c)| ("initContainers", i, c));
    let containers = spec.containers.iter().enumerate().map(|(i, c)| ("containers", i, c));
    let mut named = Vec::new();
    for (list, i, container) in sidecars.chain(containers) {
        let ports = FieldPath::of(&["spec", list]).index(i).key("ports");
        for (j, entry) in container.ports.iter().enumerate().filter(|(_, p)| !p.name.is_empty()) {
            let at = ports.index(j);
            let number = faults.take(at.key("containerPort"), port(entry.container_port));
            let proto = faults.take(at.key("protocol"), proto(entry.protocol.as_deref()));
            if let (Some(port), Some(proto)) = (number, proto) {
                named.push(NamedPort {
                    name: entry.name.clone(),
                    proto,
                    port,
                });
            }
        }
    }
    named
}
