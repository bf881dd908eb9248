//! Decides how services and endpoints are named across snapshots. It never says whether one is usable: only usable ones get here.

use sluice_wire::{Addr, stable_hash};

/// Place of an endpoint in the runtime tables. Control gives it out and reuses it after a grace period
/// ([`crate::Runtime::forget_endpoint`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct EndpointSlot(pub u32);

impl EndpointSlot {
    /// The slot as a table index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Place of a service port in the runtime tables. Control gives it out and reuses it after a grace period
/// ([`crate::Runtime::forget_service`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct ServiceSlot(pub u32);

impl ServiceSlot {
    /// The slot as a table index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A backend that may get new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Key of its runtime state.
    pub slot: EndpointSlot,
    /// Where it listens.
    pub addr: Addr,
    /// Port it listens on, host order.
    pub port: u16,
    /// Share of new connections relative to the others; 0 gets none.
    pub weight: u16,
    /// It runs on this node.
    pub local: bool,
}

impl Endpoint {
    /// A hash by address and port alone, so that it is the same on every node. `seed` tells independent hashes apart.
    pub(crate) fn stable_hash(&self, seed: u64) -> u64 {
        let [high, low] = addr_words(self.addr);
        stable_hash(&[high, low, u64::from(self.port), seed])
    }
}

/// An address as the two words that [`stable_hash`] takes.
pub(crate) fn addr_words(addr: Addr) -> [u64; 2] {
    let bits = addr.bits();
    [(bits >> 64) as u64, bits as u64]
}
