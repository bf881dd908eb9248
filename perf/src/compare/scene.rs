//! Decides what every peer is asked to carry: one topology, so many services and policies, the same addresses everywhere. It never knows
//! who carries it.

use crate::cpus;
use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use sluice_lab::Topology;
use sluice_lab::topology::NodeKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;

/// The nodes; the client's is the first.
pub(super) const NODES: [&str; 2] = ["node-a", "node-b"];
/// Their addresses on the wire.
pub(super) const NODE_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 12)];
/// The pod that asks.
pub(super) const CLIENT: &str = "client";
/// The pod that answers on the client's node.
pub(super) const NEAR: &str = "near";
/// The pod that answers on the other node, behind the service.
pub(super) const FAR: &str = "far";
/// The machine outside of the cluster.
pub(super) const OUTSIDE: &str = "outside";
const OUTSIDE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The range of all pods.
pub(super) const POD_RANGE: &str = "10.244.0.0/16";

const PODS: [(&str, &str, Ipv4Addr); 3] = [
    (CLIENT, NODES[0], Ipv4Addr::new(10, 244, 1, 5)),
    (NEAR, NODES[0], Ipv4Addr::new(10, 244, 1, 6)),
    (FAR, NODES[1], Ipv4Addr::new(10, 244, 2, 5)),
];
/// The service that is asked for.
const BENCH: &str = "bench";
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const SERVICE_PORT: u16 = 80;
/// Where servers listen.
pub(super) const SERVER_PORT: u16 = 8080;
const NODE_PORT: u16 = 30080;
/// UDP ports of the service, the same at its endpoint. One pod has 64,512 ports to send from, so a million flows need some of them.
const DATAGRAM_PORTS: RangeInclusive<u16> = 9001..=9016;
/// The port of the nodes that leads to the first of them.
const FIRST_DATAGRAM_NODE_PORT: u16 = 30001;
/// Endpoints of each service that nobody asks for.
const ENDPOINTS: u32 = 2;

/// The processor of the thread that forwards for the node of this number, where it has one.
pub(super) fn core(node: usize) -> usize {
    node % cpus::count()
}

/// How much configuration there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Size {
    pub(super) services: u32,
    pub(super) policies: u32,
}

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From a pod to another one of its node.
    Node,
    /// From a pod through a ClusterIP to a pod of the other node.
    Service,
    /// From outside through a port of the first node to a pod of the other one.
    NodePort,
}

/// A topology without its forwarders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) size: Size,
    /// There is a machine outside, so the wire is a segment and no mere cable.
    pub(super) outside: bool,
    /// Most flows that there will be.
    pub(super) flows: u32,
}

/// One port of a service.
pub(super) struct Service {
    pub(super) name: String,
    /// Of the port.
    pub(super) port_name: String,
    /// As rules write it.
    pub(super) protocol: &'static str,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    pub(super) node_port: Option<u16>,
    pub(super) endpoints: Vec<SocketAddrV4>,
}

impl Way {
    /// Who asks, and who answers.
    pub(super) fn ends(self) -> [&'static str; 2] {
        match self {
            Self::Node => [CLIENT, NEAR],
            Self::Service => [CLIENT, FAR],
            Self::NodePort => [OUTSIDE, FAR],
        }
    }

    /// Whom the client asks.
    pub(super) fn target(self) -> SocketAddr {
        match self {
            Self::Node => (PODS[1].2, SERVER_PORT).into(),
            Self::Service => (SERVICE, SERVICE_PORT).into(),
            Self::NodePort => (NODE_ADDRESSES[0], NODE_PORT).into(),
        }
    }

    /// Whom datagrams go to: an address, and the first and the last port.
    pub(super) fn datagrams(self) -> (Ipv4Addr, RangeInclusive<u16>) {
        let last = FIRST_DATAGRAM_NODE_PORT + (DATAGRAM_PORTS.end() - DATAGRAM_PORTS.start());
        match self {
            Self::Node => (PODS[1].2, DATAGRAM_PORTS),
            Self::Service => (SERVICE, DATAGRAM_PORTS),
            Self::NodePort => (NODE_ADDRESSES[0], FIRST_DATAGRAM_NODE_PORT..=last),
        }
    }

