//! Decides what the compiler knows of an API object: small records, defaults applied, checked. A record never holds text that still has to be parsed.

use sluice_lb::SchedulerKind;
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr, Proto};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use sluice_policy::{Namespace as NamespaceRecord, Policy as PolicyRecord};

/// Kinds of objects that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `networking.k8s.io/v1` ServiceCIDR.
    ServiceCidr,
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Node,
        Self::Namespace,
        Self::Pod,
        Self::Service,
        Self::EndpointSlice,
        Self::NetworkPolicy,
        Self::ServiceCidr,
        Self::ClusterNetworkPolicy,
    ];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ServiceCidr => "ServiceCIDR",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
        }
    }

    /// Whether its objects live in a namespace.
    pub const fn namespaced(self) -> bool {
        !matches!(
            self,
            Self::Node | Self::Namespace | Self::ServiceCidr | Self::ClusterNetworkPolicy
        )
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        let name = printable(&self.name);
        if self.namespace.is_empty() {
            write!(f, "{kind} {name}")
        } else {
            write!(f, "{kind} {}/{name}", printable(&self.namespace))
        }
    }
}

/// A name as it is, if it may be one: whatever else claims to be one must not move a terminal's cursor or fill the screen.
fn printable(name: &str) -> Cow<'_, str> {
    /// Longest that the API takes.
    const LONGEST: usize = 253;
    if name.len() <= LONGEST && !name.contains(char::is_control) {
        return Cow::Borrowed(name);
    }
    let more = if name.chars().nth(LONGEST).is_some() { "..." } else { "" };
    Cow::Owned(format!(
        "{}{more}",
        name.chars()
            .take(LONGEST)
            .flat_map(char::escape_debug)
            .collect::<String>()
    ))
}

/// One object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A node.
    Node(Arc<NodeRecord>),
    /// A namespace.
    Namespace(Arc<NamespaceRecord>),
    /// A pod.
    Pod(Arc<PodRecord>),
    /// A service.
    Service(Arc<ServiceRecord>),
    /// A slice of a service's endpoints.
    Slice(Arc<SliceRecord>),
    /// A network policy.
    Policy(Arc<PolicyRecord>),
    /// Ranges that service addresses come from.
    ServiceCidr(Arc<ServiceCidrRecord>),
    /// A cluster network policy.
    ClusterPolicy(Arc<ClusterPolicyRecord>),
}

impl Object {
    /// Which object it is.
    pub fn key(&self) -> Key {
        let (kind, namespace, name) = match self {
            Self::Node(r) => (Kind::Node, "", &r.name),
            Self::Namespace(r) => (Kind::Namespace, "", &r.name),
            Self::Pod(r) => (Kind::Pod, r.identity.namespace.as_str(), &r.identity.name),
            Self::Service(r) => (Kind::Service, r.namespace.as_str(), &r.name),
            Self::Slice(r) => (Kind::EndpointSlice, r.namespace.as_str(), &r.name),
            Self::Policy(r) => (Kind::NetworkPolicy, r.namespace.as_str(), &r.name),
            Self::ServiceCidr(r) => (Kind::ServiceCidr, "", &r.name),
            Self::ClusterPolicy(r) => (Kind::ClusterNetworkPolicy, "", &r.policy.name),
        };
        Key {
            kind,
            namespace: namespace.to_owned(),
            name: name.clone(),
        }
    }
}

/// Ranges that the API server gives Services addresses from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceCidrRecord {
    /// Name.
    pub name: String,
    /// One or two ranges, of different families.
    pub ranges: Vec<Prefix>,
}

