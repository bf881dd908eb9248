//! Decides which policies hold at this node's ports. It never asks a policy about a flow.

use super::inputs::AttachedPod;
use super::pods::{self, Attachment, Pods};
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
    identities: Identities,
    pods: Pods,
    made_for: Option<([u64; 4], Vec<Attachment>)>,
    pub(super) policies: Arc<Policies>,
    pub(super) reports: Vec<Report>,
}

impl PoliciesMemo {
    /// Brings everything up to date.
    pub(super) fn compile(&mut self, store: &Store, attached: &[AttachedPod]) {
        let revisions = store.revisions();
        let revisions = [
            revisions.pods,
            revisions.namespaces,
            revisions.policies,
            revisions.nodes,
        ];
        let attachments = pods::attachments(attached);
        if self
            .made_for
            .as_ref()
            .is_some_and(|(r, a)| *r == revisions && *a == attachments)
        {
            return;
        }
        self.reports.clear();
        let (pods, local) = self.pods.survey(store, &attachments, &mut self.reports);
        let model = Model {
            policies: store.policies().cloned().collect(),
            namespaces: namespaces(store, &pods),
            pods,
        };
        self.identities = self.identities.next(&model);
        let mut pass = self.compiler.pass(&model, &self.identities);
        let mut next = Policies {
            identities: self.identities.addresses().collect(),
            ..Policies::default()
        };
        for local in local {
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
        if next.pods != self.policies.pods || next.identities != self.policies.identities {
            self.policies = Arc::new(next);
        }
        self.made_for = Some((revisions, attachments));
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
