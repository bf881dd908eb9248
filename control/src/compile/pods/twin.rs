//! The obvious way to what [`super::Pods`] finds out: each time all pods are looked at.

use super::view::{at_port, full_name, name_of};
use super::{Attachment, Local};
use crate::compile::result::{Reason, Report};
use crate::model::{Name, Store};
use sluice_policy::Pod;
use sluice_wire::{Addr, Scope};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Who was at each port when it was last known, by the port's incarnation.
#[derive(Debug, Default)]
pub(super) struct Twin {
    last: BTreeMap<Scope, Arc<Pod>>,
}

impl Twin {
    /// All pods with the addresses that are theirs, and those at this node's ports. What is attached here is the authority on the
    /// addresses of this node's pods.
    pub(super) fn survey(
        &mut self,
        store: &Store,
        attachments: &[Attachment],
        reports: &mut Vec<Report>,
    ) -> (Vec<Arc<Pod>>, Vec<Local>) {
        let names: Vec<Name> = attachments
            .iter()
            .map(|attachment| self.name(store, attachment))
            .collect();
        let mut owner_of: HashMap<Addr, &Name> = HashMap::new();
        let mut addrs_of: BTreeMap<(&str, &str), Vec<Addr>> = BTreeMap::new();
        for (attachment, name) in attachments.iter().zip(&names) {
            addrs_of.entry(borrowed(name)).or_default().extend(&attachment.addrs);
            owner_of.extend(attachment.addrs.iter().map(|addr| (*addr, name)));
        }
        let mut pods: Vec<Arc<Pod>> = Vec::with_capacity(attachments.len());
        for record in store.pods() {
            let pod = &record.identity;
            let taken = || pod.addrs.iter().any(|addr| owner_of.contains_key(addr));
            pods.push(match addrs_of.get(&key(pod)) {
                Some(addrs) if pod.host_network || pod.addrs != *addrs => Arc::new(at_port(pod, addrs)),
                None if !pod.host_network && taken() => Arc::new(elsewhere(pod, &owner_of, reports)),
                // Nearly all, so nothing is copied.
                _ => Arc::clone(pod),
            });
        }
        settle(store, &mut pods, reports);
        for (attachment, name) in attachments.iter().zip(&names) {
            let Some(addrs) = addrs_of.remove(&borrowed(name)).filter(|_| store.pod(name).is_none()) else {
                continue;
            };
            let object = format!("pod {}", full_name(name));
            // As it was when it was attached, and its object was there.
            if let Some(pod) = self.last.get(&attachment.scope) {
                let text = "its Pod object is gone while it is attached; policies see it as it was";
                reports.push(Report::info(object, text));
                pods.push(Arc::new(at_port(pod, &addrs)));
            } else {
                let text = "it is attached, but no Pod object is known; until one is, it is isolated: only its own node reaches it";
                reports.push(Report::warning(object, text).because(Reason::PodIsolated));
                pods.push(Arc::new(nameless(name, &addrs)));
            }
        }
        let wanted: BTreeSet<(&str, &str)> = names.iter().map(borrowed).collect();
        let found = pods.iter().map(|pod| (key(pod), pod));
        let found: BTreeMap<_, &Arc<Pod>> = found.filter(|(name, _)| wanted.contains(name)).collect();
        let local: Vec<Local> = attachments
            .iter()
            .zip(&names)
            .filter_map(|(attachment, name)| {
                Some(Local {
                    slot: attachment.slot,
                    pod: Arc::clone(found.get(&borrowed(name))?),
                    known: store.pod(name).is_some() || self.last.contains_key(&attachment.scope),
                })
            })
            .collect();
        self.last = attachments
            .iter()
            .zip(&local)
            .filter(|(_, local)| local.known)
            .map(|(attachment, local)| (attachment.scope, local.pod.clone()))
            .collect();
        (pods, local)
    }

