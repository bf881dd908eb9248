//! Decides which pod is at which port and whose an address is, as policies see it. It never lets a pod out of its policies because
//! its object is not there: the last known one counts while the pod is attached, and without any the pod is isolated.

use super::inputs::AttachedPod;
use super::result::Report;
use crate::model::{PodRecord, Store};
use sluice_policy::Pod;
use sluice_wire::{Addr, PortSlot, Scope};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// An attached pod, as far as policies depend on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attachment {
    slot: PortSlot,
    scope: Scope,
    addrs: Vec<Addr>,
    name: String,
}

/// Attached pods, by slot.
pub(super) fn attachments(pods: &[AttachedPod]) -> Vec<Attachment> {
    let mut all: Vec<Attachment> = pods
        .iter()
        .map(|pod| Attachment {
            slot: pod.slot,
            scope: pod.scope,
            addrs: pod.addrs.clone(),
            name: pod.pod.clone(),
        })
        .collect();
    all.sort_by_key(|attachment| attachment.slot);
    all
}

/// A pod and the port it is attached to.
pub(super) struct Local {
    pub(super) slot: PortSlot,
    pub(super) pod: Arc<Pod>,
    /// Its object is there, or was while it was attached.
    pub(super) known: bool,
}

/// Who was at each port when it was last known, by the port's incarnation.
#[derive(Debug, Default)]
pub(super) struct Pods {
    last: BTreeMap<Scope, Arc<Pod>>,
}

impl Pods {
    /// All pods with the addresses that are theirs, and those at this node's ports. What is attached here is the authority on the
    /// addresses of this node's pods.
    pub(super) fn survey(
        &mut self,
        store: &Store,
        attachments: &[Attachment],
        reports: &mut Vec<Report>,
    ) -> (Vec<Arc<Pod>>, Vec<Local>) {
        let known: BTreeMap<String, &Arc<PodRecord>> = store.pods().map(|p| (full_name(&p.identity), p)).collect();
        let names = self.names(&known, attachments);
        let mut owner_of: HashMap<Addr, &str> = HashMap::new();
        let mut addrs_of: BTreeMap<&str, Vec<Addr>> = BTreeMap::new();
        // Pods that are attached and whose object is gone, as they were.
        let mut gone: BTreeMap<&str, &Arc<Pod>> = BTreeMap::new();
        for (attachment, name) in attachments.iter().zip(&names) {
            addrs_of.entry(name).or_default().extend(&attachment.addrs);
            owner_of.extend(attachment.addrs.iter().map(|addr| (*addr, name.as_str())));
            if !known.contains_key(name) {
                gone.extend(self.last.get(&attachment.scope).map(|pod| (name.as_str(), pod)));
            }
        }
        let mut pods: BTreeMap<&str, Arc<Pod>> = BTreeMap::new();
        for (name, record) in &known {
            let pod = &record.identity;
            let settled = match addrs_of.get(name.as_str()) {
                Some(addrs) => at_port(pod, addrs),
                None if pod.host_network => Pod::clone(pod),
                None => elsewhere(name, pod, &owner_of, reports),
            };
            let settled = if settled == **pod {
                Arc::clone(pod)
            } else {
                Arc::new(settled)
            };
            pods.insert(name, settled);
        }
        settle(store, &known, &mut pods, reports);
        for (name, addrs) in &addrs_of {
            pods.entry(name).or_insert_with(|| {
                let object = format!("pod {name}");
                let Some(pod) = gone.get(name) else {
                    let text = "it is attached, but no Pod object is known; until one is, it is isolated: only its own node reaches it";
                    reports.push(Report::warning(object, text));
                    return Arc::new(nameless(name, addrs));
                };
                let text = "its Pod object is gone while it is attached; policies see it as it was";
                reports.push(Report::info(object, text));
                Arc::new(at_port(pod, addrs))
            });
        }
        let local: Vec<Local> = attachments
            .iter()
            .zip(&names)
            .filter_map(|(attachment, name)| {
                Some(Local {
                    slot: attachment.slot,
                    pod: pods.get(name.as_str())?.clone(),
                    known: known.contains_key(name) || gone.contains_key(name.as_str()),
                })
            })
            .collect();
        self.last = attachments
            .iter()
            .zip(&local)
            .filter(|(_, local)| local.known)
            .map(|(attachment, local)| (attachment.scope, local.pod.clone()))
            .collect();
        (pods.into_values().collect(), local)
    }

