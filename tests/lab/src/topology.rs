//! What a lab consists of: the topology file, read and checked. It never touches the kernel.

mod check;
pub(crate) use check::check_name;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// The whole of a topology file. `topologies/two-nodes.yaml` documents every key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Topology {
    /// Name of the lab unless the caller gives one.
    #[serde(default = "default_name")]
    pub name: String,
    /// The network between the nodes.
    #[serde(default)]
    pub underlay: Underlay,
    /// The ranges all pods live in; traffic that leaves them is masqueraded.
    #[serde(rename = "clusterCIDRs", default = "default_cluster")]
    pub cluster_cidrs: Vec<IpNet>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The pods, each on one of the nodes.
    #[serde(default)]
    pub pods: Vec<Pod>,
    /// Machines on the underlay that belong to no cluster.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// Services; their slices are computed from the pods they select.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Further Kubernetes objects, written to the manifests as they stand.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// A directory whose YAML files are copied into the manifests; relative to the topology file.
    #[serde(default)]
    pub manifests: Option<String>,
    /// Laid over the configuration of every agent, key by key.
    #[serde(default)]
    pub agent: Map<String, Value>,
    /// What every agent finds in `SLUICE_TESTING`; what the lab itself finds there, unless given.
    #[serde(default)]
    pub testing: Option<String>,
}

/// The network that the nodes' uplinks and the clients are plugged into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Underlay {
    /// One segment, or a router between segments.
    pub kind: UnderlayKind,
    /// MTU of the wire, in bytes.
    pub mtu: u32,
}

/// Shape of the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnderlayKind {
    /// One L2 segment for all.
    Bridge,
    /// A segment for each subnet in use, and a router with the first address of each.
    Router,
    /// One cable from one node to the other, with nothing between: exactly two nodes, no clients.
    Cable,
}

/// Who forwards for the pods of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// The agent under test.
    Sluice,
    /// The kernel, set up as flannel's vxlan backend does it.
    Linux,
    /// Nobody: whoever builds the lab gives the pods their interfaces.
    Bare,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Node {
    /// Name of the Kubernetes Node.
    pub name: String,
    /// Who forwards.
    #[serde(default = "default_kind")]
    pub kind: NodeKind,
    /// Addresses on the underlay with prefix length, at most one of each family.
    pub addresses: Vec<IpNet>,
    /// Subnets of the node's pods, at most one of each family.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    /// MTU of the uplink in bytes; the underlay's unless given.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Queues of the uplink; as many as workers unless given.
    #[serde(default)]
    pub queues: Option<u32>,
    /// Worker threads of the agent.
    #[serde(default = "default_workers")]
    pub workers: u32,
    /// Labels of the Node object.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Laid over the agent's configuration, after the topology's own `agent`.
    #[serde(default)]
    pub agent: Map<String, Value>,
}

/// One pod: a network namespace and what runs in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pod {
    /// Name, unique in the lab.
    pub name: String,
    /// Kubernetes namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Labels, as selectors see them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The node it runs on.
    pub node: String,
    /// Its addresses, inside the node's podCIDRs.
    pub addresses: Vec<IpAddr>,
    /// Servers: `http`, `udp-echo` or `iperf3`, each with an optional `:port`.
    #[serde(default)]
    pub run: Vec<Server>,
}

/// A server that runs in a pod or on a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// What it serves.
    pub kind: ServerKind,
    /// The port it listens on, on every address of the pod.
    pub port: u16,
}

/// What a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// nginx, port 80 by default; `/` answers with the pod's name, `/from` with the address it saw the client under,
    /// `/big` with 64 MiB of zeros.
    Http,
    /// Answers a datagram with the pod's name, a blank and the datagram. Port 7 by default.
    UdpEcho,
    /// An iperf3 server, port 5201 by default.
    Iperf3,
}

/// A machine outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Client {
    /// Name, unique in the lab.
    pub name: String,
    /// Addresses on the underlay with prefix length.
    pub addresses: Vec<IpNet>,
    /// Servers, as in a pod.
    #[serde(default)]
    pub run: Vec<Server>,
}

/// A Service in short form. Whatever else its spec shall hold goes into `spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    /// Name.
    pub name: String,
    /// Kubernetes namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(rename = "type", default = "default_service_type")]
    pub kind: String,
    /// Cluster addresses, at most one of each family.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<IpAddr>,
    /// Labels of the pods behind it.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Laid over the generated spec, key by key.
    #[serde(default)]
    pub spec: Map<String, Value>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServicePort {
    /// Name; may be empty if it is the only one.
    #[serde(default)]
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(default = "default_protocol")]
    pub protocol: String,
    /// The port clients use.
    pub port: u16,
    /// The pods' port; the same unless given.
    #[serde(default)]
    pub target_port: Option<u16>,
    /// The port on every node, for types that have one.
    #[serde(default)]
    pub node_port: Option<u16>,
}

