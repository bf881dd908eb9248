//! The ports of this node, by slot.

use sluice_wire::{Addr, MacAddr, PortSlot, Scope};
use std::sync::Arc;

/// What a port's device does by itself; what it does not, the engine does before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Completes checksums (takes [`sluice_wire::Checksum::Partial`]).
    pub checksum: bool,
    /// Takes TCP over IPv4 super-frames.
    pub tso4: bool,
    /// Takes TCP over IPv6 super-frames.
    pub tso6: bool,
    /// Takes UDP super-frames.
    pub uso: bool,
}

/// Whom a port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A pod's interface.
    Pod {
        /// Only source MAC that is let in.
        mac: MacAddr,
        /// Only source addresses that are let in.
        addrs: Box<[Addr]>,
        /// `namespace/name`, for people.
        name: Arc<str>,
    },
    /// `sluice0`, the host's own stack.
    Host {
        /// MAC of the interface.
        mac: MacAddr,
    },
    /// The wire.
    Uplink {
        /// MAC of the interface.
        mac: MacAddr,
    },
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Incarnation: part of every flow's key that came in here.
    pub scope: Scope,
    /// Whom it leads to.
    pub kind: PortKind,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Offloads.
    pub caps: Caps,
}

impl Port {
    /// MAC of the interface behind the port.
    pub fn mac(&self) -> MacAddr {
        match self.kind {
            PortKind::Pod { mac, .. } | PortKind::Host { mac } | PortKind::Uplink { mac } => mac,
        }
    }

    /// Source addresses a pod may use; empty for other ports.
    pub fn pod_addrs(&self) -> &[Addr] {
        match &self.kind {
            PortKind::Pod { addrs, .. } => addrs,
            _ => &[],
        }
    }
}

/// All ports, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTable(Vec<Option<Arc<Port>>>);

impl PortTable {
    /// Puts a port into its slot, or empties it.
    pub fn set(&mut self, slot: PortSlot, port: Option<Arc<Port>>) {
        if self.0.len() <= slot.index() {
            self.0.resize(slot.index() + 1, None);
        }
        self.0[slot.index()] = port;
    }

    /// The port in this slot.
    #[inline]
    pub fn get(&self, slot: PortSlot) -> Option<&Port> {
        self.0.get(slot.index())?.as_deref()
    }

    /// All occupied slots.
    pub fn iter(&self) -> impl Iterator<Item = (PortSlot, &Port)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((PortSlot(i as u16), p.as_deref()?)))
    }

    /// One past the highest slot.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no slot at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
