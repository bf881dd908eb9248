//! What the compiler is told beside the model: settings, the state of the kernel's network, and the ports of this node.

use sluice_lb::SchedulerKind;
use sluice_snapshot::{Caps, Prefix};
use sluice_wire::{Addr, MacAddr, PortSlot, Scope, Vni};

/// What the operator decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of this node's Node object.
    pub node_name: String,
    /// Network identifier of the tunnels.
    pub vni: Vni,
    /// UDP destination port of the tunnels.
    pub tunnel_port: u16,
    /// Largest inner IP packet, bytes; `None` takes the uplink's MTU less the encapsulation.
    pub tunnel_mtu: Option<u16>,
    /// Scheduler of services that name none.
    pub default_scheduler: SchedulerKind,
    /// Ranges that service addresses come from.
    pub service_cidrs: Vec<Prefix>,
    /// First and last port that a Service may have as node port.
    pub node_ports: (u16, u16),
    /// First and last source port that masquerading may use.
    pub masquerade_ports: (u16, u16),
}

/// The kernel's state: addresses, main routing table, neighbours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Underlay {
    /// Interface index and address, of all interfaces but `sluice0`, without 127.0.0.0/8 and ::1.
    pub addresses: Vec<(u32, Addr)>,
    /// Unicast routes of the main table, without those by `sluice0` and the loopback.
    pub routes: Vec<FibRoute>,
    /// Neighbours whose MAC is known and usable (reachable, stale, delay, probe, permanent).
    pub neighbours: Vec<Neighbour>,
    /// The interface that leads to the other nodes.
    pub uplink: Uplink,
}

/// One route of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct FibRoute {
    /// Destinations.
    pub prefix: Prefix,
    /// Next hop; `None` when destinations are on the link.
    pub gateway: Option<Addr>,
    /// Interface it leaves by.
    pub ifindex: u32,
    /// Lower wins among routes of one prefix.
    pub metric: u32,
    /// Source address the kernel would take.
    pub pref_src: Option<Addr>,
}

/// A resolved neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Interface it is reached by.
    pub ifindex: u32,
    /// Its address.
    pub addr: Addr,
    /// Its MAC.
    pub mac: MacAddr,
}

/// The interface that leads to the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Its MAC.
    pub mac: MacAddr,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Whether it is administratively up and has a carrier.
    pub up: bool,
}

/// A pod whose interface is held by this agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachedPod {
    /// Its port.
    pub slot: PortSlot,
    /// Incarnation of the port.
    pub scope: Scope,
    /// MAC of the pod's interface.
    pub mac: MacAddr,
    /// MTU of the pod's interface, bytes.
    pub mtu: u16,
    /// The pod's addresses: the attachment is the authority on them.
    pub addrs: Vec<Addr>,
    /// `namespace/name`.
    pub pod: String,
    /// What the port does by itself.
    pub caps: Caps,
}

/// `sluice0`, the port to the host's own stack.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPort {
    /// Its slot.
    pub slot: PortSlot,
    /// Incarnation of the port.
    pub scope: Scope,
    /// MAC of the interface.
    pub mac: MacAddr,
    /// MTU of the interface, bytes.
    pub mtu: u16,
    /// What the port does by itself.
    pub caps: Caps,
}

/// The port of the uplink; MAC and MTU come from [`Uplink`].
#[derive(Clone, Debug, PartialEq)]
pub struct UplinkPort {
    /// Its slot.
    pub slot: PortSlot,
    /// Incarnation of the port.
    pub scope: Scope,
    /// What the port does by itself.
    pub caps: Caps,
}

/// Everything beside the model, as it is at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the operator decided.
    pub settings: &'a Settings,
    /// The kernel's state.
    pub underlay: &'a Underlay,
    /// Pods of this node, in any order.
    pub pods: &'a [AttachedPod],
    /// `sluice0`.
    pub host: &'a HostPort,
    /// The uplink's port.
    pub uplink: &'a UplinkPort,
}
