//! Decides how the identities of all addresses are kept, so that the next generation shares all but a few parts with this one.

use std::sync::Arc;

use hashbrown::HashMap;
use sluice_wire::{Addr, Identity};

/// Parts. A change copies one of them: 400 addresses where there are 100,000.
const SHARDS: usize = 256;

/// The identity of every pod address. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct Addresses {
    shards: Vec<Arc<HashMap<Addr, Identity>>>,
    len: usize,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            shards: vec![Arc::default(); SHARDS],
            len: 0,
        }
    }
}

impl Addresses {
    /// Whose an address is; `None` for nodes, host-network pods and everything outside the cluster.
    #[inline]
    pub fn get(&self, addr: &Addr) -> Option<&Identity> {
        self.shards[shard(*addr)].get(addr)
    }

    /// Whether it is a pod's.
    pub fn contains_key(&self, addr: &Addr) -> bool {
        self.get(addr).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Addr> {
        self.shards.iter().flat_map(|shard| shard.keys())
    }

    /// Gives an address to an identity, or to nobody.
    pub(crate) fn put(&mut self, addr: Addr, to: Option<Identity>) {
        let shard = Arc::make_mut(&mut self.shards[shard(addr)]);
        let before = match to {
            Some(id) => shard.insert(addr, id),
            None => shard.remove(&addr),
        };
        self.len = self.len + usize::from(to.is_some()) - usize::from(before.is_some());
    }
}

impl PartialEq for Addresses {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.shards.iter().zip(&other.shards);
        self.len == other.len && pairs.all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }
}

impl FromIterator<(Addr, Identity)> for Addresses {
    fn from_iter<I: IntoIterator<Item = (Addr, Identity)>>(all: I) -> Self {
        let mut addresses = Self::default();
        for (addr, id) in all {
            addresses.put(addr, Some(id));
        }
        addresses
    }
}

/// Neighbours in a range are in different parts. Whoever chooses addresses so that they are in one makes its changes dearer, and nothing else.
#[inline]
fn shard(addr: Addr) -> usize {
    let bits = addr.bits();
    let folded = (bits as u64) ^ (bits >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_shares_all_other_parts() {
        let addr = |n: u32| Addr::v4((0x0a00_0000 + n).to_be_bytes());
        let one: Addresses = (0..100_000).map(|n| (addr(n), Identity(n))).collect();
        let most = one.shards.iter().map(|shard| shard.len()).max().unwrap();
        assert!(most < 600, "{most} in one part");
        let mut two = one.clone();
        two.put(addr(7), None);
        let shared = one.shards.iter().zip(&two.shards).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), SHARDS - 1);
        assert_eq!((one.len(), two.len()), (100_000, 99_999));
    }

    proptest! {
        #[test]
        fn it_is_one_table(changes in prop::collection::vec((0u8..40, prop::option::of(0u32..9)), 0..200)) {
            let mut twin = std::collections::BTreeMap::new();
            let mut table = Addresses::default();
            for (last, to) in changes {
                let addr = Addr::v4([10, 0, 0, last]);
                table.put(addr, to.map(Identity));
                match to {
                    Some(id) => _ = twin.insert(addr, Identity(id)),
                    None => _ = twin.remove(&addr),
                }
                prop_assert_eq!(table.len(), twin.len());
                prop_assert_eq!(table.get(&addr), twin.get(&addr));
            }
            let mut keys: Vec<_> = table.keys().copied().collect();
            keys.sort();
            prop_assert_eq!(keys, twin.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(&table, &twin.into_iter().collect::<Addresses>());
        }
    }
}
