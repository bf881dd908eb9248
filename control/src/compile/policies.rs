//! Decides which pod has which address and which policies hold at this node's ports. It never asks a policy about a flow.

use super::inputs::AttachedPod;
use super::result::Report;
use crate::model::{NamespaceRecord, Store};
use crate::objects::NAME_LABEL;
use sluice_policy::{Compiler, Identities, Model, Pod, PodPolicy};
use sluice_snapshot::Policies;
use sluice_wire::{Addr, PortSlot};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Slot, addresses and name of an attached pod.
type Attachment = (PortSlot, Vec<Addr>, String);

/// A pod and the port it is attached to.
type Local = (PortSlot, Arc<Pod>);

/// Policies, and what is needed to keep identities stable.
#[derive(Debug, Default)]
pub(super) struct PoliciesMemo {
    compiler: Compiler,
    identities: Identities,
    made_for: Option<([u64; 3], Vec<Attachment>)>,
    pub(super) policies: Arc<Policies>,
    pub(super) reports: Vec<Report>,
}

impl PoliciesMemo {
    /// Brings everything up to date.
    pub(super) fn compile(&mut self, store: &Store, attached: &[AttachedPod]) {
        let revisions = store.revisions();
        let revisions = [revisions.pods, revisions.namespaces, revisions.policies];
        let mut attachments: Vec<Attachment> = attached
            .iter()
            .map(|a| (a.slot, a.addrs.clone(), a.pod.clone()))
            .collect();
        attachments.sort_by_key(|(slot, ..)| *slot);
        if self
            .made_for
            .as_ref()
            .is_some_and(|(r, a)| *r == revisions && *a == attachments)
        {
            return;
        }
        self.reports.clear();
        let (pods, local) = who_is_who(store, &attachments, &mut self.reports);
        let model = Model {
            policies: store.policies().cloned().collect(),
            namespaces: namespaces(store, &pods),
            pods,
        };
        self.identities = self.identities.next(&model);
        for duplicate in self.identities.duplicates() {
            let others: Vec<String> = duplicate
                .others
                .iter()
                .map(|p| format!("{}/{}", p.namespace, p.name))
                .collect();
            let (addr, winner) = (duplicate.addr, &duplicate.winner);
            let text = format!(
                "its address {addr} is also claimed by {}; policies take it for this pod's",
                others.join(", ")
            );
            self.reports.push(Report::warning(
                format!("pod {}/{}", winner.namespace, winner.name),
                text,
            ));
        }
        let mut pass = self.compiler.pass(&model, &self.identities);
        let mut next = Policies {
            identities: self.identities.addresses().collect(),
            ..Policies::default()
        };
        for (slot, pod) in local {
            let policy = pass.compile(&pod);
            if policy.ingress.is_none() && policy.egress.is_none() {
                continue;
            }
            let same: Option<&Arc<PodPolicy>> = self.policies.pods.get(&slot).filter(|before| ***before == policy);
            next.pods
                .insert(slot, same.cloned().unwrap_or_else(|| Arc::new(policy)));
        }
        if next.pods != self.policies.pods || next.identities != self.policies.identities {
            self.policies = Arc::new(next);
        }
        self.made_for = Some((revisions, attachments));
    }
}

/// All pods with the addresses that are theirs, and those at this node's ports. What is attached here is the authority on the
/// addresses of this node's pods.
fn who_is_who(store: &Store, attachments: &[Attachment], reports: &mut Vec<Report>) -> (Vec<Arc<Pod>>, Vec<Local>) {
    let known: BTreeMap<String, &Arc<Pod>> = store
        .pods()
        .map(|p| (format!("{}/{}", p.identity.namespace, p.identity.name), &p.identity))
        .collect();
    let by_addr: HashMap<Addr, &String> = known
        .iter()
        .rev()
        .filter(|(_, pod)| !pod.host_network)
        .flat_map(|(name, pod)| pod.addrs.iter().map(move |addr| (*addr, name)))
        .collect();
    let mut owner_of: HashMap<Addr, &str> = HashMap::new();
    let mut addrs_of: BTreeMap<&str, Vec<Addr>> = BTreeMap::new();
    let mut slots: Vec<(PortSlot, &str)> = Vec::new();
    for (slot, addrs, name) in attachments {
        let by_addr = || {
            addrs
                .iter()
                .find_map(|addr| by_addr.get(addr))
                .map(|name| name.as_str())
        };
        let pod = if known.contains_key(name) {
            name
        } else {
            by_addr().unwrap_or(name)
        };
        slots.push((*slot, pod));
        addrs_of.entry(pod).or_default().extend(addrs);
        owner_of.extend(addrs.iter().map(|addr| (*addr, pod)));
    }
    let mut pods: BTreeMap<&str, Arc<Pod>> = BTreeMap::new();
    for (name, pod) in &known {
        let settled = match addrs_of.get(name.as_str()) {
            Some(addrs) => Pod {
                addrs: addrs.clone(),
                host_network: false,
                ..Pod::clone(pod)
            },
            None if pod.host_network => Pod::clone(pod),
            None => {
                let mut pod = Pod::clone(pod);
                pod.addrs.retain(|addr| {
                    let Some(owner) = owner_of.get(addr) else { return true };
                    let text =
                        format!("its address {addr} is attached here as {owner}'s; policies take it for {owner}'s");
                    reports.push(Report::warning(format!("pod {name}"), text));
                    false
                });
                pod
            }
        };
        let settled = if settled == ***pod {
            Arc::clone(pod)
        } else {
            Arc::new(settled)
        };
        pods.insert(name, settled);
    }
    for (name, addrs) in &addrs_of {
        pods.entry(name).or_insert_with(|| {
            let text = "it is attached, but no Pod object is known; policies see it without labels";
            reports.push(Report::info(format!("pod {name}"), text));
            let (namespace, short) = name.split_once('/').unwrap_or(("default", name));
            let (namespace, short) = (namespace.to_owned(), short.to_owned());
            Arc::new(Pod {
                namespace,
                name: short,
                addrs: addrs.clone(),
                ..Pod::default()
            })
        });
    }
    let local = slots
        .into_iter()
        .filter_map(|(slot, name)| Some((slot, pods.get(name)?.clone())))
        .collect();
    (pods.into_values().collect(), local)
}

/// All namespaces; one that only shows by its pods has the label that every namespace has.
fn namespaces(store: &Store, pods: &[Arc<Pod>]) -> Vec<Arc<NamespaceRecord>> {
    let mut all: Vec<Arc<NamespaceRecord>> = store.namespaces().cloned().collect();
    let known: BTreeSet<&str> = store.namespaces().map(|n| n.name.as_str()).collect();
    let named: BTreeSet<&str> = pods.iter().map(|pod| pod.namespace.as_str()).collect();
    for name in named.difference(&known) {
        let labels = [(NAME_LABEL.to_owned(), (*name).to_owned())].into();
        all.push(Arc::new(NamespaceRecord {
            name: (*name).to_owned(),
            labels,
        }));
    }
    all
}
