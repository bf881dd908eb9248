//! Decides which number stands for which pods, and which address belongs to which of them. It never decides whether a
//! flow may pass.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::{Equivalent, HashMap, HashSet};
use sluice_wire::{Addr, Identity};

use crate::addresses::Addresses;
use crate::content::{Content, View};
use crate::model::{Model, Namespace, Pod};

/// Of the next assignment in any table.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// How many updates an identity stays unused before its number may stand for other pods. A pod that is deleted and
/// comes back within this time finds its number, and no compiled policy changes.
const REST_UPDATES: u64 = 256;

/// One generation of identities and addresses.
///
/// Make the first from [`Identities::default`], each further one with [`Identities::next`], or [`Identities::change`] where few pods
/// differ: equal content keeps its number.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    table: Arc<Table>,
    uses: Vec<Use>,
    update: u64,
    addrs: Arc<Addresses>,
    /// Addresses of all pods, one by one: more than there are different ones where pods contradict each other.
    claims: usize,
    /// All pods that have an identity, and the namespaces that they were seen in.
    known: HashMap<ByName, u32>,
    namespaces: Vec<Arc<Namespace>>,
}

/// Namespace and name of a pod, and what it is now; `None` when it is gone.
pub type PodChange<'n> = ((&'n str, &'n str), Option<Arc<Pod>>);

/// How an identity is used.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    pods: u32,
    /// The last update in which a pod had it, where none does.
    last: u64,
}

/// Content by number and number by content. Contents that no pod has any more stay until their number is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) contents: Vec<Arc<Content>>,
    index: HashMap<Arc<Content>, u32>,
    /// The last numbers that were given out, each under a serial that no other table has.
    log: VecDeque<(u64, u32)>,
}

/// Assignments that are remembered; who is further behind looks at all.
const LOG: usize = 1024;

impl Identities {
    /// The identities of `model`'s pods. Content known to `self` keeps its number; numbers that rested long enough are
    /// given to new content, the longest unused first.
    #[must_use]
    pub fn next(&self, model: &Model) -> Self {
        let rested = |before: &Use| Use {
            pods: 0,
            last: if before.pods > 0 { self.update } else { before.last },
        };
        let mut next = Self {
            table: Arc::clone(&self.table),
            uses: self.uses.iter().map(rested).collect(),
            update: self.update + 1,
            addrs: Arc::default(),
            claims: 0,
            known: HashMap::with_capacity(model.pods.len()),
            namespaces: model.namespaces.clone(),
        };
        let same_namespaces = self.in_the_same(&model.namespaces);
        let mut pods: Vec<&Arc<Pod>> = model.pods.iter().filter(|pod| !pod.host_network).collect();
        pods.sort_by(|a, b| name(a).cmp(&name(b)));
        let unchanged = |pod: &Arc<Pod>| {
            let (before, id) = self.known.get_key_value(&name(pod)).filter(|_| same_namespaces)?;
            Arc::ptr_eq(&before.0, pod).then_some(*id)
        };
        let ids = next.number(&pods, unchanged);
        next.known
            .extend(pods.iter().zip(&ids).map(|(pod, id)| (ByName(Arc::clone(pod)), *id)));
        next.claims = pods.iter().map(|pod| distinct(&pod.addrs).count()).sum();
        let addrs = claim_addresses(pods.into_iter().zip(ids));
        next.addrs = if *self.addrs == addrs {
            self.addrs.clone()
        } else {
            Arc::new(addrs)
        };
        next
    }

