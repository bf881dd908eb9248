//! Decides whether a connection to a service must take this node's address as its source, so that replies come back through
//! here. It never chooses the port.
//!
//! The rules are kube-proxy's (pkg/proxy/iptables/proxier.go, the jumps to KUBE-MARK-MASQ).

use crate::FrontendKind;
use sluice_wire::Addr;

/// `externalTrafficPolicy` of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrafficPolicy {
    /// Endpoints on all nodes.
    #[default]
    Cluster,
    /// Endpoints on the node that the packet came to; clients keep their address.
    Local,
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct MasqueradeInput {
    /// Source of the first packet.
    pub client: Addr,
    /// Address of the chosen endpoint.
    pub endpoint: Addr,
    /// How the service was reached.
    pub via: FrontendKind,
    /// The service's external traffic policy.
    pub external_policy: TrafficPolicy,
    /// The client is a pod: its address lies in the cluster's pod ranges.
    pub client_in_cluster: bool,
    /// The client is this node itself.
    pub client_is_node: bool,
    /// The operator wants all traffic to cluster IPs masqueraded (`masqueradeAll`).
    pub masquerade_all: bool,
}

/// Whether a connection is masqueraded, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Masquerade {
    /// The client keeps its address.
    No,
    /// The client was chosen as its own endpoint; it would take the reply's source for its own address.
    Hairpin,
    /// Reached from outside at any node, served on any node: the reply must return through the node that rewrote the request.
    External,
    /// From this node to a service address of policy Local, where it may be served on any node.
    FromNode,
    /// From outside the pod ranges to a cluster IP.
    OffCluster,
    /// The operator asked for it.
    All,
}

impl Masquerade {
    /// The first rule that applies.
    pub fn decide(input: &MasqueradeInput) -> Self {
        let local = input.external_policy == TrafficPolicy::Local;
        match input.via {
            _ if input.client == input.endpoint => Self::Hairpin,
            FrontendKind::ClusterIp if input.masquerade_all => Self::All,
            FrontendKind::ClusterIp if !input.client_in_cluster => Self::OffCluster,
            FrontendKind::ClusterIp => Self::No,
            _ if !local => Self::External,
            _ if input.client_is_node => Self::FromNode,
            _ => Self::No,
        }
    }

    /// Whether the source is rewritten.
    pub const fn is_needed(self) -> bool {
        !matches!(self, Self::No)
    }

    /// For people: the reason, in a few words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::No => "source address kept",
            Self::Hairpin => "masqueraded: the client is its own endpoint",
            Self::External => "masqueraded: external traffic, policy Cluster",
            Self::FromNode => "masqueraded: from this node to an external address",
            Self::OffCluster => "masqueraded: cluster IP reached from outside the pod ranges",
            Self::All => "masqueraded: masqueradeAll is set",
        }
    }
}

/// Whether the connection must be masqueraded.
pub fn needs_masquerade(input: &MasqueradeInput) -> bool {
    Masquerade::decide(input).is_needed()
}
