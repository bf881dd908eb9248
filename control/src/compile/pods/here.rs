//! Decides which pods are attached to this node's ports, and with which addresses. It never looks at pods elsewhere.

use super::claims::Claims;
use super::view::{at_port, full_name, name_of};
use crate::compile::inputs::AttachedPod;
use crate::compile::result::{Reason, Report};
use crate::model::{Name, Store};
use sluice_policy::Pod;
use sluice_wire::{Addr, PortSlot, Scope};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// An attached pod, as far as policies depend on it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Attachment {
    pub(super) slot: PortSlot,
    pub(super) scope: Scope,
    pub(super) addrs: Vec<Addr>,
    pub(super) name: String,
}

/// Attached pods, by slot.
pub(in crate::compile) fn attachments(pods: &[AttachedPod]) -> Vec<Attachment> {
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

/// Who is at which port.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Here {
    /// By attachment.
    pub(super) names: Vec<Name>,
    pub(super) addrs_of: BTreeMap<Name, Vec<Addr>>,
    /// Who is attached with an address, the one it belongs to last.
    pub(super) at: BTreeMap<Addr, Vec<Name>>,
}

impl Here {
    pub(super) fn find(
        store: &Store,
        attachments: &[Attachment],
        last: &BTreeMap<Scope, Arc<Pod>>,
        claims: &Claims,
    ) -> Self {
        let mut here = Self::default();
        for attachment in attachments {
            let name = name(store, attachment, last, claims);
            let addrs = here.addrs_of.entry(name.clone()).or_default();
            addrs.extend(&attachment.addrs);
            for addr in &attachment.addrs {
                here.at.entry(*addr).or_default().push(name.clone());
            }
            here.names.push(name);
        }
        here
    }

    /// Whether a pod is attached here.
    pub(super) fn is(&self, pod: &Pod) -> bool {
        !self.names.is_empty() && self.addrs_of.contains_key(&name_of(pod))
    }

    /// Whether an address is at a port here.
    pub(super) fn has(&self, addr: &Addr) -> bool {
        self.at.contains_key(addr)
    }

    /// Whose an attached address is to everybody who is not here.
    pub(super) fn owner(&self, addr: &Addr) -> Option<&Name> {
        self.at.get(addr)?.last()
    }

    /// Addresses that several are attached with.
    pub(super) fn contested_addrs(&self) -> impl Iterator<Item = Addr> {
        let different = |names: &Vec<Name>| names.iter().collect::<HashSet<_>>().len() > 1;
        self.at
            .iter()
            .filter(move |(_, names)| different(names))
            .map(|(addr, _)| *addr)
    }

    /// What an attached pod is whose object is not there: what it was, or nobody known. `None` if it is not attached.
    pub(super) fn without_object(
        &self,
        attachments: &[Attachment],
        name: &Name,
        last: &BTreeMap<Scope, Arc<Pod>>,
    ) -> Option<Arc<Pod>> {
        let addrs = self.addrs_of.get(name)?;
        let first = self.names.iter().position(|at| at == name)?;
        Some(Arc::new(match last.get(&attachments[first].scope) {
            Some(pod) => at_port(pod, addrs),
            None => Pod {
                namespace: name.0.clone(),
                name: name.1.clone(),
                addrs: addrs.clone(),
                ..Pod::default()
            },
        }))
    }

    /// Pods that are attached without an object.
    pub(super) fn report(
        &self,
        store: &Store,
        attachments: &[Attachment],
        last: &BTreeMap<Scope, Arc<Pod>>,
        reports: &mut Vec<Report>,
    ) {
        let mut told = HashSet::new();
        for (attachment, name) in attachments.iter().zip(&self.names) {
            if store.pod(name).is_some() || !told.insert(name) {
                continue;
            }
            let object = format!("pod {}", full_name(name));
            reports.push(if last.contains_key(&attachment.scope) {
                Report::info(object, "its Pod object is gone while it is attached; policies see it as it was")
            } else {
                let text = "it is attached, but no Pod object is known; until one is, it is isolated: only its own node reaches it";
                Report::warning(object, text).because(Reason::PodIsolated)
            });
        }
    }
}

/// The pod at a port: the one it was attached as, else the one that claims its address, else the one that did.
fn name(store: &Store, attachment: &Attachment, last: &BTreeMap<Scope, Arc<Pod>>, claims: &Claims) -> Name {
    let last = last.get(&attachment.scope).map(|pod| name_of(pod));
    let own = split(&attachment.name);
    if store.pod(&own).is_some() || last.as_ref() == Some(&own) {
        return own;
    }
    let claimant = |addr: &Addr| claims.of(addr).map(|record| name_of(&record.identity)).min();
    attachment.addrs.iter().find_map(claimant).or(last).unwrap_or(own)
}

fn split(name: &str) -> Name {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    (namespace.to_owned(), name.to_owned())
}
