//! Who is an endpoint of which service. It never says whether one is usable: a draining one still speaks to its clients.

use hashbrown::HashMap;
use sluice_lb::{Frontend, ServiceSlot};
use sluice_wire::{Addr, stable_hash};
use std::sync::Arc;

/// Parts of the index; a change copies those that it touches only.
const SHARDS: usize = 256;

type Shard = HashMap<(Addr, u16), Vec<(ServiceSlot, Frontend)>>;

/// All endpoints of TCP services, with the service addresses whose connections they may serve. Clones share what they do not
/// change.
#[derive(Clone, Debug)]
pub struct EndpointIndex {
    shards: Box<[Arc<Shard>]>,
}

impl Default for EndpointIndex {
    fn default() -> Self {
        let empty = Arc::<Shard>::default();
        Self {
            shards: (0..SHARDS).map(|_| empty.clone()).collect(),
        }
    }
}

impl PartialEq for EndpointIndex {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.shards.iter().zip(&other.shards);
        pairs.all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }
}

impl EndpointIndex {
    /// `endpoint` may serve connections to this service's `frontend`.
    pub fn add(&mut self, endpoint: (Addr, u16), service: ServiceSlot, frontend: Frontend) {
        let served = self.shard_mut(endpoint).entry(endpoint).or_default();
        // In an order of their own, so that the history of changes does not show.
        match served.binary_search_by_key(&service, |(slot, _)| *slot) {
            Ok(at) => served[at].1 = frontend,
            Err(at) => served.insert(at, (service, frontend)),
        }
    }

    /// It no longer does.
    pub fn remove(&mut self, endpoint: (Addr, u16), service: ServiceSlot) {
        let shard = self.shard_mut(endpoint);
        let Some(served) = shard.get_mut(&endpoint) else { return };
        served.retain(|(slot, _)| *slot != service);
        if served.is_empty() {
            shard.remove(&endpoint);
        }
    }

    /// Whether any service has this endpoint.
    pub fn contains(&self, endpoint: (Addr, u16)) -> bool {
        self.shards[shard_of(endpoint)].contains_key(&endpoint)
    }

    /// The service addresses that this address and port stands behind.
    pub fn frontends(&self, endpoint: (Addr, u16)) -> impl Iterator<Item = Frontend> + '_ {
        let served = self.shards[shard_of(endpoint)].get(&endpoint);
        served.into_iter().flatten().map(|(_, frontend)| *frontend)
    }

    /// Who is an endpoint in one of the two and not in the other.
    pub fn joined_or_left<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (Addr, u16)> + 'a {
        let pairs = self.shards.iter().zip(&other.shards);
        pairs.filter(|(a, b)| !Arc::ptr_eq(a, b)).flat_map(|(a, b)| {
            let only = |of: &'a Shard, not: &'a Shard| of.keys().filter(|key| !not.contains_key(*key)).copied();
            only(a, b).chain(only(b, a))
        })
    }

    fn shard_mut(&mut self, endpoint: (Addr, u16)) -> &mut Shard {
        Arc::make_mut(&mut self.shards[shard_of(endpoint)])
    }
}

fn shard_of((addr, port): (Addr, u16)) -> usize {
    let value = addr.bits();
    stable_hash(&[(value >> 64) as u64, value as u64, u64::from(port)]) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sluice_wire::Proto;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_of_pairs_whatever_the_order(
            steps in prop::collection::vec((any::<bool>(), 0u8..6, 0u16..3, 0u8..4), 0..60),
        ) {
            let endpoint = |n: u8, port: u16| (Addr::v4([10, 0, 0, n]), port);
            let frontend = |n: u8| Frontend { addr: Addr::v4([10, 96, 0, n]), port: 80, proto: Proto::TCP };
            let mut fast = EndpointIndex::default();
            let mut slow = BTreeSet::new();
            for (add, n, port, service) in steps {
                let before = fast.clone();
                let changed = if add {
                    fast.add(endpoint(n, port), ServiceSlot(service.into()), frontend(service));
                    slow.insert((n, port, service))
                } else {
                    fast.remove(endpoint(n, port), ServiceSlot(service.into()));
                    slow.remove(&(n, port, service))
                };
                prop_assert_eq!(before != fast, changed);
            }
            let empty = EndpointIndex::default();
            for (one, other) in [(&fast, &empty), (&empty, &fast)] {
                let joined: BTreeSet<_> = one.joined_or_left(other).collect();
                prop_assert_eq!(joined, slow.iter().map(|(n, port, _)| endpoint(*n, *port)).collect());
            }
            let mut again = EndpointIndex::default();
            for (n, port, service) in slow.iter().rev() {
                again.add(endpoint(*n, *port), ServiceSlot((*service).into()), frontend(*service));
            }
            prop_assert!(again == fast);
            for n in 0..6 {
                for port in 0..3 {
                    let want: Vec<_> =
                        slow.iter().filter(|(a, b, _)| (*a, *b) == (n, port)).map(|(_, _, s)| frontend(*s)).collect();
                    prop_assert_eq!(fast.contains(endpoint(n, port)), !want.is_empty());
                    prop_assert_eq!(fast.frontends(endpoint(n, port)).collect::<Vec<_>>(), want);
                }
            }
        }
    }
}
