//! A node with two pods, its host, an uplink, one other node (IPv4 and IPv6 underlay) and the world outside.

use sluice_lb::{Endpoint, EndpointSlot, Frontend, SchedulerKind, Service, ServiceName, ServiceSlot, ServiceSpec};
use sluice_policy::{Cidr, Compiler, Identities, Model, Namespace, Peer as PolicyPeer, Pod, Policy, Rule, Selector};
use sluice_snapshot::{
    Adjacency, AdjacencyIndex, Caps, EndpointIndex, Forwarding, Link, Node, Parts, Peer, PeerSlot, Policies, Port,
    PortKind, PortTable, Prefix, Route, Services,
};
use sluice_vxlan::{Template, Tunnel};
use sluice_wire::{Addr, MacAddr, PortSlot, Proto, Scope, Vni};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const HOST: PortSlot = PortSlot(0);
pub(super) const UPLINK: PortSlot = PortSlot(1);
pub(super) const VNI: u32 = 1;
pub(super) const TUNNEL_PORT: u16 = 8472;
pub(super) const NODE_PORT: u16 = 30080;

pub(super) const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(super) const UPLINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
/// The next hop on the underlay, for everything.
pub(super) const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 4]);
/// Where VTEPs of this node and the other one are, by outer family.
pub(super) const OUR_VTEP: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 4, 1]), MacAddr([2, 0, 0, 0, 6, 1])];
pub(super) const PEER_VTEP: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 4, 2]), MacAddr([2, 0, 0, 0, 6, 2])];

/// A host on the network, in both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) slot: PortSlot,
    pub(super) mac: MacAddr,
    pub(super) v4: [u8; 4],
    pub(super) v6: [u16; 8],
}

impl Who {
    const fn new(slot: u16, mac: u8, v4: [u8; 4], v6: [u16; 8]) -> Self {
        Self {
            slot: PortSlot(slot),
            mac: MacAddr([2, 0, 0, 0, 10, mac]),
            v4,
            v6,
        }
    }

    pub(super) fn addr(&self, v4: bool) -> Addr {
        if v4 {
            Addr::v4(self.v4)
        } else {
            std::net::Ipv6Addr::from(self.v6).into()
        }
    }
}