    /// The pod at a port: the one it was attached as, else the one that claims its address, else the one that did.
    fn name(&self, store: &Store, attachment: &Attachment) -> Name {
        let last = self.last.get(&attachment.scope).map(|pod| name_of(pod));
        let own = split(&attachment.name);
        if store.pod(&own).is_some() || last.as_ref() == Some(&own) {
            return own;
        }
        let claims = |addr: &Addr| {
            let mut pods = store.pods().map(|record| &record.identity);
            pods.find(|pod| !pod.host_network && pod.addrs.contains(addr))
                .map(|pod| name_of(pod))
        };
        attachment.addrs.iter().find_map(claims).or(last).unwrap_or(own)
    }
}

fn key(pod: &Pod) -> (&str, &str) {
    (&pod.namespace, &pod.name)
}

fn borrowed(name: &Name) -> (&str, &str) {
    (&name.0, &name.1)
}

fn split(name: &str) -> Name {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    (namespace.to_owned(), name.to_owned())
}

/// A pod that is at no port here, without addresses that are another's at one.
fn elsewhere(pod: &Pod, owner_of: &HashMap<Addr, &Name>, reports: &mut Vec<Report>) -> Pod {
    let other = full_name(&name_of(pod));
    let mut pod = pod.clone();
    pod.addrs.retain(|addr| {
        let Some(owner) = owner_of.get(addr) else { return true };
        let owner = full_name(owner);
        let text = format!("its address {addr}, with which it is attached here, is also claimed by {other}; policies take it for this pod's");
        reports.push(Report::warning(format!("pod {owner}"), text).because(Reason::AddressConflict));
        false
    });
    pod
}

/// Where several pods claim an address, which happens for a moment while one ends and another begins, one keeps it: one whose node
/// owns the range that it is in, then the newest, then the first by name. `pods` are those of the store, in its order.
fn settle(store: &Store, pods: &mut [Arc<Pod>], reports: &mut Vec<Report>) {
    let mut claims: HashMap<Addr, usize> = HashMap::with_capacity(pods.len());
    let mut contested: BTreeMap<Addr, Vec<usize>> = BTreeMap::new();
    for (at, pod) in pods.iter().enumerate().filter(|(_, pod)| !pod.host_network) {
        for addr in &pod.addrs {
            let first = *claims.entry(*addr).or_insert(at);
            if first != at {
                let claimants = contested.entry(*addr).or_insert_with(|| vec![first]);
                if claimants.last() != Some(&at) {
                    claimants.push(at);
                }
            }
        }
    }
    for (addr, claimants) in contested {
        let rank = |at: &usize| {
            let record = store.pod(&name_of(&pods[*at]));
            let node = record.and_then(|pod| store.node(pod.node.as_deref()?));
            let at_home = node.is_some_and(|node| node.prefixes.iter().any(|prefix| prefix.contains(addr)));
            (at_home, record.and_then(|pod| pod.created.as_deref()))
        };
        // Names are in order, and of equals the first is kept.
        let best = claimants
            .iter()
            .copied()
            .reduce(|a, b| if rank(&b) > rank(&a) { b } else { a });
        let Some(winner) = best else { continue };
        let name = |at: usize| full_name(&name_of(&pods[at]));
        let others: Vec<usize> = claimants.into_iter().filter(|at| *at != winner).collect();
        let losers: Vec<String> = others.iter().map(|at| name(*at)).collect();
        let object = format!("pod {}", name(winner));
        for at in others {
            Arc::make_mut(&mut pods[at]).addrs.retain(|own| *own != addr);
        }
        let text = format!(
            "its address {addr} is also claimed by {}; policies take it for this pod's",
            losers.join(", ")
        );
        reports.push(Report::warning(object, text).because(Reason::AddressConflict));
    }
}

fn nameless(name: &Name, addrs: &[Addr]) -> Pod {
    Pod {
        namespace: name.0.clone(),
        name: name.1.clone(),
        addrs: addrs.to_vec(),
        ..Pod::default()
    }
}