/// A node of the cluster: what it owns and how it is reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRecord {
    /// Name of the Node object.
    pub name: String,
    /// Its pod ranges, any number of either family.
    pub prefixes: Vec<Prefix>,
    /// Its addresses inside the cluster.
    pub internal_ips: Vec<Addr>,
    /// Tunnel end point as flannel's annotations give it.
    pub vtep: Vtep,
    /// What flannel's annotations want the node to announce as its outer IPv4 address instead of its own, as behind a NAT; or what is wrong
    /// with that.
    pub overwrite_v4: Option<Result<Addr, String>>,
    /// The same of IPv6.
    pub overwrite_v6: Option<Result<Addr, String>>,
    /// The interface that its annotation `sluice.io/uplink` asks for, at most 64 bytes of it.
    pub uplink: Option<String>,
    /// The condition NetworkUnavailable; `None` where the Node has none.
    pub network_unavailable: Option<bool>,
    /// It is being deleted, or its autoscaler is about to remove it: load balancers should go elsewhere.
    pub leaving: bool,
}

/// What flannel's annotations say about a node; all of it may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vtep {
    /// Back end, `vxlan` or another one.
    pub backend: Option<String>,
    /// Outer IPv4 address.
    pub public_v4: Option<Addr>,
    /// Outer IPv6 address.
    pub public_v6: Option<Addr>,
    /// Inner MAC for IPv4 outer packets.
    pub mac_v4: Option<MacAddr>,
    /// Inner MAC for IPv6 outer packets.
    pub mac_v6: Option<MacAddr>,
    /// Network identifier it announces.
    pub vni: Option<u32>,
    /// Other flannel nodes take part of this one only if it says that its lease is the Node object.
    pub managed: bool,
}

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodRecord {
    /// What policies know of it. No address once it has ended (Succeeded, Failed).
    pub identity: Arc<sluice_policy::Pod>,
    /// The node it runs on.
    pub node: Option<String>,
    /// `creationTimestamp`, RFC 3339 in UTC, so that text order is age.
    pub created: Option<String>,
    /// Its uid, of an API server.
    pub uid: Option<Box<str>>,
}

/// A cluster network policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterPolicyRecord {
    /// What is served of it.
    pub policy: Arc<sluice_policy::ClusterPolicy>,
    /// What it asks for and does not get, each with its field and what follows from that.
    pub not_honoured: Vec<String>,
}

/// A service that has addresses to be reached by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceRecord {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `creationTimestamp`, RFC 3339 in UTC, so that text order is age.
    pub created: Option<String>,
    /// Cluster addresses, one or two.
    pub cluster_ips: Vec<Addr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Seconds that a client keeps its endpoint, if it does.
    pub affinity_s: Option<u32>,
    /// Scheduler it asks for (annotation `sluice.io/scheduler`).
    pub scheduler: Option<SchedulerKind>,
    /// Weight by endpoint address (annotation `sluice.io/weights`); 100 where nothing is said, 0 takes no new connections.
    pub weights: BTreeMap<Addr, u16>,
    /// What it asks for and does not get, in the API's words.
    pub not_honoured: Vec<&'static str>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePort {
    /// Name; empty for the only port of a service.
    pub name: String,
    /// Protocol.
    pub proto: Proto,
    /// Port at the cluster addresses.
    pub port: u16,
    /// Port at every node's addresses.
    pub node_port: Option<u16>,
}

/// Some endpoints of a service, all of one family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SliceRecord {
    /// Namespace, the service's as well.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Name of the service.
    pub service: String,
    /// Whether the addresses are IPv4.
    pub v4: bool,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// Ports, joined with the service's by name and protocol.
    pub ports: Vec<SlicePort>,
}

/// One endpoint; absent conditions are filled in as the API defines them.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceEndpoint {
    /// Its address.
    pub addr: Addr,
    /// Takes new connections.
    pub ready: bool,
    /// Answers, even if it is going away.
    pub serving: bool,
    /// Is going away.
    pub terminating: bool,
    /// Node it runs on.
    pub node: Option<String>,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SlicePort {
    /// Name; empty if the service's port has none.
    pub name: String,
    /// Protocol.
    pub proto: Proto,
    /// Port at the endpoints.
    pub port: u16,
}
