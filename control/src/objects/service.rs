//! Decides what a Service object asks for. It never allocates an address or a port: what is missing is an error here.

use super::fault::{Fault, Faults, FieldPath};
use super::parts::{Meta, addr, annotation_path, host_addr, port, proto, proto_name, shown};
use crate::model::{ServicePort, ServiceRecord};
use serde::{Deserialize, Serialize};
use sluice_lb::SchedulerKind;
use sluice_wire::Addr;
use std::collections::BTreeMap;

const SCHEDULER: &str = "sluice.io/scheduler";
const WEIGHTS: &str = "sluice.io/weights";
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) metadata: Meta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    r#type: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    external_ips: Vec<String>,
    ports: Vec<Port>,
    session_affinity: Option<String>,
    session_affinity_config: AffinityConfig,
    internal_traffic_policy: Option<String>,
    external_traffic_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    name: String,
    protocol: Option<String>,
    port: i64,
    node_port: i64,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct AffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: ClientIp,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientIp {
    timeout_seconds: Option<i64>,
}

/// What a service's type says about node ports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NodePorts {
    None,
    Possible,
    Needed,
}

fn spec(field: &str) -> FieldPath {
    FieldPath::of(&["spec", field])
}

/// `None` when the service has no address of its own (headless, ExternalName) or is another proxy's.
pub(super) fn convert(service: Service, faults: &mut Faults) -> Option<ServiceRecord> {
    let Service { metadata, spec: s } = service;
    let node_ports = match s.r#type.as_deref() {
        None | Some("" | "ClusterIP") => NodePorts::None,
        Some("NodePort") => NodePorts::Needed,
        // Its addresses may be all that leads to it (allocateLoadBalancerNodePorts: false).
        Some("LoadBalancer") => NodePorts::Possible,
        Some("ExternalName") => return None,
        Some(other) => {
            let text = format!(
                "`{}` is unknown; want ClusterIP, NodePort, LoadBalancer or ExternalName",
                shown(other)
            );
            faults.whole(spec("type"), text);
            return None;
        }
    };
    let headless = s.cluster_ip == "None" || s.cluster_ips.first().is_some_and(|ip| ip == "None");
    if headless || metadata.labels.contains_key(OTHER_PROXY_LABEL) {
        return None;
    }
    let cluster_ips = cluster_ips(&s, faults);
    let ports = ports(&s.ports, node_ports, faults);
    let affinity_s = affinity(&s, faults);
    let asked = [
        (
            "internalTrafficPolicy: Local",
            s.internal_traffic_policy.as_deref() == Some("Local"),
        ),
        (
            "externalTrafficPolicy: Local",
            node_ports != NodePorts::None && s.external_traffic_policy.as_deref() == Some("Local"),
        ),
        ("externalIPs", !s.external_ips.is_empty()),
    ];
    Some(ServiceRecord {
        cluster_ips,
        ports,
        affinity_s,
        scheduler: scheduler(&metadata, faults),
        weights: weights(&metadata, faults),
        not_honoured: asked.into_iter().filter(|(_, is)| *is).map(|(what, _)| what).collect(),
        namespace: metadata.namespace,
        name: metadata.name,
        created: metadata.creation_timestamp,
    })
}

fn cluster_ips(s: &Spec, faults: &mut Faults) -> Vec<Addr> {
    if s.cluster_ip.is_empty() && s.cluster_ips.is_empty() {
        let text = "missing, and nothing allocates addresses here; write one of the service range, or None for a headless service";
        faults.whole(spec("clusterIP"), text);
        return Vec::new();
    }
    if s.cluster_ips.is_empty() {
        return faults
            .take(spec("clusterIP"), host_addr(&s.cluster_ip))
            .into_iter()
            .collect();
    }
    let list = spec("clusterIPs");
    if !s.cluster_ip.is_empty() && s.cluster_ip != s.cluster_ips[0] {
        let text = format!(
            "clusterIP {} differs from clusterIPs[0] {}",
            shown(&s.cluster_ip),
            shown(&s.cluster_ips[0])
        );
        faults.whole(spec("clusterIP"), text);
    }
    let ips: Vec<Addr> = s
        .cluster_ips
        .iter()
        .enumerate()
        .filter_map(|(i, t)| faults.take(list.index(i), host_addr(t)))
        .collect();
    let one_each = ips.len() < 2 || (ips.len() == 2 && ips[0].is_v4() != ips[1].is_v4());
    if !one_each {
        faults.whole(list, "want one address, or one of each family");
    }
    ips
}

