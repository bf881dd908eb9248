//! Decides which policies apply to a pod, in which order, and what can be shared between pods. It never judges a flow.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::cluster::{ClusterPolicy, ClusterRule, Tier};
use crate::content::canonical_ports;
use crate::identity::Identities;
use crate::model::{Direction, Labels, Model, NamedPort, Pod, Policy, PortSpec, Rule};
use crate::pod_policy::PodPolicy;
use crate::rule_set::RuleSet;
use crate::sets::PeerSets;
use crate::tiers::Context;

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
    /// In the order in which they are asked.
    cluster: Vec<&'a ClusterPolicy>,
    /// Labels of namespaces; empty without a cluster policy.
    namespaces: HashMap<&'a str, &'a Labels>,
    shared: HashMap<Key<'a>, Arc<RuleSet>>,
}

/// What a [`RuleSet`] depends on within one pass: which of the namespace's policies and of the cluster's, and, where one of them has ingress
/// by port name, the pod's named ports.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key<'a> {
    direction: Direction,
    /// Empty without policies of it.
    namespace: &'a str,
    policies: Vec<usize>,
    cluster: Vec<usize>,
    named_ports: Vec<NamedPort>,
}

impl Compiler {
    /// Begins to compile against `model`, with the identities of the same model.
    pub fn pass<'a>(&'a mut self, model: &'a Model, identities: &'a Identities) -> Pass<'a> {
        self.sets.begin_pass(identities);
        let mut policies: BTreeMap<&str, Vec<&Policy>> = BTreeMap::new();
        for policy in &model.policies {
            policies.entry(&policy.namespace).or_default().push(policy);
        }
        for list in policies.values_mut() {
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let mut cluster: Vec<&ClusterPolicy> = model.cluster.iter().map(AsRef::as_ref).collect();
        cluster.sort_by_key(|policy| (policy.tier, policy.priority, &policy.name));
        let named = identities.namespaces().iter().filter(|_| !cluster.is_empty());
        Pass {
            sets: &mut self.sets,
            policies,
            namespaces: named
                .map(|namespace| (namespace.name.as_str(), &namespace.labels))
                .collect(),
            cluster,
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
        let own = self.policies.get_key_value(local.namespace.as_str());
        let (namespace, all) = own.map_or(("", &[][..]), |(namespace, all)| (*namespace, all));
        let applies = |policy: &Policy| policy.rules(direction).is_some() && policy.selects(local);
        let policies: Vec<usize> = (0..all.len()).filter(|&at| applies(all[at])).collect();
        let cluster = self.about(direction, local, !policies.is_empty());
        if policies.is_empty() && cluster.is_empty() {
            return None;
        }
        let namespace = if policies.is_empty() { "" } else { namespace };
        let chosen: Vec<&Policy> = policies.iter().map(|&at| all[at]).collect();
        let asked: Vec<&ClusterPolicy> = cluster.iter().map(|&at| self.cluster[at]).collect();
        let by_name = direction == Direction::Ingress && name_a_port(&chosen, &asked);
        let named_ports = if by_name { canonical_ports(local) } else { Vec::new() };
        let key = Key {
            direction,
            namespace,
            policies,
            cluster,
            named_ports,
        };
        let sets = &mut *self.sets;
        let mut context = Context { direction, local, sets };
        let shared = self
            .shared
            .entry(key)
            .or_insert_with(|| Arc::new(RuleSet::new(&chosen, &asked, &mut context)));
        Some(Arc::clone(shared))
    }

    /// Which cluster policies decide about the pod. What NetworkPolicies decide never comes to the baseline tier.
    fn about(&self, direction: Direction, local: &Pod, isolated: bool) -> Vec<usize> {
        let namespace = self.namespaces.get(local.namespace.as_str()).copied();
        let about = |policy: &ClusterPolicy| {
            let asked = policy.tier == Tier::Admin || !isolated;
            asked && !policy.rules(direction).is_empty() && policy.is_about(local, namespace)
        };
        (0..self.cluster.len()).filter(|&at| about(self.cluster[at])).collect()
    }
}

/// Whether an ingress rule has a port by name.
fn name_a_port(policies: &[&Policy], cluster: &[&ClusterPolicy]) -> bool {
    let named = |rule: &Rule| rule.ports.iter().any(|port| matches!(port.port, PortSpec::Name(_)));
    let mut rules = policies.iter().flat_map(|policy| policy.ingress.iter().flatten());
    let mut of_cluster = cluster.iter().flat_map(|policy| &policy.ingress);
    rules.any(named) || of_cluster.any(|ClusterRule { fits, .. }| named(fits))
}

/// Compiles one pod's policies on their own. Who compiles more than once keeps a [`Compiler`].
pub fn compile(model: &Model, identities: &Identities, local: &Pod) -> PodPolicy {
    Compiler::default().pass(model, identities).compile(local)
}
