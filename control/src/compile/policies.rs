//! Decides which policies hold at this node's ports. It never asks a policy about a flow.

use super::inputs::AttachedPod;
use super::pods::{self, Attachment, Changed, Local, Pods};
use super::result::Report;
use crate::model::{ClusterPolicyRecord, Name, NamespaceRecord, Revisions, Store};
use crate::objects::NAME_LABEL;
use sluice_policy::{Compiler, Identities, Model, Pod, PodPolicy};
use sluice_snapshot::{Moved, Policies};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Policies, and what is needed to keep identities stable.
#[derive(Debug, Default)]
pub(super) struct PoliciesMemo {
    compiler: Compiler,
    people: People,
    /// Revision of policies, and how often the people were surveyed.
    made_for: Option<(u64, u64)>,
    reports: Vec<Report>,
    pub(super) policies: Arc<Policies>,
}

/// Who there is: what policies are about, whatever they say.
#[derive(Debug, Default)]
struct People {
    made_for: Option<(Revisions, Vec<Attachment>)>,
    /// Grows whenever something is different.
    made: u64,
    surveyed: Pods,
    identities: Identities,
    moved: Option<Moved>,
    /// Names of the namespaces that identities were made in.
    namespaces: BTreeSet<String>,
    local: Vec<Local>,
    reports: Vec<Report>,
}

impl People {
    fn survey(&mut self, store: &Store, attached: &[AttachedPod]) {
        let all = store.revisions();
        // Of these alone.
        let revisions = Revisions {
            pods: all.pods,
            namespaces: all.namespaces,
            prefixes: all.prefixes,
            ..Revisions::default()
        };
        let made_for = (revisions, pods::attachments(attached));
        if self.made_for.as_ref() == Some(&made_for) {
            return;
        }
        self.reports.clear();
        let changed = self.made_for.as_ref().and_then(|(before, _)| {
            let same = before.namespaces == revisions.namespaces;
            let changed = store.pods_changed_since(before.pods).filter(|_| same)?;
            let known = |name: &Name| store.pod(name).is_none() || self.namespaces.contains(&name.0);
            changed
                .keys()
                .all(known)
                .then_some((changed, before.prefixes != revisions.prefixes))
        });
        match changed {
            Some(changed) => self.look_at(changed, store, &made_for.1),
            None => self.look_at_all(store, &made_for.1),
        }
        self.made += 1;
        self.made_for = Some(made_for);
    }

    fn look_at_all(&mut self, store: &Store, attachments: &[Attachment]) {
        let (pods, local) = self.surveyed.survey(store, attachments, &mut self.reports);
        let namespaces = namespaces(store, &pods);
        self.namespaces = namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        self.identities = self.identities.next(&Model {
            namespaces,
            pods,
            ..Model::default()
        });
        (self.moved, self.local) = (None, local);
    }

    fn look_at(&mut self, changed: (Changed, bool), store: &Store, attachments: &[Attachment]) {
        let (pods, local) = self
            .surveyed
            .survey_changed(store, attachments, changed, &mut self.reports);
        self.local = local;
        if pods
            .values()
            .flatten()
            .any(|pod| !self.namespaces.contains(&pod.namespace))
        {
            // One that is attached without an object, in a namespace that only shows by it.
            self.reports.clear();
            return self.look_at_all(store, attachments);
        }
        let pods: Vec<_> = pods
            .iter()
            .map(|((a, b), pod)| ((a.as_str(), b.as_str()), pod.clone()))
            .collect();
        let from = Arc::downgrade(self.identities.addresses());
        let addrs = self.identities.change(&pods).into();
        self.moved = Some(Moved { from, addrs });
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
        // Of a model, policies are compiled from its policies and the identities of its pods.
        let model = Model {
            policies: store.policies().cloned().collect(),
            cluster: store.cluster_policies().map(|record| record.policy.clone()).collect(),
            ..Model::default()
        };
        let mut pass = self.compiler.pass(&model, &people.identities);
        let mut next = Policies {
            identities: people.identities.addresses().clone(),
            moved: people.moved.clone(),
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
        self.reports = store
            .cluster_policies()
            .flat_map(|record| not_honoured(record))
            .collect();
        self.made_for = Some(made_for);
    }

    /// What a person should know.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.people.reports.iter().chain(&self.reports)
    }
}

fn not_honoured(record: &ClusterPolicyRecord) -> impl Iterator<Item = Report> {
    let object = format!("cluster policy {}", record.policy.name);
    record
        .not_honoured
        .iter()
        .map(move |what| Report::warning(&object, what))
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
