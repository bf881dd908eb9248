//! Decides what an EndpointSlice offers. It never takes more than an endpoint's first address, and leaves slices of names (FQDN) aside.

use super::fault::{Faults, FieldPath};
use super::parts::{Meta, host_addr, port, proto, shown};
use crate::model::{SliceEndpoint, SlicePort, SliceRecord};
use serde::{Deserialize, Serialize};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Slice {
    pub(super) metadata: Meta,
    address_type: String,
    endpoints: Vec<Endpoint>,
    ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    addresses: Vec<String>,
    conditions: Conditions,
    node_name: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Port {
    name: String,
    protocol: Option<String>,
    port: Option<i64>,
}

/// `None` when the slice belongs to no service or holds names.
pub(super) fn convert(slice: Slice, faults: &mut Faults) -> Option<SliceRecord> {
    let Slice {
        mut metadata,
        address_type,
        endpoints,
        ports,
    } = slice;
    let v4 = match address_type.as_str() {
        "IPv4" => true,
        "IPv6" => false,
        "FQDN" => return None,
        other => {
            let text = format!("`{}` is unknown; want IPv4 or IPv6", shown(other));
            faults.whole(FieldPath::of(&["addressType"]), text);
            return None;
        }
    };
    let service = metadata.labels.remove(SERVICE_LABEL).filter(|name| !name.is_empty())?;
    Some(SliceRecord {
        endpoints: convert_endpoints(endpoints, v4, faults),
        ports: convert_ports(&ports, faults),
        namespace: metadata.namespace,
        name: metadata.name,
        service,
        v4,
    })
}

fn convert_endpoints(endpoints: Vec<Endpoint>, v4: bool, faults: &mut Faults) -> Vec<SliceEndpoint> {
    let list = FieldPath::of(&["endpoints"]);
    let mut out = Vec::with_capacity(endpoints.len());
    for (i, endpoint) in endpoints.into_iter().enumerate() {
        let at = list.index(i).key("addresses");
        let Some(text) = endpoint.addresses.first() else {
            faults.whole(at, "the endpoint has no address");
            continue;
        };
        let Some(addr) = faults.take(at.index(0), host_addr(text)) else {
            continue;
        };
        if addr.is_v4() != v4 {
            let family = if v4 { "IPv4" } else { "IPv6" };
            faults.whole(
                at.index(0),
                format!("{addr} is not {family}, which addressType says; put it into a slice of its own"),
            );
            continue;
        }
        let Conditions {
            ready,
            serving,
            terminating,
        } = endpoint.conditions;
        out.push(SliceEndpoint {
            addr,
            // Absent conditions count as kube-proxy counts them.
            ready: ready.unwrap_or(true),
            serving: serving.unwrap_or(true),
            terminating: terminating.unwrap_or(false),
            node: endpoint.node_name,
        });
    }
    out
}

fn convert_ports(ports: &[Port], faults: &mut Faults) -> Vec<SlicePort> {
    let list = FieldPath::of(&["ports"]);
    let mut out: Vec<SlicePort> = Vec::with_capacity(ports.len());
    for (i, entry) in ports.iter().enumerate() {
        // A port without a number means all ports, which no service can use.
        let Some(number) = entry.port else { continue };
        let at = list.index(i);
        let number = faults.take(at.key("port"), port(number));
        let proto = faults.take(at.key("protocol"), proto(entry.protocol.as_deref()));
        let (Some(port), Some(proto)) = (number, proto) else {
            continue;
        };
        if out.iter().any(|p| p.name == entry.name && p.proto == proto) {
            faults.whole(
                at.key("name"),
                format!("port name `{}` is given twice", shown(&entry.name)),
            );
            continue;
        }
        out.push(SlicePort {
            name: entry.name.clone(),
            proto,
            port,
        });
    }
    out
}