    /// The pod at each port: the one it was attached as, else the one that claims its address, else the one that did.
    fn names(&self, known: &BTreeMap<String, &Arc<PodRecord>>, attachments: &[Attachment]) -> Vec<String> {
        let by_addr: HashMap<Addr, &String> = known
            .iter()
            .rev()
            .map(|(name, record)| (name, &record.identity))
            .filter(|(_, pod)| !pod.host_network)
            .flat_map(|(name, pod)| pod.addrs.iter().map(move |addr| (*addr, name)))
            .collect();
        let name = |attachment: &Attachment| {
            let last = self.last.get(&attachment.scope).map(|pod| full_name(pod));
            let own = &attachment.name;
            if known.contains_key(own) || last.as_ref() == Some(own) {
                return own.clone();
            }
            let claims = attachment.addrs.iter().find_map(|addr| by_addr.get(addr));
            claims
                .map(|name| (*name).clone())
                .or(last)
                .unwrap_or_else(|| own.clone())
        };
        attachments.iter().map(name).collect()
    }
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn at_port(pod: &Pod, addrs: &[Addr]) -> Pod {
    Pod {
        addrs: addrs.to_vec(),
        host_network: false,
        ..pod.clone()
    }
}

/// A pod that is at no port here, without addresses that are another's at one.
fn elsewhere(name: &str, pod: &Pod, owner_of: &HashMap<Addr, &str>, reports: &mut Vec<Report>) -> Pod {
    let mut pod = pod.clone();
    pod.addrs.retain(|addr| {
        let Some(owner) = owner_of.get(addr) else { return true };
        let text = format!("its address {addr} is attached here as {owner}'s; policies take it for {owner}'s");
        reports.push(Report::warning(format!("pod {name}"), text));
        false
    });
    pod
}

/// Where several pods claim an address, which happens for a moment while one ends and another begins, one keeps it: one whose node
/// owns the range that it is in, then the newest, then the first by name.
fn settle<'a>(
    store: &Store,
    known: &'a BTreeMap<String, &Arc<PodRecord>>,
    pods: &mut BTreeMap<&'a str, Arc<Pod>>,
    reports: &mut Vec<Report>,
) {
    let mut claims: HashMap<Addr, &str> = HashMap::with_capacity(pods.len());
    let mut contested: BTreeMap<Addr, Vec<&str>> = BTreeMap::new();
    for (name, pod) in pods.iter().filter(|(_, pod)| !pod.host_network) {
        for addr in &pod.addrs {
            let first = *claims.entry(*addr).or_insert(name);
            if first != *name {
                let claimants = contested.entry(*addr).or_insert_with(|| vec![first]);
                if claimants.last() != Some(name) {
                    claimants.push(name);
                }
            }
        }
    }
    for (addr, claimants) in contested {
        let rank = |name: &&str| {
            let record = known.get(*name);
            let node = record.and_then(|pod| store.node(pod.node.as_deref()?));
            let at_home = node.is_some_and(|node| node.prefixes.iter().any(|prefix| prefix.contains(addr)));
            (at_home, record.and_then(|pod| pod.created.as_deref()))
        };
        // Names are in order, and of equals the first is kept.
        let Some(winner) = claimants
            .iter()
            .copied()
            .reduce(|a, b| if rank(&b) > rank(&a) { b } else { a })
        else {
            continue;
        };
        let others: Vec<&str> = claimants.iter().copied().filter(|name| *name != winner).collect();
        for name in &others {
            if let Some(pod) = pods.get_mut(name) {
                Arc::make_mut(pod).addrs.retain(|own| *own != addr);
            }
        }
        let text = format!(
            "its address {addr} is also claimed by {}; policies take it for this pod's",
            others.join(", ")
        );
        reports.push(Report::warning(format!("pod {winner}"), text));
    }
}

fn nameless(name: &str, addrs: &[Addr]) -> Pod {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        addrs: addrs.to_vec(),
        ..Pod::default()
    }
}
