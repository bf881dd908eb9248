//! Where the engine puts what leaves.

use crate::Frame;
use sluice_mem::Pools;
use sluice_wire::{Addr, PortSlot};

/// The way out, as the worker provides it. Whoever implements it counts what its ports took or refused.
pub trait Egress {
    /// Queues a frame for a port. A full queue is sent first; nothing is lost without being counted.
    fn send(&mut self, pools: &mut Pools, port: PortSlot, frame: Frame);

    /// Sends what is queued.
    fn flush(&mut self, pools: &mut Pools);

    /// Asks for a neighbour's MAC. May be forgotten: the engine asks again with the next packet.
    fn resolve(&mut self, neighbour: Addr);
}
