//! Decides which pod is at which port and whose an address is, as policies see it. It never lets a pod out of its policies because
//! its object is not there: the last known one counts while the pod is attached, and without any the pod is isolated.
//!
//! What a pod is to policies depends on its object, on what is attached here ([`here`]) and on who else claims its addresses
//! ([`claims`]); so a change makes these pods be looked at, and no others. `twin` is the obvious way, which looks at all.

mod claims;
mod here;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
mod view;

pub(super) use here::{Attachment, attachments};

use super::result::Report;
use crate::model::{Name, PodRecord, Store};
use claims::Claims;
use here::Here;
use sluice_policy::Pod;
use sluice_wire::{Addr, PortSlot, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A pod and the port it is attached to.
#[derive(Debug, PartialEq)]
pub(super) struct Local {
    pub(super) slot: PortSlot,
    pub(super) pod: Arc<Pod>,
    /// Its object is there, or was while it was attached.
    pub(super) known: bool,
}

/// What pods are to policies, from one survey to the next.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// Who was at each port when it was last known, by the port's incarnation.
    last: BTreeMap<Scope, Arc<Pod>>,
    claims: Claims,
    here: Here,
    /// Pods that are something else to policies than their objects say, or are attached without one.
    special: BTreeMap<Name, Arc<Pod>>,
}

/// Pods that changed, by name, with what their objects said before.
pub(super) type Changed = BTreeMap<Name, Option<Arc<PodRecord>>>;

impl Pods {
    /// Looks at all pods: returns what they are, and those at this node's ports. What is attached here is the authority on the addresses of
    /// this node's pods.
    pub(super) fn survey(
        &mut self,
        store: &Store,
        attachments: &[Attachment],
        reports: &mut Vec<Report>,
    ) -> (Vec<Arc<Pod>>, Vec<Local>) {
        self.claims = Claims::of_all(store.pods());
        self.here = Here::find(store, attachments, &self.last, &self.claims);
        self.special.clear();
        let mut pods = Vec::with_capacity(attachments.len());
        for record in store.pods() {
            let pod = &record.identity;
            let alone = |addr: &Addr| !self.here.has(addr) && !self.claims.contested(addr);
            // Nearly all, so nothing is copied.
            if !self.here.is(pod) && (pod.host_network || pod.addrs.iter().all(alone)) {
                pods.push(Arc::clone(pod));
            } else {
                let name = view::name_of(pod);
                pods.extend(self.look(store, attachments, &name));
            }
        }
        let without_object: BTreeSet<&Name> = self
            .here
            .names
            .iter()
            .filter(|name| store.pod(name).is_none())
            .collect();
        let without_object: Vec<Name> = without_object.into_iter().cloned().collect();
        for name in without_object {
            pods.extend(self.look(store, attachments, &name));
        }
        self.report(store, attachments, reports);
        let local = self.local(store, attachments);
        (pods, local)
    }

    /// The same after some pods changed, and perhaps what is attached, and where `ranges` says so the nodes' ranges: returns what those pods
    /// are now that may be something else.
    pub(super) fn survey_changed(
        &mut self,
        store: &Store,
        attachments: &[Attachment],
        (changed, ranges): (Changed, bool),
        reports: &mut Vec<Report>,
    ) -> (BTreeMap<Name, Option<Arc<Pod>>>, Vec<Local>) {
        let mut touched: BTreeSet<Addr> = BTreeSet::new();
        let mut names: BTreeSet<Name> = BTreeSet::new();
        for (name, before) in changed {
            let now = store.pod(&name);
            touched.extend(before.iter().chain(now).flat_map(|record| &record.identity.addrs));
            touched.extend(self.here.addrs_of.get(&name).into_iter().flatten());
            before.iter().for_each(|record| self.claims.remove(record));
            now.into_iter().for_each(|record| self.claims.add(record));
            names.insert(name);
        }
        let here = Here::find(store, attachments, &self.last, &self.claims);
        if here != self.here {
            for here in [&here, &self.here] {
                names.extend(here.names.iter().cloned());
                touched.extend(here.at.keys());
                // Who comes or goes claims what its object says no more, or again.
                let objects = here.names.iter().filter_map(|name| store.pod(name));
                touched.extend(objects.flat_map(|record| &record.identity.addrs));
            }
            self.here = here;
        }
        if ranges {
            touched.extend(self.claims.contested_addrs().chain(self.here.contested_addrs()));
        }
        for addr in &touched {
            names.extend(self.claims.of(addr).map(|record| view::name_of(&record.identity)));
            names.extend(self.here.at.get(addr).into_iter().flatten().cloned());
        }
        let mut seen = BTreeMap::new();
        for name in names {
            let pod = self.look(store, attachments, &name);
            seen.insert(name, pod);
        }
        self.report(store, attachments, reports);
        let local = self.local(store, attachments);
        (seen, local)
    }

    /// What a pod is now, which is remembered where its object alone does not say it.
    fn look(&mut self, store: &Store, attachments: &[Attachment], name: &Name) -> Option<Arc<Pod>> {
        let pod = match store.pod(name) {
            Some(record) => Some(view::with_object(store, record, &self.here, &self.claims)),
            None => self.here.without_object(attachments, name, &self.last),
        };
        let plain = |pod: &Arc<Pod>| store.pod(name).is_some_and(|record| Arc::ptr_eq(&record.identity, pod));
        match &pod {
            Some(pod) if !plain(pod) => _ = self.special.insert(name.clone(), Arc::clone(pod)),
            _ => _ = self.special.remove(name),
        }
        pod
    }

    /// Who is at each port; remembered for the time when the objects are gone.
    fn local(&mut self, store: &Store, attachments: &[Attachment]) -> Vec<Local> {
        let pod = |name: &Name| {
            let object = || store.pod(name).map(|record| Arc::clone(&record.identity));
            self.special.get(name).cloned().or_else(object)
        };
        let at = attachments.iter().zip(&self.here.names);
        let local: Vec<Local> = at
            .filter_map(|(attachment, name)| {
                Some(Local {
                    slot: attachment.slot,
                    pod: pod(name)?,
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
        local
    }

    fn report(&self, store: &Store, attachments: &[Attachment], reports: &mut Vec<Report>) {
        self.here.report(store, attachments, &self.last, reports);
        for name in self.special.keys() {
            if let Some(record) = store.pod(name) {
                view::report_taken(record, &self.here, reports);
            }
        }
        let contested: BTreeSet<Addr> = self
            .claims
            .contested_addrs()
            .chain(self.here.contested_addrs())
            .collect();
        for addr in contested {
            view::report_contested(store, addr, &self.here, &self.claims, reports);
        }
    }
}
