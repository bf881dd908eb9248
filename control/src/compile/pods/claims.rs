//! Decides which pods' objects claim an address. It never decides between them.

use crate::model::PodRecord;
use sluice_wire::Addr;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Claims of all pods that are not in their node's network.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_addr: HashMap<Addr, Claimants>,
    contested: BTreeSet<Addr>,
}

/// Nearly always one.
#[derive(Debug)]
enum Claimants {
    One(Arc<PodRecord>),
    Many(Vec<Arc<PodRecord>>),
}

impl Claims {
    pub(super) fn of_all<'r>(records: impl Iterator<Item = &'r Arc<PodRecord>>) -> Self {
        let mut all = Self::default();
        records.for_each(|record| all.add(record));
        all
    }

    pub(super) fn add(&mut self, record: &Arc<PodRecord>) {
        if record.identity.host_network {
            return;
        }
        for addr in &record.identity.addrs {
            let mut list = match self.by_addr.remove(addr) {
                None => Vec::new(),
                Some(Claimants::One(other)) => vec![other],
                Some(Claimants::Many(others)) => others,
            };
            if !list.iter().any(|known| same(known, record)) {
                list.push(Arc::clone(record));
            }
            self.put(*addr, list);
        }
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, record: &Arc<PodRecord>) {
        for addr in &record.identity.addrs {
            let list = match self.by_addr.remove(addr) {
                None => continue,
                Some(Claimants::One(other)) => vec![other],
                Some(Claimants::Many(others)) => others,
            };
            let left = list.into_iter().filter(|known| !same(known, record)).collect();
            self.put(*addr, left);
        }
    }

    fn put(&mut self, addr: Addr, mut list: Vec<Arc<PodRecord>>) {
        if list.len() > 1 {
            self.contested.insert(addr);
            self.by_addr.insert(addr, Claimants::Many(list));
        } else {
            self.contested.remove(&addr);
            if let Some(only) = list.pop() {
                self.by_addr.insert(addr, Claimants::One(only));
            }
        }
    }

    /// Whose objects claim an address, in no order.
    pub(super) fn of(&self, addr: &Addr) -> impl Iterator<Item = &Arc<PodRecord>> {
        let list: &[Arc<PodRecord>] = match self.by_addr.get(addr) {
            None => &[],
            Some(Claimants::One(only)) => std::slice::from_ref(only),
            Some(Claimants::Many(all)) => all,
        };
        list.iter()
    }

    pub(super) fn contested(&self, addr: &Addr) -> bool {
        matches!(self.by_addr.get(addr), Some(Claimants::Many(_)))
    }

    /// Addresses that several claim.
    pub(super) fn contested_addrs(&self) -> impl Iterator<Item = Addr> {
        self.contested.iter().copied()
    }
}

fn same(a: &PodRecord, b: &PodRecord) -> bool {
    (&a.identity.namespace, &a.identity.name) == (&b.identity.namespace, &b.identity.name)
}
