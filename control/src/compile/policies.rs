//! Decides which policies hold at this node's ports. It never asks a policy about a flow.

use super::inputs::AttachedPod;
use super::pods::{self, Attachment, Local, Pods};
use super::result::Report;
use crate::model::{NamespaceRecord, Store};
use crate::objects::NAME_LABEL;
use sluice_policy::{Compiler, Identities, Model, Pod, PodPolicy};
use sluice_snapshot::Policies;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Policies, and what is needed to keep identities stable.
#[derive(Debug, Default)]
pub(super) struct PoliciesMemo {
    compiler: Compiler,
    people: People,
    /// Revision of policies, and how often the people were surveyed.
    made_for: Option<(u64, u64)>,
    pub(super) policies: Arc<Policies>,
}

/// Who there is: what policies are about, whatever they say.
#[derive(Debug, Default)]
struct People {
    made_for: Option<([u64; 3], Vec<Attachment>)>,
    /// Grows whenever it is made anew.
    made: u64,
    surveyed: Pods,
    identities: Identities,
    namespaces: Vec<Arc<NamespaceRecord>>,
    pods: Vec<Arc<Pod>>,
    local: Vec<Local>,
    reports: Vec<Report>,
}

impl People {
    fn survey(&mut self, store: &Store, attached: &[AttachedPod]) {
        let revisions = store.revisions();
        let made_for = (
            [revisions.pods, revisions.namespaces, revisions.prefixes],
            pods::attachments(attached),
        );
        if self.made_for.as_ref() == Some(&made_for) {
            return;
        }
        self.reports.clear();
        (self.pods, self.local) = self.surveyed.survey(store, &made_for.1, &mut self.reports);
        self.namespaces = namespaces(store, &self.pods);
        self.identities = self.identities.next(&Model {
            policies: Vec::new(),
            namespaces: self.namespaces.clone(),
            pods: self.pods.clone(),
        });
        self.made += 1;
        self.made_for = Some(made_for);
    }
}

impl PoliciesMemo {
    /// Brings everything up to date.
    pub(super) fn compile(&mut self, store: &Store, attached: &[AttachedPod]) {
        self.people.survey(store, attached);
        let people = &self.people;
        let made_for = (store.revisions().policies, people.made);
        if self.made_for == Some(made_for) {
            return;
        }
        let model = Model {
            policies: store.policies().cloned().collect(),
            namespaces: people.namespaces.clone(),
            pods: people.pods.clone(),
        };
        let mut pass = self.compiler.pass(&model, &people.identities);
        let mut next = Policies {
            identities: people.identities.addresses().clone(),
            ..Policies::default()
        };
        for local in &people.local {
            let slot = local.slot;
            let policy = if local.known {
                pass.compile(&local.pod)
            } else {
                PodPolicy::isolated()
            };
            if policy.ingress.is_none() && policy.egress.is_none() {
                continue;
            }
            let same: Option<&Arc<PodPolicy>> = self.policies.pods.get(&slot).filter(|before| ***before == policy);
            next.pods
                .insert(slot, same.cloned().unwrap_or_else(|| Arc::new(policy)));
        }
        let same_identities = Arc::ptr_eq(&next.identities, &self.policies.identities);
        if next.pods != self.policies.pods || !same_identities {
            self.policies = Arc::new(next);
        }
        self.made_for = Some(made_for);
    }

    /// What a person should know.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.people.reports.iter()
    }
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