    /// Makes these the identities of a model that differs in these pods alone: by namespace and name, sorted, each once, with what it is now.
    /// Every namespace of theirs was in the model before. Returns the addresses that have another identity now, or none any more.
    pub fn change(&mut self, pods: &[PodChange<'_>]) -> Vec<Addr> {
        self.update += 1;
        let mut lost = HashMap::new();
        for (who, _) in pods {
            if let Some((before, id)) = self.known.remove_entry(who) {
                let used = &mut self.uses[id as usize];
                used.pods -= 1;
                used.last = self.update - 1;
                lost.insert(*who, (before.0, id));
            }
        }
        let with_identity = |pod: &&Arc<Pod>| !pod.host_network;
        let now: Vec<&Arc<Pod>> = pods
            .iter()
            .filter_map(|(_, pod)| pod.as_ref().filter(with_identity))
            .collect();
        let unchanged = |pod: &Arc<Pod>| {
            let (before, id) = lost.get(&name(pod))?;
            Arc::ptr_eq(before, pod).then_some(*id)
        };
        let ids = self.number(&now, unchanged);
        self.known
            .extend(now.iter().zip(&ids).map(|(pod, id)| (ByName(Arc::clone(pod)), *id)));
        let contradict = self.claims != self.addrs.len();
        let count = |pod: &Pod| distinct(&pod.addrs).count();
        self.claims -= lost.values().map(|(pod, _)| count(pod)).sum::<usize>();
        self.claims += now.iter().map(|pod| count(pod)).sum::<usize>();
        let mut moved: HashMap<Addr, Option<Identity>> = HashMap::new();
        let left = lost.values().flat_map(|(pod, _)| &pod.addrs);
        moved.extend(left.map(|addr| (*addr, None)));
        let mut alone = !contradict;
        for (pod, id) in now.iter().zip(&ids) {
            for addr in distinct(&pod.addrs) {
                let of_another = !moved.contains_key(&addr) && self.addrs.contains_key(&addr);
                let twice = moved.insert(addr, Some(Identity(*id))).flatten().is_some();
                alone &= !of_another && !twice;
            }
        }
        if alone { self.give(moved) } else { self.claim_all() }
    }

    /// Numbers for the sorted pods, which are counted as used; those of which `unchanged` knows it keep theirs.
    fn number(&mut self, pods: &[&Arc<Pod>], unchanged: impl Fn(&Arc<Pod>) -> Option<u32>) -> Vec<u32> {
        let mut namespaces: HashMap<&str, &Arc<Namespace>> = HashMap::new();
        for namespace in &self.namespaces {
            namespaces.entry(&namespace.name).or_insert(namespace);
        }
        let (table, uses, update) = (&mut self.table, &mut self.uses, self.update);
        // Known content first, so that no number still in use is taken for a resting one.
        let known = |pod: &&Arc<Pod>| unchanged(pod).or_else(|| table.index.get(&view(pod, &namespaces)).copied());
        let ids: Vec<Option<u32>> = pods.iter().map(known).collect();
        for id in ids.iter().flatten() {
            uses[*id as usize].pods += 1;
        }
        let mut rested: Option<Vec<u32>> = None;
        let number = |(id, pod): (Option<u32>, &&Arc<Pod>)| {
            id.unwrap_or_else(|| {
                let content = view(pod, &namespaces);
                // One before it may have had the same.
                let id = table.index.get(&content).copied().unwrap_or_else(|| {
                    let free = rested.get_or_insert_with(|| rested_ids(uses, update)).pop();
                    Arc::make_mut(table).assign(free, content.to_content())
                });
                uses.resize(uses.len().max(id as usize + 1), Use::default());
                uses[id as usize].pods += 1;
                id
            })
        };
        ids.into_iter().zip(pods).map(number).collect()
    }

    /// Gives these addresses to others, or nobody; those of which that is not true already.
    fn give(&mut self, mut moved: HashMap<Addr, Option<Identity>>) -> Vec<Addr> {
        moved.retain(|addr, to| self.addrs.get(addr) != to.as_ref());
        if moved.is_empty() {
            return Vec::new();
        }
        let addrs = Arc::make_mut(&mut self.addrs);
        for (addr, to) in &moved {
            addrs.put(*addr, *to);
        }
        moved.into_keys().collect()
    }

    /// Looks at all addresses anew.
    fn claim_all(&mut self) -> Vec<Addr> {
        let mut all: Vec<(&Arc<Pod>, u32)> = self.known.iter().map(|(pod, id)| (&pod.0, *id)).collect();
        all.sort_by(|(a, _), (b, _)| name(a).cmp(&name(b)));
        let addrs = claim_addresses(all);
        let both = self.addrs.keys().chain(addrs.keys());
        let moved: HashSet<Addr> = both
            .filter(|addr| self.addrs.get(addr) != addrs.get(addr))
            .copied()
            .collect();
        if !moved.is_empty() {
            self.addrs = Arc::new(addrs);
        }
        moved.into_iter().collect()
    }

    fn in_the_same(&self, namespaces: &[Arc<Namespace>]) -> bool {
        let mut pairs = self.namespaces.iter().zip(namespaces);
        self.namespaces.len() == namespaces.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
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
    pub fn addresses(&self) -> &Arc<Addresses> {
        &self.addrs
    }

    pub(crate) fn namespaces(&self) -> &[Arc<Namespace>] {
        &self.namespaces
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
    /// Serial of the last assignment; 0 before the first.
    pub(crate) fn latest(&self) -> u64 {
        self.log.back().map_or(0, |(serial, _)| *serial)
    }

    /// Numbers that were given out since that serial; `None` if this table does not know it any more, or never did.
    pub(crate) fn assigned_since(&self, serial: u64) -> Option<impl Iterator<Item = u32>> {
        let known = |at: usize| self.log.iter().skip(at).map(|(_, id)| *id);
        if serial == 0 {
            // From nothing, if nothing was forgotten since.
            return (self.contents.len() == self.log.len()).then(|| known(0));
        }
        let at = self.log.iter().rposition(|(known, _)| *known == serial)?;
        Some(known(at + 1))
    }

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
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back((SERIAL.fetch_add(1, Relaxed), id));
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
fn rested_ids(uses: &[Use], update: u64) -> Vec<u32> {
    let mut rested: Vec<u32> = (0u32..)
        .zip(uses)
        .filter(|(_, used)| used.pods == 0 && update - used.last > REST_UPDATES)
        .map(|(id, _)| id)
        .collect();
    rested.sort_by_key(|&id| std::cmp::Reverse((uses[id as usize].last, id)));
    rested
}

/// Gives each address to the first of the sorted pods that claims it. Who builds the model decides better, as it knows more.
fn claim_addresses<'p>(pods: impl IntoIterator<Item = (&'p Arc<Pod>, u32)>) -> Addresses {
    let mut owners = Addresses::default();
    for (pod, id) in pods {
        for &addr in &pod.addrs {
            if !owners.contains_key(&addr) {
                owners.put(addr, Some(Identity(id)));
            }
        }
    }
    owners
}

/// Each once.
fn distinct(addrs: &[Addr]) -> impl Iterator<Item = Addr> {
    let first = |(at, addr): &(usize, &Addr)| !addrs[..*at].contains(addr);
    addrs.iter().enumerate().filter(first).map(|(_, addr)| *addr)
}

/// A pod, found by its name.
#[derive(Clone, Debug)]
struct ByName(Arc<Pod>);

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        name(&self.0).hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        name(&self.0) == name(&other.0)
    }
}

impl Eq for ByName {}

impl Equivalent<ByName> for (&str, &str) {
    fn equivalent(&self, key: &ByName) -> bool {
        *self == name(&key.0)
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
