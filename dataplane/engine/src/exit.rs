//! Decides by which port a packet leaves, and what is put in front of it there. It never changes the packet itself.

use crate::Frame;
use crate::action::Way;
use crate::engine::Context;
use sluice_snapshot::{Caps, Link};
use sluice_vxlan::Template;
use sluice_wire::{DropReason, MacAddr, PortSlot, rewrite};

/// Where a finished frame goes.
#[derive(Clone, Copy)]
pub(crate) struct Exit<'a> {
    pub(crate) port: PortSlot,
    /// What need not be done before.
    pub(crate) caps: Caps,
    pub(crate) front: Front<'a>,
}

/// What is put in front.
#[derive(Clone, Copy)]
pub(crate) enum Front<'a> {
    /// Ethernet addresses: destination and source.
    Macs(MacAddr, MacAddr),
    /// Tunnel headers, with this source port.
    Tunnel(&'a Template, u16),
}

impl<'a> Context<'a> {
    /// The exit at the end of a way.
    #[inline(always)]
    pub(crate) fn exit(&self, way: Way, tunnel_port: u16) -> Result<Exit<'a>, DropReason> {
        let parts = &self.snapshot.parts;
        match way {
            Way::Drop(reason) => Err(reason),
            Way::Port(slot) => {
                let port = parts.ports.get(slot).ok_or(DropReason::PortGone)?;
                Ok(Exit {
                    port: slot,
                    caps: port.caps,
                    front: Front::Macs(port.mac(), parts.node.gateway_mac),
                })
            }
            Way::Adjacency(at) => {
                let adjacency = parts.forwarding.adjacency(at);
                let adjacency = adjacency.ok_or(DropReason::NeighbourUnresolved)?;
                let (caps, front) = match &adjacency.link {
                    Link::Direct { dst, src } => {
                        let caps = parts.ports.get(adjacency.port).map_or(Caps::default(), |p| p.caps);
                        (caps, Front::Macs(*dst, *src))
                    }
                    // What a NIC can do for a plain packet it cannot do for a wrapped one.
                    Link::Tunnel(template) => (Caps::default(), Front::Tunnel(template, tunnel_port)),
                };
                Ok(Exit {
                    port: adjacency.port,
                    caps,
                    front,
                })
            }
        }
    }
}

impl Exit<'_> {
    /// Puts Ethernet addresses in front, unless a tunnel's headers will.
    #[inline(always)]
    pub(crate) fn address(&self, frame: &mut Frame) {
        if let Front::Macs(dst, src) = self.front {
            rewrite::set_macs(frame.buf.bytes_mut(), dst, src);
        }
    }
}
