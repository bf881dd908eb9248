//! Decides which policies apply to a pod, in which order, and what can be shared between pods. It never judges a flow.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::content::canonical_ports;
use crate::identity::Identities;
use crate::model::{Direction, Model, NamedPort, Pod, Policy, PortSpec};
use crate::pod_policy::PodPolicy;
use crate::rule_set::RuleSet;
use crate::sets::PeerSets;

/// Compiles pod after pod and model after model; remembers which identities each peer stands for, so that a new pod
/// in the cluster costs one test per peer in use and not one per peer and pod.
#[derive(Debug, Default)]
pub struct Compiler {
    sets: PeerSets,
}

/// Compilation of any number of pods against one model. Made by [`Compiler::pass`].
#[derive(Debug)]
pub struct Pass<'a> {
    sets: &'a mut PeerSets,
    /// Per namespace, its policies by name.
    policies: BTreeMap<&'a str, Vec<&'a Policy>>,
    shared: HashMap<Key<'a>, Arc<RuleSet>>,
}

/// What a [`RuleSet`] depends on within one pass: which of the namespace's policies, and, where one of them allows ingress by port
/// name, the pod's named ports.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key<'a> {
    direction: Direction,
    namespace: &'a str,
    policies: Vec<usize>,
    named_ports: Vec<NamedPort>,
}

impl Compiler {
    /// Begins to compile against `model`, with the identities of the same model.
    pub fn pass<'a>(&'a mut self, model: &'a Model, identities: &Identities) -> Pass<'a> {
        self.sets.begin_pass(identities);
        let mut policies: BTreeMap<&str, Vec<&Policy>> = BTreeMap::new();
        for policy in &model.policies {
            policies.entry(&policy.namespace).or_default().push(policy);
        }
        for list in policies.values_mut() {
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Pass {
            sets: &mut self.sets,
            policies,
            shared: HashMap::new(),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.sets.end_pass();
    }
}

impl Pass<'_> {
    /// The policies of one local pod.
    pub fn compile(&mut self, local: &Pod) -> PodPolicy {
        PodPolicy {
            ingress: self.rule_set(Direction::Ingress, local),
            egress: self.rule_set(Direction::Egress, local),
        }
    }

    fn rule_set(&mut self, direction: Direction, local: &Pod) -> Option<Arc<RuleSet>> {
        let (&namespace, all) = self.policies.get_key_value(local.namespace.as_str())?;
        let applies = |policy: &Policy| policy.rules(direction).is_some() && policy.selects(local);
        let policies: Vec<usize> = (0..all.len()).filter(|&at| applies(all[at])).collect();
        if policies.is_empty() {
            return None;
        }
        let chosen: Vec<&Policy> = policies.iter().map(|&at| all[at]).collect();
        let by_name = direction == Direction::Ingress && chosen.iter().any(|policy| names_a_port(policy));
        let named_ports = if by_name { canonical_ports(local) } else { Vec::new() };
        let key = Key {
            direction,
            namespace,
            policies,
            named_ports,
        };
        let sets = &mut *self.sets;
        let shared = self
            .shared
            .entry(key)
            .or_insert_with(|| Arc::new(RuleSet::new(direction, &chosen, local, sets)));
        Some(Arc::clone(shared))
    }
}

fn names_a_port(policy: &Policy) -> bool {
    let ports = policy.ingress.iter().flatten().flat_map(|rule| &rule.ports);
    ports.into_iter().any(|port| matches!(port.port, PortSpec::Name(_)))
}

/// Compiles one pod's policies on their own. Who compiles more than once keeps a [`Compiler`].
pub fn compile(model: &Model, identities: &Identities, local: &Pod) -> PodPolicy {
    Compiler::default().pass(model, identities).compile(local)
}
