//! When each thing that a decision can depend on last changed.

use sluice_lb::ServiceSlot;
use sluice_wire::{Addr, DepId, Generation, PortSlot, stable_hash};
use std::sync::Arc;

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
    const _: () = assert!(COUNT <= 1 << 16, "an id is a number of 16 bits");

    /// A service's endpoints, scheduler or flags.
    pub fn service(slot: ServiceSlot) -> DepId {
        id(SERVICE_AT + slot.0 % SERVICES)
    }

    /// The policy of the pod at this port.
    pub fn policy(slot: PortSlot) -> DepId {
        id(POLICY_AT + u32::from(slot.0) % POLICIES)
    }

    /// Who has this address: pod, identity, service.
    pub fn address(addr: Addr) -> DepId {
        id(ADDRESS_AT + bucket(addr, 0, ADDRESSES))
    }

    /// The route of this prefix.
    pub fn route(prefix: &Prefix) -> DepId {
        id(ROUTE_AT + bucket(prefix.base(), u64::from(prefix.bits()), ROUTES))
    }

    /// The service behind this node port.
    pub fn node_port(port: u16) -> DepId {
        id(NODE_PORT_AT + u32::from(port) % NODE_PORTS)
    }

    /// Whether this address is an endpoint, at whichever port.
    pub fn endpoint(addr: Addr) -> DepId {
        id(ENDPOINT_AT + bucket(addr, 0, ENDPOINTS))
    }

    const fn id(at: u32) -> DepId {
        DepId(at as u16)
    }

    fn bucket(addr: Addr, salt: u64, buckets: u32) -> u32 {
        let value = addr.bits();
        (stable_hash(&[(value >> 64) as u64, value as u64, salt]) % u64::from(buckets)) as u32
    }
}

/// What one decision depended on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Stamps of one page: what a change does not touch is shared with the generation before.
const PAGE: usize = 512;

/// The generation in which each dependency last changed.
#[derive(Clone, Debug)]
pub struct Stamps {
    pages: Vec<Arc<[Generation; PAGE]>>,
    all: Generation,
}

impl Stamps {
    pub(crate) fn new(generation: Generation) -> Self {
        let never = Arc::new([Generation(0); PAGE]);
        Self {
            pages: vec![never; dep::COUNT.div_ceil(PAGE)],
            all: generation,
        }
    }

    pub(crate) fn touch(&mut self, id: DepId, generation: Generation) {
        let (page, at) = place(id);
        if let Some(page) = self.pages.get_mut(page) {
            Arc::make_mut(page)[at] = generation;
        }
    }

    pub(crate) fn touch_all(&mut self, generation: Generation) {
        self.all = generation;
    }

    /// The generation in which anything of this last changed; the largest there can be where that is not known.
    pub fn latest(&self, deps: &Deps) -> Generation {
        if deps.overflowed {
            return UNKNOWN;
        }
        let stamp = |id: &DepId| {
            let (page, at) = place(*id);
            self.pages.get(page).map_or(UNKNOWN, |page| page[at])
        };
        deps.ids().iter().map(stamp).fold(self.all, Generation::max)
    }
}

const UNKNOWN: Generation = Generation(u64::MAX);

fn place(id: DepId) -> (usize, usize) {
    let at = usize::from(id.0);
    (at / PAGE, at % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Each generation as it is, whatever its successors changed, beside a plain list.
        #[test]
        fn shared_pages_are_as_good_as_copies(changes in vec(vec(0..dep::COUNT as u16, 0..5), 1..20)) {
            let mut plain = vec![Generation(0); dep::COUNT];
            let mut all = vec![(Stamps::new(Generation(0)), plain.clone())];
            for (n, ids) in changes.iter().enumerate() {
                let (mut stamps, generation) = (all[n].0.clone(), Generation(n as u64 + 1));
                for id in ids {
                    stamps.touch(DepId(*id), generation);
                    plain[usize::from(*id)] = generation;
                }
                all.push((stamps, plain.clone()));
            }
            for (stamps, plain) in &all {
                for id in changes.iter().flatten() {
                    let mut deps = Deps::default();
                    deps.add(DepId(*id));
                    prop_assert_eq!(stamps.latest(&deps), plain[usize::from(*id)]);
                }
            }
        }
    }
}
