//! Objects of a small cluster, with short names, as those write them who make them: users, and kubelets in a pod's status.

use serde_json::{Value, json};

/// The node that asks.
pub(super) const NODE: &str = "a";
/// Another one.
pub(super) const OTHER: &str = "b";

/// A range out of those that are for tests of networks (RFC 2544), so that no cluster routes it.
pub(super) fn node(name: &str, range: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"podCIDR": range, "podCIDRs": [range]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })
}

pub(super) fn pod(name: &str, node: &str, address: &str) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "sluice.invalid/none"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    });
    if !node.is_empty() {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

/// Its address is the server's to choose.
pub(super) fn service(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "ClusterIP", "ports": [{"port": port, "protocol": "TCP"}]},
    })
}

pub(super) fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    })
}

/// A policy that lets `from` in, whatever that is.
pub(super) fn policy(name: &str, from: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [from]}]},
    })
}

/// Whom a policy lets in that needs to know pods.
pub(super) fn pods_of_app() -> Value {
    json!({"podSelector": {"matchLabels": {"app": "web"}}})
}

/// The same object with one more label.
pub(super) fn labelled(mut object: Value, label: &str) -> Value {
    object["metadata"]["labels"][label] = json!("x");
    object
}

/// Name of the definition that brings cluster policies with it.
pub(super) const DEFINITION: &str = "clusternetworkpolicies.policy.networking.k8s.io";

/// The definition.
pub(super) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": DEFINITION},
        "spec": {
            "group": "policy.networking.k8s.io", "scope": "Cluster",
            "names": {"plural": "clusternetworkpolicies", "kind": "ClusterNetworkPolicy"},
            "versions": [{"name": "v1alpha2", "served": true, "storage": true}],
        },
    })
}

/// A cluster policy that lets no pod reach another.
pub(super) fn cluster_policy(name: &str) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": name},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]},
    })
}
