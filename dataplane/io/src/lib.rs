//! Decides how frames move between the node and its ports: one trait, [`PacketIo`], and the devices behind it.
//! It never looks into a packet further than a device's own offload header asks for.

pub mod afxdp;
pub mod fault;
mod link;
pub mod lost;
pub mod memory;
pub mod netns;
pub mod pcap;
pub mod ready;
pub mod reassembled;
pub mod tap;
pub mod thread;
pub mod xdp;

mod port;
#[cfg(test)]
mod testing;

pub use port::{Caps, Level, Occupancy, PacketIo, Received, Recycled, Sent, Stats};

/// A frame in this process's frame memory.
pub type Frame = sluice_wire::Frame<sluice_mem::Buf>;

/// Up to [`sluice_wire::BURST`] such frames.
pub type Burst = sluice_wire::Burst<sluice_mem::Buf>;
