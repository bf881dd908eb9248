//! Decides for one pod and one direction which rule decides about a flow, and lists the policies behind it. It never exists for a
//! pod that no policy selects: that pod is not isolated. Without a policy it allows nothing.

use crate::chunk::{Chunk, first};
use crate::cluster::{ClusterPolicy, ClusterRule, Tier};
use crate::model::{Direction, Policy, Rule};
use crate::pod_policy::{FlowView, Missing, RuleRef, Verdict};
use crate::ranges::{ROW_RULES, first_common};
use crate::tiers::{Context, Tiers};

/// The compiled policies of a pod in one direction. Pods that look the same share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    policies: Vec<SelectingPolicy>,
    /// Every rule of NetworkPolicies in the order of policy name and place, as the bits of the chunks stand for them.
    rules: Vec<RuleRef>,
    chunks: Vec<Chunk>,
    /// What cluster policies say; `None` without one, and then NetworkPolicies isolate the pod.
    tiers: Option<Box<Tiers>>,
}

/// A policy that selects the pod, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectingPolicy {
    /// Namespace; empty for a cluster policy.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Tier and priority of a cluster policy; `None` for a NetworkPolicy.
    pub cluster: Option<(Tier, u16)>,
    /// Its rules of this direction in their order, one line each: "podSelector app=client, port 8080/tcp"; those of a cluster policy
    /// begin with their action: "Deny ipBlock 10.0.0.0/8, any port".
    pub rules: Vec<String>,
}

impl RuleSet {
    /// Compiles policies that all select `local` and apply to `direction`: NetworkPolicies sorted by name, cluster policies in the order
    /// in which they are asked.
    pub(crate) fn new(policies: &[&Policy], cluster: &[&ClusterPolicy], context: &mut Context<'_>) -> Self {
        let direction = context.direction;
        let admin = cluster.partition_point(|policy| policy.tier == Tier::Admin);
        let mut selecting: Vec<_> = cluster[..admin].iter().map(|from| listed(from, direction)).collect();
        let mut refs = Vec::new();
        let mut rules: Vec<(&str, &Rule)> = Vec::new();
        for (policy, from) in (admin as u32..).zip(policies) {
            let own = from.rules(direction).unwrap_or_default();
            refs.extend((0u32..).zip(own).map(|(rule, _)| RuleRef { policy, rule }));
            rules.extend(own.iter().map(|rule| (from.namespace.as_str(), rule)));
            selecting.push(SelectingPolicy {
                namespace: from.namespace.clone(),
                name: from.name.clone(),
                cluster: None,
                rules: own.iter().map(Rule::to_string).collect(),
            });
        }
        let chunks = rules
            .chunks(ROW_RULES)
            .map(|part| Chunk::new(direction, part, context.local, context.sets))
            .collect();
        let behind = selecting.len();
        selecting.extend(cluster[admin..].iter().map(|from| listed(from, direction)));
        let numbered = (0..admin)
            .chain(behind..)
            .map(|at| at as u32)
            .zip(cluster.iter().copied());
        let numbered: Vec<(u32, &ClusterPolicy)> = numbered.collect();
        let tiers = (!cluster.is_empty()).then(|| Box::new(Tiers::new(&numbered, !policies.is_empty(), context)));
        Self {
            policies: selecting,
            rules: refs,
            chunks,
            tiers,
        }
    }

    /// The policies that decide about the pod in this direction, in the order in which they are asked.
    pub fn policies(&self) -> &[SelectingPolicy] {
        &self.policies
    }

    /// Whether NetworkPolicies isolate the pod.
    pub(crate) fn is_isolated(&self) -> bool {
        self.tiers.as_ref().is_none_or(|tiers| tiers.is_isolated())
    }

    /// Judges a flow.
    #[inline]
    pub(crate) fn verdict(&self, flow: &FlowView) -> Verdict {
        match &self.tiers {
            None => self.by_policies(flow),
            Some(tiers) => tiers.verdict(flow, || self.by_policies(flow)),
        }
    }

    #[inline]
    fn by_policies(&self, flow: &FlowView) -> Verdict {
        let allowing = self.find(|chunk| chunk.first_match(flow));
        allowing.map_or(Verdict::Denied, Verdict::Allowed)
    }

    /// The first rule whose ports fit the flow, else the first whose peers fit, with what it lacks.
    pub(crate) fn nearest(&self, flow: &FlowView) -> Option<(RuleRef, Missing)> {
        let any = [u64::MAX; ROW_RULES / 64];
        let by_port = self
            .find(|chunk| first_common(&chunk.ports(flow), &any))
            .map(|rule| (rule, Missing::Peer));
        by_port.or_else(|| {
            self.find(|chunk| first_common(&chunk.peers(flow), &any))
                .map(|rule| (rule, Missing::Port))
        })
    }

    #[inline]
    fn find(&self, first_in: impl Fn(&Chunk) -> Option<usize>) -> Option<RuleRef> {
        self.rules.get(first(&self.chunks, first_in)?).copied()
    }
}

fn listed(from: &ClusterPolicy, direction: Direction) -> SelectingPolicy {
    SelectingPolicy {
        namespace: String::new(),
        name: from.name.clone(),
        cluster: Some((from.tier, from.priority)),
        rules: from.rules(direction).iter().map(ClusterRule::to_string).collect(),
    }
}
