//! Decides which number stands for which pods, and which address belongs to which of them. It never decides whether a
//! flow may pass.

use std::sync::Arc;

use hashbrown::HashMap;
use sluice_wire::{Addr, Identity};

use crate::content::{Content, View};
use crate::model::{Model, Namespace, Pod};

/// How many updates an identity stays unused before its number may stand for other pods. A pod that is deleted and
/// comes back within this time finds its number, and no compiled policy changes.
const REST_UPDATES: u64 = 256;

/// One generation of identities and addresses. Cheap to clone.
///
/// Make the first from [`Identities::default`], each further one with [`Identities::next`]: equal content keeps its number.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    table: Arc<Table>,
    /// Per identity, the last update in which a pod had it.
    last_used: Arc<Vec<u64>>,
    update: u64,
    addrs: Arc<HashMap<Addr, Identity>>,
    /// Pods, sorted, with their identities, and the namespaces that they were seen in.
    known: Arc<[(Arc<Pod>, u32)]>,
    namespaces: Vec<Arc<Namespace>>,
}

/// Content by number and number by content. Contents that no pod has any more stay until their number is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) contents: Vec<Arc<Content>>,
    index: HashMap<Arc<Content>, u32>,
}

impl Identities {
    /// The identities of `model`'s pods. Content known to `self` keeps its number; numbers that rested long enough are
    /// given to new content, the longest unused first.
    #[must_use]
    pub fn next(&self, model: &Model) -> Self {
        let update = self.update + 1;
        let mut namespaces: HashMap<&str, &Arc<Namespace>> = HashMap::new();
        for namespace in &model.namespaces {
            namespaces.entry(&namespace.name).or_insert(namespace);
        }
        let mut pods: Vec<&Arc<Pod>> = model.pods.iter().filter(|pod| !pod.host_network).collect();
        pods.sort_by(|a, b| name(a).cmp(&name(b)));

        let mut table = Arc::clone(&self.table);
        let mut last_used = self.last_used.to_vec();
        let mut ids = self.unchanged(&pods, &model.namespaces);
        // Known content first, so that no number still in use is taken for a resting one.
        for (id, pod) in ids.iter_mut().zip(&pods) {
            *id = id.or_else(|| table.index.get(&view(pod, &namespaces)).copied());
            if let Some(id) = id {
                last_used[*id as usize] = update;
            }
        }
        let mut rested: Option<Vec<u32>> = None;
        let ids: Vec<u32> = ids
            .into_iter()
            .zip(&pods)
            .map(|(id, pod)| {
                let content = id.is_none().then(|| view(pod, &namespaces));
                // One before it may have had the same.
                let id = id.or_else(|| table.index.get(content.as_ref()?).copied());
                id.unwrap_or_else(|| {
                    let free = rested.get_or_insert_with(|| rested_ids(&last_used, update)).pop();
                    let id = Arc::make_mut(&mut table).assign(free, view(pod, &namespaces).to_content());
                    last_used.resize(last_used.len().max(id as usize + 1), 0);
                    last_used[id as usize] = update;
                    id
                })
            })
            .collect();

        let addrs = claim_addresses(&pods, &ids);
        Self {
            table,
            last_used: Arc::new(last_used),
            update,
            addrs: if *self.addrs == addrs {
                self.addrs.clone()
            } else {
                Arc::new(addrs)
            },
            known: pods.into_iter().cloned().zip(ids).collect(),
            namespaces: model.namespaces.clone(),
        }
    }

    /// Identities of those of the sorted pods that are the very ones of the generation before, in the same namespaces.
    fn unchanged(&self, pods: &[&Arc<Pod>], namespaces: &[Arc<Namespace>]) -> Vec<Option<u32>> {
        let pairs = self.namespaces.iter().zip(namespaces);
        let same = self.namespaces.len() == namespaces.len() && pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            return vec![None; pods.len()];
        }
        let mut before = self.known.iter().peekable();
        let find = |pod: &&Arc<Pod>| {
            loop {
                let (other, id) = before.peek()?;
                if Arc::ptr_eq(other, pod) {
                    let id = *id;
                    before.next();
                    return Some(id);
                }
                if name(other) >= name(pod) {
                    return None;
                }
                before.next();
            }
        };
        pods.iter().map(find).collect()
    }

    /// The identity behind an address; `None` for nodes, host-network pods and everything outside the cluster.
    #[inline]
    pub fn lookup(&self, addr: Addr) -> Option<Identity> {
        self.addrs.get(&addr).copied()
    }

    /// What the pods of an identity have in common; `None` for a number never given out.
    pub fn content(&self, identity: Identity) -> Option<&Content> {
        self.table.contents.get(identity.0 as usize).map(Arc::as_ref)
    }

    /// Every pod address with its identity. Shared with the generation before if nothing about it changed.
    pub fn addresses(&self) -> &Arc<HashMap<Addr, Identity>> {
        &self.addrs
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

/// Equal when every number means the same pods and every address the same number.
impl PartialEq for Identities {
    fn eq(&self, other: &Self) -> bool {
        self.table.contents == other.table.contents && self.addrs == other.addrs
    }
}

impl Table {
    fn assign(&mut self, free: Option<u32>, content: Content) -> u32 {
        let content = Arc::new(content);
        let id = match free {
            Some(id) => {
                let old = std::mem::replace(&mut self.contents[id as usize], Arc::clone(&content));
                self.index.remove(&old);
                id
            }
            None => {
                self.contents.push(Arc::clone(&content));
                (self.contents.len() - 1) as u32
            }
        };
        self.index.insert(content, id);
        id
    }
}

fn view<'a>(pod: &'a Pod, namespaces: &HashMap<&str, &'a Arc<Namespace>>) -> View<'a> {
    View::of(pod, namespaces.get(pod.namespace.as_str()).copied())
}

fn name(pod: &Pod) -> (&str, &str) {
    (&pod.namespace, &pod.name)
}

/// Numbers that may be given out again, the longest unused last.
fn rested_ids(last_used: &[u64], update: u64) -> Vec<u32> {
    let mut rested: Vec<u32> = (0u32..)
        .zip(last_used)
        .filter(|&(_, &used)| update - used > REST_UPDATES)
        .map(|(id, _)| id)
        .collect();
    rested.sort_by_key(|&id| std::cmp::Reverse((last_used[id as usize], id)));
    rested
}

/// Gives each address to the first of the sorted pods that claims it. Who builds the model decides better, as it knows more.
fn claim_addresses(pods: &[&Arc<Pod>], ids: &[u32]) -> HashMap<Addr, Identity> {
    let mut owners = HashMap::with_capacity(pods.len());
    for (pod, id) in pods.iter().zip(ids) {
        for &addr in &pod.addrs {
            owners.entry(addr).or_insert(Identity(*id));
        }
    }
    owners
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
