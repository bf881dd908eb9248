//! Newtypes for ids, so that one can never be passed for another.

/// VXLAN network identifier, 24 bits on the wire (RFC 7348 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Vni(u32);

impl Vni {
    /// `None` when the value needs more than 24 bits.
    pub const fn new(value: u32) -> Option<Self> {
        if value < 1 << 24 { Some(Self(value)) } else { None }
    }

    /// The identifier as a number below 2^24.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Place of a port in the port table. Slots are reused; what a flow remembers is the port's [`crate::Scope`], which is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct PortSlot(pub u16);

impl PortSlot {
    /// The slot as a table index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a worker thread, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct WorkerId(pub u16);

/// Number of a published configuration; grows by one with each publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Generation(pub u64);

/// What policies know a peer by: one id for all addresses whose pods have the same namespace, labels and named ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Identity(pub u32);

/// One thing a decision depended on (a service, a pod's policy, a bucket of addresses, a route): index into the
/// snapshot's stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct DepId(pub u16);
