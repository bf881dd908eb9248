//! Decides how services and policies in the way look as Kubernetes objects. It never decides how many there are.

use super::scene::{NODES, Scene, Service};
use anyhow::Result;
use serde_json::{Value, json};
use sluice_lab::{Lab, manifests};
use std::fmt::Write;

/// Objects in a file.
const IN_A_FILE: usize = 500;
/// The policy that allows what is sent: by its name the last one, where a search takes longest.
const ALLOWS: &str = "z";

/// Gives the lab's agents what the topology does not have: all services but the first one, and all policies.
pub(super) fn apply(lab: &Lab, scene: &Scene) -> Result<()> {
    let mut objects: Vec<Value> = policy_names(scene).map(|name| policy(&name)).collect();
    let services = scene.services();
    for service in services.iter().filter(|service| service.name != services[0].name) {
        objects.extend([self::service(service), slice(service)]);
    }
    for (n, some) in objects.chunks(IN_A_FILE).enumerate() {
        let mut text = String::new();
        for object in some {
            write!(text, "---\n{}", manifests::to_yaml(object))?;
        }
        lab.apply(&format!("more-{n}.yaml"), &text)?;
    }
    Ok(())
}

fn service(service: &Service) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": service.name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": service.address, "clusterIPs": [service.address], "ipFamilies": ["IPv4"],
            "ports": [{"name": service.port_name, "protocol": "TCP", "port": service.port}]}})
}

fn slice(service: &Service) -> Value {
    let endpoints: Vec<Value> = service
        .endpoints
        .iter()
        .map(|e| {
            json!({"addresses": [e.ip()], "nodeName": NODES[1],
                "conditions": {"ready": true, "serving": true, "terminating": false}})
        })
        .collect();
    let port = service.endpoints.first().map_or(service.port, |e| e.port());
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{}-ipv4", service.name), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service.name}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": service.port_name, "protocol": "TCP", "port": port}]})
}

/// What all policies are called.
pub(super) fn policy_names(scene: &Scene) -> impl Iterator<Item = String> {
    let name = |n| {
        if n == 0 {
            ALLOWS.to_owned()
        } else {
            format!("other-{n}")
        }
    };
    (0..scene.size.policies).map(name)
}

/// All select every pod, for both directions. One allows what is sent, the others what nobody does.
fn policy(name: &str) -> Value {
    let app = if name == ALLOWS { "bench" } else { name };
    let pods = json!({"podSelector": {"matchLabels": {"app": app}}});
    let mut from = vec![pods.clone()];
    if name == ALLOWS {
        // Whoever comes from outside comes under the first node's tunnel address, the base of its range.
        from.push(json!({"ipBlock": {"cidr": "10.244.1.0/32"}}));
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": from}], "egress": [{"to": [pods]}]}})
}