pub(super) const A: Who = Who::new(2, 2, [10, 244, 1, 2], [0xfd00, 0x244, 0, 1, 0, 0, 0, 2]);
pub(super) const B: Who = Who::new(3, 3, [10, 244, 1, 3], [0xfd00, 0x244, 0, 1, 0, 0, 0, 3]);
/// A pod of the other node.
pub(super) const REMOTE: Who = Who::new(1, 9, [10, 244, 2, 9], [0xfd00, 0x244, 0, 2, 0, 0, 0, 9]);
pub(super) const NODE: Who = Who::new(0, 0, [192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
pub(super) const OTHER_NODE: Who = Who::new(1, 0, [192, 0, 2, 2], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
/// What `sluice0` holds.
pub(super) const BASE: Who = Who::new(0, 0, [10, 244, 1, 0], [0xfd00, 0x244, 0, 1, 0, 0, 0, 0]);
pub(super) const OUTSIDE: Who = Who::new(1, 0, [203, 0, 113, 7], [0x2001, 0xdb8, 7, 0, 0, 0, 0, 7]);
pub(super) const SERVICE: Who = Who::new(0, 0, [10, 96, 0, 10], [0xfd00, 0x96, 0, 0, 0, 0, 0, 10]);

pub(super) const TUNNEL: [AdjacencyIndex; 2] = [AdjacencyIndex(0), AdjacencyIndex(1)];
pub(super) const ROUTER: AdjacencyIndex = AdjacencyIndex(2);
pub(super) const PEER: PeerSlot = PeerSlot(0);
pub(super) const OFFLOADS: Caps = Caps {
    checksum: true,
    tso4: true,
    tso6: true,
    uso: true,
};

/// Everything a snapshot is made of, easy to change.
#[derive(Clone)]
pub(super) struct World {
    pub(super) node: Node,
    pub(super) ports: BTreeMap<u16, Port>,
    pub(super) routes: BTreeMap<Prefix, Route>,
    pub(super) adjacencies: BTreeMap<u32, Adjacency>,
    pub(super) peers: BTreeMap<u32, Peer>,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) frontends: BTreeMap<(Addr, u16, Proto), ServiceSlot>,
    pub(super) node_ports: BTreeMap<(Proto, u16, bool), ServiceSlot>,
    pub(super) policies: Vec<Policy>,
    /// The label that policies know [`REMOTE`] by.
    pub(super) remote_app: &'static str,
    identities: Identities,
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            node: node(),
            ports: BTreeMap::new(),
            routes: BTreeMap::new(),
            adjacencies: BTreeMap::new(),
            peers: BTreeMap::new(),
            services: Vec::new(),
            frontends: BTreeMap::new(),
            node_ports: BTreeMap::new(),
            policies: Vec::new(),
            remote_app: "r",
            identities: Identities::default(),
        };
        let port = |serial, kind, caps| Port {
            scope: Scope::port(serial),
            kind,
            mtu: 1450,
            caps,
        };
        world
            .ports
            .insert(HOST.0, port(1, PortKind::Host { mac: HOST_MAC }, OFFLOADS));
        let uplink = port(2, PortKind::Uplink { mac: UPLINK_MAC }, Caps::default());
        world.ports.insert(UPLINK.0, Port { mtu: 1500, ..uplink });
        for (serial, pod) in [(3, A), (4, B)] {
            world.add_pod(pod, serial);
        }
        for v4 in [true, false] {
            for own in [BASE, NODE] {
                world.routes.insert(Prefix::host(own.addr(v4)), Route::Host);
            }
            let default = if v4 { "0.0.0.0/0" } else { "::/0" };
            world.routes.insert(prefix(default), Route::Direct(ROUTER));
            let family = usize::from(!v4);
            world.set_tunnel(v4, ROUTER_MAC);
            let (own, others) = if v4 {
                ("10.244.1.0/24", "10.244.2.0/24")
            } else {
                ("fd00:244:0:1::/64", "fd00:244:0:2::/64")
            };
            world.routes.insert(prefix(own), Route::NoPod);
            let adjacency = TUNNEL[family];
            let peer = PEER;
            world.routes.insert(prefix(others), Route::Tunnel { peer, adjacency });
        }
        world.set_router(ROUTER_MAC);
        world.peers.insert(
            PEER.0,
            Peer {
                name: "other".into(),
                scope: Scope::tunnel(1),
                endpoints: vec![OTHER_NODE.addr(true), OTHER_NODE.addr(false)],
                prefixes: vec![prefix("10.244.2.0/24"), prefix("fd00:244:0:2::/64")],
            },
        );
        world
    }

    pub(super) fn add_pod(&mut self, pod: Who, serial: u32) {
        let kind = PortKind::Pod {
            mac: pod.mac,
            addrs: [pod.addr(true), pod.addr(false)].into(),
            name: format!("default/{serial}").into(),
        };
        let port = Port {
            scope: Scope::port(serial),
            kind,
            mtu: 1450,
            caps: OFFLOADS,
        };
        self.ports.insert(pod.slot.0, port);
        for v4 in [true, false] {
            self.routes.insert(Prefix::host(pod.addr(v4)), Route::Pod(pod.slot));
        }
    }

    pub(super) fn remove_pod(&mut self, pod: Who) {
        self.ports.remove(&pod.slot.0);
        for v4 in [true, false] {
            self.routes.remove(&Prefix::host(pod.addr(v4)));
        }
    }

    pub(super) fn set_router(&mut self, mac: MacAddr) {
        let link = Link::Direct {
            dst: mac,
            src: UPLINK_MAC,
        };
        let (port, mtu) = (UPLINK, 1500);
        self.adjacencies.insert(ROUTER.0, Adjacency { port, mtu, link });
    }

    pub(super) fn set_tunnel(&mut self, v4: bool, mac: MacAddr) {
        let family = usize::from(!v4);
        let tunnel = Tunnel {
            local: NODE.addr(v4),
            remote: OTHER_NODE.addr(v4),
            outer_src_mac: UPLINK_MAC,
            outer_dst_mac: mac,
            vni: Vni::new(VNI).unwrap(),
            port: TUNNEL_PORT,
            inner_src_mac: OUR_VTEP[family],
            inner_dst_mac: PEER_VTEP[family],
            checksum_v4: true,
        };
        let adjacency = Adjacency {
            port: UPLINK,
            mtu: if v4 { 1450 } else { 1430 },
            link: Link::Tunnel(Box::new(Template::new(&tunnel).unwrap())),
        };
        self.adjacencies.insert(TUNNEL[family].0, adjacency);
    }

    /// A service at [`SERVICE`] port 80 and [`NODE_PORT`], in slot 0 for IPv4 and 1 for IPv6, UDP in 2 and 3, served at port
    /// 8080 by these.
    pub(super) fn serve(&mut self, by: &[Who]) {
        self.services.clear();
        for (index, (proto, v4)) in [
            (Proto::TCP, true),
            (Proto::TCP, false),
            (Proto::UDP, true),
            (Proto::UDP, false),
        ]
        .into_iter()
        .enumerate()
        {
            let slot = ServiceSlot(index as u32);
            let endpoints = by.iter().map(|who| Endpoint {
                slot: EndpointSlot(u32::from(who.mac.0[5]) * 8 + index as u32),
                addr: who.addr(v4),
                port: 8080,
                weight: 1,
                local: who.slot != UPLINK,
            });
            self.services.push(ServiceSpec {
                slot,
                name: ServiceName {
                    namespace: "default".into(),
                    name: "web".into(),
                    port: index.to_string(),
                },
                scheduler: SchedulerKind::Mh,
                endpoints: endpoints.collect(),
                affinity_s: None,
            });
            self.frontends.insert((SERVICE.addr(v4), 80, proto), slot);
            self.node_ports.insert((proto, NODE_PORT, v4), slot);
        }
    }

    pub(super) fn parts(&mut self) -> Parts {
        let mut ports = PortTable::default();
        for (slot, port) in &self.ports {
            ports.set(PortSlot(*slot), Some(Arc::new(port.clone())));
        }
        let mut forwarding = Forwarding::default();
        for (prefix, route) in &self.routes {
            forwarding.insert_route(*prefix, *route);
        }
        for (index, adjacency) in &self.adjacencies {
            forwarding.set_adjacency(AdjacencyIndex(*index), adjacency.clone());
        }
        for (slot, peer) in &self.peers {
            forwarding.set_peer(PeerSlot(*slot), peer.clone());
        }
        let mut services = Services::default();
        let mut endpoints = EndpointIndex::default();
        for ((addr, port, proto), slot) in &self.frontends {
            let frontend = Frontend {
                addr: *addr,
                port: *port,
                proto: *proto,
            };
            let served = self
                .services
                .iter()
                .filter(|spec| spec.slot == *slot && *proto == Proto::TCP);
            for endpoint in served.flat_map(|spec| &spec.endpoints) {
                endpoints.add((endpoint.addr, endpoint.port), *slot, frontend);
            }
        }
        services.set_endpoints(endpoints);
        for spec in &self.services {
            services.set(spec.slot, Arc::new(Service::new(spec.clone())));
        }
        for ((addr, port, proto), slot) in &self.frontends {
            let (addr, port, proto) = (*addr, *port, *proto);
            assert!(services.add_frontend(Frontend { addr, port, proto }, *slot));
        }
        for ((proto, port, v4), slot) in &self.node_ports {
            assert!(services.add_node_port(*proto, *port, *v4, *slot));
        }
        Parts {
            node: Arc::new(self.node.clone()),
            ports: Arc::new(ports),
            forwarding: Arc::new(forwarding),
            services: Arc::new(services),
            policies: Arc::new(self.compile_policies()),
        }
    }

    fn compile_policies(&mut self) -> Policies {
        let pod = |who: Who, app: &str| Pod {
            namespace: "default".into(),
            name: app.into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            addrs: vec![who.addr(true), who.addr(false)],
            ..Pod::default()
        };
        let pods = [
            (A, pod(A, "a")),
            (B, pod(B, "b")),
            (REMOTE, pod(REMOTE, self.remote_app)),
        ];
        let namespace = Namespace {
            name: "default".into(),
            labels: Default::default(),
        };
        let model = Model {
            policies: self.policies.iter().cloned().map(Arc::new).collect(),
            namespaces: vec![Arc::new(namespace)],
            pods: pods.iter().map(|(_, pod)| Arc::new(pod.clone())).collect(),
            ..Model::default()
        };
        self.identities = self.identities.next(&model);
        let mut compiler = Compiler::default();
        let mut pass = compiler.pass(&model, &self.identities);
        let compiled = pods
            .iter()
            .filter(|(who, _)| self.ports.contains_key(&who.slot.0))
            .map(|(who, pod)| (who.slot, pass.compile(pod)))
            .filter(|(_, policy)| policy.ingress.is_some() || policy.egress.is_some())
            .map(|(slot, policy)| (slot, Arc::new(policy)));
        Policies {
            pods: compiled.collect(),
            identities: self.identities.addresses().clone(),
            moved: None,
        }
    }
}