fn ports(entries: &[Port], node_ports: NodePorts, faults: &mut Faults) -> Vec<ServicePort> {
    let list = spec("ports");
    if entries.is_empty() {
        faults.whole(list.clone(), "the service has no ports");
    }
    let mut out: Vec<ServicePort> = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let at = list.index(i);
        if entries.len() > 1 && entry.name.is_empty() {
            faults.whole(
                at.key("name"),
                "missing; a service with several ports names each of them",
            );
        }
        let number = faults.take(at.key("port"), port(entry.port));
        let proto = faults.take(at.key("protocol"), proto(entry.protocol.as_deref()));
        let node_port = match entry.node_port {
            0 => None,
            n => faults.take(at.key("nodePort"), port(n)),
        };
        if node_ports == NodePorts::Needed && entry.node_port == 0 {
            faults.0.push(Fault {
                path: at.clone(),
                text: "nodePort is missing, and nothing allocates ports here; write one of 30000 to 32767".to_owned(),
                left_out: Some("the port is served at the cluster addresses only"),
            });
        }
        let (Some(port), Some(proto)) = (number, proto) else {
            continue;
        };
        if out.iter().any(|p| p.name == entry.name) && !entry.name.is_empty() {
            faults.whole(
                at.key("name"),
                format!("port name `{}` is given twice", shown(&entry.name)),
            );
        }
        if out.iter().any(|p| (p.port, p.proto) == (port, proto)) {
            faults.whole(
                at.key("port"),
                format!("port {port}/{} is given twice", proto_name(proto)),
            );
        }
        if node_port.is_some() && out.iter().any(|p| (p.node_port, p.proto) == (node_port, proto)) {
            faults.whole(
                at.key("nodePort"),
                format!("nodePort {}/{} is given twice", entry.node_port, proto_name(proto)),
            );
        }
        out.push(ServicePort {
            name: entry.name.clone(),
            proto,
            port,
            node_port: node_port.filter(|_| node_ports != NodePorts::None),
        });
    }
    out
}

/// Kubernetes' default and limits for `sessionAffinityConfig.clientIP.timeoutSeconds`.
fn affinity(s: &Spec, faults: &mut Faults) -> Option<u32> {
    match s.session_affinity.as_deref() {
        None | Some("" | "None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            faults.whole(
                spec("sessionAffinity"),
                format!("`{}` is unknown; want None or ClientIP", shown(other)),
            );
            return None;
        }
    }
    let seconds = s.session_affinity_config.client_ip.timeout_seconds.unwrap_or(10_800);
    let checked = match u32::try_from(seconds) {
        Ok(seconds @ 1..=86_400) => Ok(seconds),
        _ => Err(format!("{seconds} is no affinity time-out; want 1 to 86400 seconds")),
    };
    faults.take(
        spec("sessionAffinityConfig").key("clientIP").key("timeoutSeconds"),
        checked,
    )
}

fn scheduler(meta: &Meta, faults: &mut Faults) -> Option<SchedulerKind> {
    match meta.annotation(SCHEDULER)?.parse::<SchedulerKind>() {
        Ok(kind) => Some(kind),
        Err(e) => {
            let left_out = Some("the node's default scheduler serves it");
            faults.0.push(Fault {
                path: annotation_path(SCHEDULER),
                text: e.to_string(),
                left_out,
            });
            None
        }
    }
}

/// `sluice.io/weights: "10.244.1.5=300, 10.244.2.7=0"`.
fn weights(meta: &Meta, faults: &mut Faults) -> BTreeMap<Addr, u16> {
    let Some(text) = meta.annotation(WEIGHTS) else {
        return BTreeMap::new();
    };
    let parse = |entry: &str| -> Result<(Addr, u16), String> {
        let wrong = || {
            format!(
                "`{}` is no weight; want a list like 10.244.1.5=300, 10.244.2.7=50",
                shown(entry)
            )
        };
        let (who, weight) = entry.split_once('=').ok_or_else(wrong)?;
        Ok((addr(who.trim())?, weight.trim().parse().map_err(|_| wrong())?))
    };
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    match entries.map(parse).collect() {
        Ok(weights) => weights,
        Err(text) => {
            let left_out = Some("all its endpoints weigh the same");
            faults.0.push(Fault {
                path: annotation_path(WEIGHTS),
                text,
                left_out,
            });
            BTreeMap::new()
        }
    }
}
