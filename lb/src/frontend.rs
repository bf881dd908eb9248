//! Decides by what a packet to a service is recognised. It never says which service it is: that table is the snapshot's.

use core::fmt;
use sluice_wire::{Addr, Proto, Tuple};

/// An address and port that a service answers on: cluster IP, external IP or load balancer IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frontend {
    /// The service's address.
    pub addr: Addr,
    /// The service's port, host order.
    pub port: u16,
    /// Protocol.
    pub proto: Proto,
}

impl Frontend {
    /// What `tuple` is addressed to.
    pub const fn of(tuple: &Tuple) -> Self {
        Self {
            addr: tuple.dst,
            port: tuple.dport,
            proto: tuple.proto,
        }
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addr.is_v4() {
            write!(f, "{}:{}", self.addr, self.port)
        } else {
            write!(f, "[{}]:{}", self.addr, self.port)
        }
    }
}

/// A port that a service answers on at every node address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodePort {
    /// Port, host order.
    pub port: u16,
    /// Protocol.
    pub proto: Proto,
}

impl NodePort {
    /// What `tuple` is addressed to, if its destination is an address of this node.
    pub const fn of(tuple: &Tuple) -> Self {
        Self {
            port: tuple.dport,
            proto: tuple.proto,
        }
    }
}

/// By which of its addresses a service was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrontendKind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `spec.externalIPs`.
    ExternalIp,
    /// `status.loadBalancer.ingress` with ipMode VIP.
    LoadBalancer,
    /// A node's address and the node port.
    NodePort,
}

impl FrontendKind {
    /// Whether the external traffic policy applies, not the internal one.
    pub const fn is_external(self) -> bool {
        !matches!(self, Self::ClusterIp)
    }
}