impl Topology {
    /// Reads and checks a topology from YAML text.
    ///
    /// # Errors
    /// A key nobody knows, a value of the wrong type, or parts that contradict each other; the text names the place.
    pub fn parse(yaml: &str) -> Result<Topology> {
        let topology: Topology = serde_saphyr::from_str(yaml).map_err(|e| anyhow::anyhow!("{e}"))?;
        check::check(&topology)?;
        Ok(topology)
    }

    /// Reads and checks the topology file at `path`; a relative `manifests` becomes relative to that file's folder.
    ///
    /// # Errors
    /// As [`Topology::parse`], and when the file cannot be read.
    pub fn load(path: &Path) -> Result<Topology> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("topology {}: cannot read it", path.display()))?;
        let mut topology = Topology::parse(&text).with_context(|| format!("topology {}", path.display()))?;
        if let Some(dir) = &topology.manifests {
            let base = path.parent().unwrap_or_else(|| Path::new("."));
            topology.manifests = Some(base.join(dir).to_string_lossy().into_owned());
        }
        Ok(topology)
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name == name)
    }

    /// The pod called `name`.
    pub fn pod(&self, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|p| p.name == name)
    }

    /// MTU of `node`'s uplink in bytes.
    pub fn mtu(&self, node: &Node) -> u32 {
        node.mtu.unwrap_or(self.underlay.mtu)
    }

    /// Queues of `node`'s uplink.
    pub fn queues(&self, node: &Node) -> u32 {
        node.queues.unwrap_or(node.workers)
    }

    /// The tunnel endpoint's MAC of the node at `index`: locally administered, unicast, the same in every run.
    pub fn vtep_mac(&self, index: usize) -> String {
        format!("02:5c:00:00:{:02x}:{:02x}", (index >> 8) & 0xff, (index + 1) & 0xff)
    }
}

impl Node {
    /// The node's IPv4 or IPv6 address on the underlay.
    pub fn address(&self, v6: bool) -> Option<IpNet> {
        of_family(&self.addresses, v6)
    }

    /// The node's IPv4 or IPv6 pod subnet.
    pub fn pod_cidr(&self, v6: bool) -> Option<IpNet> {
        of_family(&self.pod_cidrs, v6)
    }
}

/// The first of `nets` that is of the asked family.
pub(crate) fn of_family(nets: &[IpNet], v6: bool) -> Option<IpNet> {
    nets.iter().copied().find(|n| n.addr().is_ipv6() == v6)
}

/// The `n`th address of `net`, counted from its base.
pub(crate) fn nth(net: IpNet, n: u8) -> IpAddr {
    match net.network() {
        IpAddr::V4(base) => IpAddr::V4((u32::from(base).saturating_add(u32::from(n))).into()),
        IpAddr::V6(base) => IpAddr::V6((u128::from(base).saturating_add(u128::from(n))).into()),
    }
}

impl TryFrom<String> for Server {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        let (kind, port) = match text.split_once(':') {
            Some((kind, port)) => (
                kind,
                Some(
                    port.parse()
                        .map_err(|_| format!("`{text}`: `{port}` is not a port, 1 to 65535"))?,
                ),
            ),
            None => (text.as_str(), None),
        };
        let (kind, usual) = match kind {
            "http" => (ServerKind::Http, 80),
            "udp-echo" => (ServerKind::UdpEcho, 7),
            "iperf3" => (ServerKind::Iperf3, 5201),
            _ => {
                return Err(format!(
                    "`{text}` is not a server; known are http, udp-echo and iperf3, with `:port`"
                ));
            }
        };
        Ok(Server {
            kind,
            port: port.unwrap_or(usual),
        })
    }
}

impl From<Server> for String {
    fn from(server: Server) -> String {
        format!("{}:{}", server.kind.name(), server.port)
    }
}

impl ServerKind {
    /// The name used in topology files.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Http => "http",
            ServerKind::UdpEcho => "udp-echo",
            ServerKind::Iperf3 => "iperf3",
        }
    }

    /// The transport it listens on, in Kubernetes' spelling.
    pub fn protocol(self) -> &'static str {
        if self == ServerKind::UdpEcho { "UDP" } else { "TCP" }
    }
}

impl Default for Underlay {
    fn default() -> Self {
        Underlay {
            kind: UnderlayKind::Bridge,
            mtu: 1500,
        }
    }
}

fn default_name() -> String {
    "lab".into()
}
fn default_cluster() -> Vec<IpNet> {
    vec![
        "10.244.0.0/16".parse().expect("constant"),
        "fd00:244::/32".parse().expect("constant"),
    ]
}
fn default_kind() -> NodeKind {
    NodeKind::Sluice
}
fn default_workers() -> u32 {
    2
}
fn default_namespace() -> String {
    "default".into()
}
fn default_service_type() -> String {
    "ClusterIP".into()
}
fn default_protocol() -> String {
    "TCP".into()
}