    /// Where the client's packets come from.
    pub(super) fn client(self) -> Ipv4Addr {
        if self == Self::NodePort {
            OUTSIDE_ADDRESS
        } else {
            PODS[0].2
        }
    }

    /// The server's own address, which the client need not know.
    pub(super) fn server(self) -> SocketAddr {
        let pod = if self == Self::Node { PODS[1] } else { PODS[2] };
        (pod.2, SERVER_PORT).into()
    }
}

impl Scene {
    /// The lab whose nodes are of this kind.
    pub(super) fn topology(&self, kind: NodeKind, agents: &Value) -> Result<Topology> {
        let nodes = NODES
            .iter()
            .zip(NODE_ADDRESSES)
            .enumerate()
            .map(|(n, (name, address))| {
                json!({"name": name, "kind": kind, "addresses": [format!("{address}/24")], "workers": 1,
                "podCIDRs": [format!("10.244.{}.0/24", n + 1)], "agent": agents[n]})
            });
        let pods = PODS.map(|(name, node, address)| {
            json!({"name": name, "node": node, "addresses": [address], "labels": {"app": "bench", "name": name}})
        });
        let clients = if self.outside {
            vec![json!({"name": OUTSIDE, "addresses": [format!("{OUTSIDE_ADDRESS}/24")]})]
        } else {
            vec![]
        };
        let own = self.services();
        let ports = own.iter().take_while(|service| service.name == BENCH).map(|service| {
            json!({"name": service.port_name, "protocol": service.protocol.to_uppercase(), "port": service.port,
                "targetPort": service.endpoints[0].port(), "nodePort": service.node_port})
        });
        let topology = json!({
            "underlay": {"kind": if self.outside { "bridge" } else { "cable" }},
            "clusterCIDRs": [POD_RANGE],
            "nodes": nodes.collect::<Vec<_>>(),
            "pods": pods,
            "clients": clients,
            "services": [{"name": BENCH, "type": "NodePort", "clusterIPs": [SERVICE], "selector": {"name": FAR},
                "ports": ports.collect::<Vec<_>>()}],
        });
        Topology::parse(&topology.to_string())
    }

    /// Every port of every service: first those of the one that is asked for, then those that are in the way.
    pub(super) fn services(&self) -> Vec<Service> {
        let asked = |protocol, port, target, node_port| Service {
            name: BENCH.into(),
            port_name: format!("{protocol}-{port}"),
            protocol,
            address: SERVICE,
            port,
            node_port: Some(node_port),
            endpoints: vec![SocketAddrV4::new(PODS[2].2, target)],
        };
        let datagrams = DATAGRAM_PORTS.zip(FIRST_DATAGRAM_NODE_PORT..);
        let other = |n: u32| Service {
            name: format!("other-{n}"),
            port_name: "tcp".into(),
            protocol: "tcp",
            address: (u32::from(Ipv4Addr::new(10, 96, 16, 0)) + n).into(),
            port: SERVICE_PORT,
            node_port: None,
            endpoints: (0..ENDPOINTS).map(|e| endpoint(n * ENDPOINTS + e)).collect(),
        };
        let mut all = vec![asked("tcp", SERVICE_PORT, SERVER_PORT, NODE_PORT)];
        all.extend(datagrams.map(|(port, node_port)| asked("udp", port, port, node_port)));
        all.extend((1..self.size.services).map(other));
        all
    }
}

/// Addresses of the second node's range and a port each, as if its pods had many.
fn endpoint(n: u32) -> SocketAddrV4 {
    let address = u32::from(Ipv4Addr::new(10, 244, 2, 16)) + n % 200;
    SocketAddrV4::new(address.into(), 8081 + (n / 200) as u16)
}
