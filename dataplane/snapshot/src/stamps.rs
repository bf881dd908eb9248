//! When each thing that a decision can depend on last changed.

use sluice_lb::ServiceSlot;
use sluice_wire::{Addr, DepId, Generation, PortSlot, stable_hash};

use crate::Prefix;

const SERVICES: u32 = 16_384;
const POLICIES: u32 = 4_096;
const ADDRESSES: u32 = 16_384;
const ROUTES: u32 = 2_048;
const NODE_PORTS: u32 = 2_048;
const ENDPOINTS: u32 = 4_096;

/// Ids of the things that decisions depend on. Id 0 is nothing, and never changes. Buckets are shared by what hashes alike:
/// that costs a needless second decision now and then, never a stale one.
pub mod dep {
    use super::*;

    const SERVICE_AT: u32 = 1;
    const POLICY_AT: u32 = SERVICE_AT + SERVICES;
    const ADDRESS_AT: u32 = POLICY_AT + POLICIES;
    const ROUTE_AT: u32 = ADDRESS_AT + ADDRESSES;
    const NODE_PORT_AT: u32 = ROUTE_AT + ROUTES;
    const ENDPOINT_AT: u32 = NODE_PORT_AT + NODE_PORTS;
    pub(super) const COUNT: usize = (ENDPOINT_AT + ENDPOINTS) as usize;

    /// A service's endpoints, scheduler or flags.
    pub fn service(slot: ServiceSlot) -> DepId {
        DepId(SERVICE_AT + slot.0 % SERVICES)
    }

    /// The policy of the pod at this port.
    pub fn policy(slot: PortSlot) -> DepId {
        DepId(POLICY_AT + u32::from(slot.0) % POLICIES)
    }

    /// Who has this address: pod, identity, service.
    pub fn address(addr: Addr) -> DepId {
        DepId(ADDRESS_AT + bucket(addr, 0, ADDRESSES))
    }

    /// The route of this prefix.
    pub fn route(prefix: &Prefix) -> DepId {
        DepId(ROUTE_AT + bucket(prefix.base(), u64::from(prefix.bits()), ROUTES))
    }

    /// The service behind this node port.
    pub fn node_port(port: u16) -> DepId {
        DepId(NODE_PORT_AT + u32::from(port) % NODE_PORTS)
    }

    /// Whether this address is an endpoint, at whichever port.
    pub fn endpoint(addr: Addr) -> DepId {
        DepId(ENDPOINT_AT + bucket(addr, 0, ENDPOINTS))
    }

    fn bucket(addr: Addr, salt: u64, buckets: u32) -> u32 {
        let value = addr.bits();
        (stable_hash(&[(value >> 64) as u64, value as u64, salt]) % u64::from(buckets)) as u32
    }
}

/// What one decision depended on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deps {
    ids: [DepId; Self::MAX],
    len: u8,
    /// There was no room: whatever changes may have been part of it.
    overflowed: bool,
}

impl Default for Deps {
    fn default() -> Self {
        Self {
            ids: [DepId(0); Self::MAX],
            len: 0,
            overflowed: false,
        }
    }
}

impl Deps {
    const MAX: usize = 11;

    /// Notes a dependency; one that is noted already changes nothing.
    pub fn add(&mut self, id: DepId) {
        let at = usize::from(self.len);
        if self.ids[..at].contains(&id) {
            return;
        }
        debug_assert!(
            at < Self::MAX,
            "a decision has more dependencies than there is room for"
        );
        if at < Self::MAX {
            self.ids[at] = id;
            self.len += 1;
        } else {
            self.overflowed = true;
        }
    }

    /// What was noted.
    pub fn ids(&self) -> &[DepId] {
        &self.ids[..usize::from(self.len)]
    }
}

/// The generation in which each dependency last changed.
#[derive(Clone, Debug)]
pub struct Stamps {
    changed_in: Vec<Generation>,
    all: Generation,
}

impl Stamps {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            changed_in: vec![Generation(0); dep::COUNT],
            all: generation,
        }
    }

    pub(crate) fn touch(&mut self, id: DepId, generation: Generation) {
        if let Some(stamp) = self.changed_in.get_mut(id.0 as usize) {
            *stamp = generation;
        }
    }

    pub(crate) fn touch_all(&mut self, generation: Generation) {
        self.all = generation;
    }

    /// Whether nothing that this decision of generation `since` depended on has changed after it.
    #[inline]
    pub fn unchanged(&self, deps: &Deps, since: Generation) -> bool {
        self.all <= since
            && !deps.overflowed
            && deps
                .ids()
                .iter()
                .all(|id| self.changed_in.get(id.0 as usize).is_some_and(|at| *at <= since))
    }
}
