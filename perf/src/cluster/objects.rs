//! The objects of a cluster of a size, and what changes in it. All of it is reckoned from numbers, so two runs see the same.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// The node that asks.
pub(super) const NODE: &str = "node-0";
/// Endpoints of a service.
const ENDPOINTS: u32 = 10;
/// Labels that pods and policies speak of.
const APPS: u32 = 200;

/// How many of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) services: u32,
    pub(super) nodes: u32,
    pub(super) pods: u32,
    pub(super) policies: u32,
}

impl Size {
    /// A part of the whole.
    pub(super) fn part(of: u32) -> Self {
        Self {
            services: (10_000 / of).max(1),
            nodes: (5_000 / of).max(2),
            pods: (100_000 / of).max(2),
            policies: (1_000 / of).max(1),
        }
    }

    /// Nodes, services, pods and policies that a node should know.
    pub(super) fn known(&self) -> [usize; 4] {
        [self.nodes, self.services, self.pods, self.policies].map(|count| count as usize)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = Value> + use<> {
        let size = *self;
        let nodes = (0..size.nodes).map(node);
        let services = (0..size.services).flat_map(move |n| [service(n), slice(n, 0, size)]);
        let pods = (0..size.pods).map(move |n| pod(n, 0, size));
        nodes
            .chain(services)
            .chain(pods)
            .chain((0..size.policies).map(|n| policy(n, 0)))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            services,
            nodes,
            pods,
            policies,
        } = self;
        let endpoints = services * ENDPOINTS;
        write!(
            f,
            "{services} services with {endpoints} end points, {nodes} nodes, {pods} pods, {policies} policies"
        )
    }
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    /// One endpoint of a service.
    Endpoint,
    /// The labels of a pod of another node.
    Pod,
    /// The rule of a policy.
    Policy,
    /// The public address of another node.
    Node,
}

impl Change {
    pub(super) const ALL: [Self; 4] = [Self::Endpoint, Self::Pod, Self::Policy, Self::Node];

    /// The object as it is after that many changes.
    pub(super) fn object(self, round: u32, size: Size) -> Value {
        let round = round + 1;
        match self {
            Self::Endpoint => slice(round % size.services, round, size),
            Self::Pod => pod(1 + round % (size.pods - 1), round, size),
            Self::Policy => policy(round % size.policies, round),
            Self::Node => {
                let mut node = node(1 + round % (size.nodes - 1));
                node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] =
                    json!(format!("198.18.{}.{}", round / 250, 1 + round % 250));
                node
            }
        }
    }
}

fn node(n: u32) -> Value {
    let range = format!("10.{}.{}.0/24", 64 + n / 256, n % 256);
    let address = format!("172.20.{}.{}", n / 250, 1 + n % 250);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("node-{n}"), "annotations": {
            "flannel.alpha.coreos.com/backend-type": "vxlan", "flannel.alpha.coreos.com/public-ip": address,
            "flannel.alpha.coreos.com/backend-data": json!({"VNI": 1, "VtepMAC": format!("02:00:00:00:{:02x}:{:02x}", n / 256, n % 256)}).to_string(),
        }},
        "spec": {"podCIDR": range, "podCIDRs": [range]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    })
}

/// Namespace and name, and address, of the pods of the node that asks.
pub(super) fn own_pods(size: Size) -> impl Iterator<Item = (String, String)> {
    let own = (0..size.pods).step_by(size.nodes as usize);
    own.map(move |n| (format!("team-{}/pod-{n}", n % 20), place(n, size).1))
}

/// Every node has as many pods.
fn place(n: u32, size: Size) -> (u32, String) {
    let node = n % size.nodes;
    (
        node,
        format!("10.{}.{}.{}", 64 + node / 256, node % 256, 2 + n / size.nodes),
    )
}

fn pod(n: u32, round: u32, size: Size) -> Value {
    let (node, address) = place(n, size);
    // Never the label that it began with.
    let other = round.checked_sub(1).map_or(0, |round| 1 + round % (APPS - 1));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{n}"), "namespace": format!("team-{}", n % 20), "labels": {
            "app": format!("app-{}", (n + other) % APPS), "pod-template-hash": format!("{:08x}", n % 977)}},
        "spec": {"nodeName": format!("node-{node}"), "containers": [{"name": "main", "image": "registry.example/main:1",
            "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

fn service(n: u32) -> Value {
    let address = format!("10.{}.{}.{}", 96 + n / 62_500, n / 250 % 250, 1 + n % 250);
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("service-{n}"), "namespace": format!("team-{}", n % 20)},
        "spec": {"clusterIP": address, "clusterIPs": [address], "selector": {"app": format!("app-{}", n % APPS)},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    })
}

fn slice(n: u32, round: u32, size: Size) -> Value {
    let endpoint = |i: u32| {
        let (node, address) = place((n * ENDPOINTS + i) % size.pods, size);
        // Another one each time that the service's turn comes.
        let ready = round == 0 || i != (3 + 3 * (round / size.services)) % ENDPOINTS;
        json!({"addresses": [address], "nodeName": format!("node-{node}"), "conditions": {"ready": ready, "serving": ready, "terminating": false}})
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("service-{n}-x"), "namespace": format!("team-{}", n % 20), "labels": {"kubernetes.io/service-name": format!("service-{n}")}},
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

fn policy(n: u32, round: u32) -> Value {
    let app = |n: u32| json!({"matchLabels": {"app": format!("app-{}", n % APPS)}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": format!("policy-{n}"), "namespace": format!("team-{}", n % 20)},
        "spec": {"podSelector": app(n), "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": app(n + 1 + round)}, {"namespaceSelector": {}, "podSelector": app(n + 7)}], "ports": [{"port": 8080}]}]},
    })
}