/// Pods with this label.
pub(super) fn app(name: &str) -> PolicyPeer {
    PolicyPeer::Pods {
        namespaces: None,
        pods: Some(selector(name)),
    }
}

pub(super) fn block(addr: Addr, len: u8) -> PolicyPeer {
    PolicyPeer::Block {
        cidr: Cidr::new(addr, len).unwrap(),
        except: Vec::new(),
    }
}

fn selector(app: &str) -> Selector {
    Selector {
        match_labels: [("app".to_owned(), app.to_owned())].into(),
        ..Selector::default()
    }
}

fn rules(peers: Vec<PolicyPeer>) -> Vec<Rule> {
    let ports = Vec::new();
    if peers.is_empty() {
        return Vec::new();
    }
    vec![Rule { peers, ports }]
}

/// The pod may be reached by these only.
pub(super) fn ingress(of: &str, from: Vec<PolicyPeer>) -> Policy {
    Policy {
        namespace: "default".into(),
        name: format!("ingress-{of}"),
        pod_selector: selector(of),
        ingress: Some(rules(from)),
        egress: None,
    }
}

/// The pod may reach these only.
pub(super) fn egress(of: &str, to: Vec<PolicyPeer>) -> Policy {
    Policy {
        name: format!("egress-{of}"),
        ingress: None,
        egress: Some(rules(to)),
        ..ingress(of, Vec::new())
    }
}

fn node() -> Node {
    Node {
        name: "this".into(),
        vni: Vni::new(VNI).unwrap(),
        tunnel_port: TUNNEL_PORT,
        gateway_mac: GATEWAY_MAC,
        vtep_mac_v4: OUR_VTEP[0],
        vtep_mac_v6: OUR_VTEP[1],
        addresses: [NODE.addr(true), NODE.addr(false)].into_iter().collect(),
        base_v4: Some(BASE.addr(true)),
        base_v6: Some(BASE.addr(false)),
        outside_v4: Some(NODE.addr(true)),
        outside_v6: Some(NODE.addr(false)),
        cluster_prefixes: [prefix("10.244.0.0/16"), prefix("fd00:244::/48")].into_iter().collect(),
        service_prefixes: sluice_snapshot::Prefixes::default(),
        host_port: HOST,
        uplink_port: UPLINK,
        masquerade_ports: (40000, 40099),
    }
}
