//! The objects of a lab as the API server would hold them, one file each. It never decides what the agent makes of them.

#[cfg(test)]
mod tests;
mod yaml;

use crate::topology::{Node, NodeKind, Pod, Service, Topology};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
pub use yaml::to_yaml;

/// File name and object of everything the topology describes, in order of name.
pub fn objects(t: &Topology) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    let mut namespaces: BTreeSet<&str> = BTreeSet::from(["default"]);
    for (i, node) in t.nodes.iter().enumerate() {
        files.insert(format!("node-{}.yaml", node.name), self::node(t, i, node));
    }
    for pod in &t.pods {
        namespaces.insert(&pod.namespace);
        files.insert(format!("pod-{}.yaml", pod.name), self::pod(t, pod));
    }
    for service in &t.services {
        namespaces.insert(&service.namespace);
        let name = format!("{}-{}", service.namespace, service.name);
        files.insert(format!("service-{name}.yaml"), self::service(service));
        for slice in slices(t, service) {
            let family = if slice["addressType"] == "IPv6" { "ipv6" } else { "ipv4" };
            files.insert(format!("endpointslice-{name}-{family}.yaml"), slice);
        }
    }
    for name in namespaces {
        files.insert(format!("namespace-{name}.yaml"), namespace(name));
    }
    for (i, object) in t.objects.iter().enumerate() {
        files.insert(object_file(i, object), object.clone());
    }
    files
}

/// `networkpolicy-default-web.yaml`, or by number for what has no name.
fn object_file(index: usize, object: &Value) -> String {
    let word = |v: &Value| v.as_str().unwrap_or_default().to_ascii_lowercase().replace('/', "-");
    let (kind, meta) = (word(&object["kind"]), &object["metadata"]);
    let (space, name) = (word(&meta["namespace"]), word(&meta["name"]));
    if kind.is_empty() || name.is_empty() {
        return format!("object-{index}.yaml");
    }
    let space = if space.is_empty() { "default".into() } else { space };
    format!("{kind}-{space}-{name}.yaml")
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": name, "uid": uid("namespace", "", name), "labels": {"kubernetes.io/metadata.name": name}}})
}

/// The Node with flannel's annotations: what its daemon, and the agent, publish for the other nodes.
fn node(t: &Topology, index: usize, node: &Node) -> Value {
    let backend = json!({"VNI": 1, "VtepMAC": t.vtep_mac(index)}).to_string();
    let mut notes = Map::new();
    let mut note = |key: &str, value: String| {
        notes.insert(format!("flannel.alpha.coreos.com/{key}"), value.into());
    };
    note("kube-subnet-manager", "true".into());
    note("backend-type", "vxlan".into());
    if let Some(address) = node.address(false) {
        note("backend-data", backend.clone());
        note("public-ip", address.addr().to_string());
    }
    if let Some(address) = node.address(true) {
        note("backend-v6-data", backend);
        note("public-ipv6", address.addr().to_string());
    }
    let mut labels = json!({"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"});
    for (key, value) in &node.labels {
        labels[key] = value.clone().into();
    }
    let mut addresses: Vec<Value> = node
        .addresses
        .iter()
        .map(|a| json!({"type": "InternalIP", "address": a.addr().to_string()}))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": node.name}));
    let cidrs: Vec<String> = node.pod_cidrs.iter().map(ToString::to_string).collect();
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name, "uid": uid("node", "", &node.name), "labels": labels, "annotations": notes},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
        "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeProxyVersion": "", "kubeletVersion": "v1.34.0",
                "osImage": if node.kind == NodeKind::Linux { "flannel" } else { "sluice" }}}})
}

fn pod(t: &Topology, pod: &Pod) -> Value {
    let ports: Vec<Value> = pod
        .run
        .iter()
        .map(|s| json!({"name": s.kind.name(), "containerPort": s.port, "protocol": s.kind.protocol()}))
        .collect();
    let ips: Vec<Value> = pod.addresses.iter().map(|a| json!({"ip": a.to_string()})).collect();
    let host = t
        .node(&pod.node)
        .and_then(|n| n.addresses.first())
        .map(|a| a.addr().to_string())
        .unwrap_or_default();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": pod.labels,
            "uid": uid("pod", &pod.namespace, &pod.name)},
        "spec": {"nodeName": pod.node, "containers": [{"name": "main", "image": "lab", "ports": ports}]},
        "status": {"phase": "Running", "podIP": pod.addresses[0].to_string(), "podIPs": ips, "hostIP": host,
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn service(s: &Service) -> Value {
    let ports: Vec<Value> = s
        .ports
        .iter()
        .map(|p| {
            let target = p.target_port.unwrap_or(p.port);
            let mut port = json!({"port": p.port, "protocol": p.protocol, "targetPort": target});
            if !p.name.is_empty() {
                port["name"] = p.name.clone().into();
            }
            if let Some(node_port) = p.node_port {
                port["nodePort"] = node_port.into();
            }
            port
        })
        .collect();
    let ips: Vec<String> = s.cluster_ips.iter().map(ToString::to_string).collect();
    let families: Vec<&str> = s
        .cluster_ips
        .iter()
        .map(|a| if a.is_ipv6() { "IPv6" } else { "IPv4" })
        .collect();
    let mut spec = json!({"type": s.kind, "clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": families,
        "ipFamilyPolicy": if ips.len() > 1 { "RequireDualStack" } else { "SingleStack" },
        "selector": s.selector, "ports": ports, "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"});
    if s.kind != "ClusterIP" {
        spec["externalTrafficPolicy"] = "Cluster".into();
    }
    for (key, value) in &s.spec {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": s.name, "namespace": s.namespace,
        "uid": uid("service", &s.namespace, &s.name)}, "spec": spec})
}

/// One slice for each family of the service, with every pod it selects, ready.
fn slices(t: &Topology, s: &Service) -> Vec<Value> {
    if s.selector.is_empty() {
        return Vec::new();
    }
    let selected = |pod: &&Pod| {
        pod.namespace == s.namespace && s.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    };
    let ports: Vec<Value> = s
        .ports
        .iter()
        .map(|p| json!({"name": p.name, "protocol": p.protocol, "port": p.target_port.unwrap_or(p.port)}))
        .collect();
    let slice = |v6: bool| {
        let endpoints: Vec<Value> = t
            .pods
            .iter()
            .filter(selected)
            .filter_map(|pod| {
                pod.addresses
                    .iter()
                    .find(|a| a.is_ipv6() == v6)
                    .map(|a| endpoint(pod, &a.to_string()))
            })
            .collect();
        let suffix = if v6 { "ipv6" } else { "ipv4" };
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{}-{suffix}", s.name), "namespace": s.namespace,
                "labels": {"kubernetes.io/service-name": s.name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "addressType": if v6 { "IPv6" } else { "IPv4" }, "endpoints": endpoints, "ports": ports})
    };
    s.cluster_ips.iter().map(|ip| slice(ip.is_ipv6())).collect()
}

fn endpoint(pod: &Pod, address: &str) -> Value {
    json!({"addresses": [address], "nodeName": pod.node,
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name,
            "uid": uid("pod", &pod.namespace, &pod.name)}})
}

/// Shaped like a UUID, and the same in every run.
fn uid(kind: &str, namespace: &str, name: &str) -> String {
    // FNV-1a, twice from different starts.
    let hash = |mut h: u64| {
        for byte in format!("{kind}/{namespace}/{name}").bytes() {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        h
    };
    let (a, b) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142));
    let (high, low) = (b >> 48, b & 0xffff_ffff_ffff);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{low:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        high & 0xfff
    )
}
