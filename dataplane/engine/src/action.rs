//! What the fast path does to a packet: decided once, applied to every packet of the flow.

use sluice_snapshot::AdjacencyIndex;
use sluice_wire::{DropReason, PortSlot, Rewrite};

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A pod's port or the host's.
    Port(PortSlot),
    /// A next hop or a tunnel. By index: its MAC may change without touching a flow.
    Adjacency(AdjacencyIndex),
    /// Nowhere.
    Drop(DropReason),
}

/// One direction of one flow, compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    pub(crate) rewrite: Rewrite,
    pub(crate) way: Way,
    /// Outer source port, should it leave by a tunnel (from the inner flow's hash, RFC 7348 section 5).
    pub(crate) tunnel_port: u16,
    /// Whether this is a hop that costs TTL: not between the host and its own pods.
    pub(crate) hop: bool,
    /// Whether packets may pass without the connection's state being looked at: not while TCP opens or closes.
    pub(crate) steady: bool,
}

impl Action {
    pub(crate) fn drop(reason: DropReason) -> Self {
        Self {
            rewrite: Rewrite::default(),
            way: Way::Drop(reason),
            tunnel_port: 0,
            hop: false,
            steady: true,
        }
    }
}
