//! What this node is, for the packet path.

use crate::Prefixes;
use hashbrown::HashSet;
use sluice_wire::{Addr, MacAddr, PortSlot, Vni};

/// Facts about this node that any decision may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name of the Kubernetes Node object.
    pub name: String,
    /// Network identifier of the tunnels.
    pub vni: Vni,
    /// UDP destination port of the tunnels.
    pub tunnel_port: u16,
    /// MAC that answers pods' ARP and NDP, and that frames to pods and to the host come from.
    pub gateway_mac: MacAddr,
    /// MAC that peers put on inner frames whose outer packet is IPv4 (flannel's VtepMAC in backend-data).
    pub vtep_mac_v4: MacAddr,
    /// The same for IPv6 outer packets (backend-v6-data).
    pub vtep_mac_v6: MacAddr,
    /// Addresses of the node's own interfaces, without those of `sluice0`, 127.0.0.0/8 and ::1.
    pub addresses: HashSet<Addr>,
    /// Base address of the node's IPv4 pod range, which `sluice0` holds: source of masqueraded traffic to pods.
    pub base_v4: Option<Addr>,
    /// The same for IPv6.
    pub base_v6: Option<Addr>,
    /// Source of pods' traffic to outside the cluster, IPv4.
    pub outside_v4: Option<Addr>,
    /// The same for IPv6.
    pub outside_v6: Option<Addr>,
    /// Pod ranges of all nodes of the cluster.
    pub cluster_prefixes: Prefixes,
    /// Ranges that services' addresses are from: what has no service there is nowhere.
    pub service_prefixes: Prefixes,
    /// Port of `sluice0`.
    pub host_port: PortSlot,
    /// Port of the uplink.
    pub uplink_port: PortSlot,
    /// First and last source port that masquerading may use.
    pub masquerade_ports: (u16, u16),
}

impl Node {
    /// Base address of the given address's family.
    pub fn base_for(&self, addr: Addr) -> Option<Addr> {
        if addr.is_v4() { self.base_v4 } else { self.base_v6 }
    }

    /// Source address towards outside, of the given address's family.
    pub fn outside_for(&self, addr: Addr) -> Option<Addr> {
        if addr.is_v4() { self.outside_v4 } else { self.outside_v6 }
    }

    /// Whether `addr` is a pod's anywhere in the cluster.
    pub fn in_cluster(&self, addr: Addr) -> bool {
        self.cluster_prefixes.contains(addr)
    }

    /// Whether `addr` is from the ranges of services.
    pub fn in_services(&self, addr: Addr) -> bool {
        self.service_prefixes.contains(addr)
    }

    /// Whether `addr` is this node's own: an interface's or `sluice0`'s.
    pub fn is_local(&self, addr: Addr) -> bool {
        self.addresses.contains(&addr) || self.base_v4 == Some(addr) || self.base_v6 == Some(addr)
    }
}
