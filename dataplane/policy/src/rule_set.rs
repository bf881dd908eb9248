//! Decides for one pod and one direction which rule allows a flow, and lists the policies behind it. It never exists for a
//! pod that no policy selects: that pod is not isolated. Without a policy it allows nothing.

use crate::chunk::Chunk;
use crate::model::{Direction, Pod, Policy, Rule};
use crate::pod_policy::{FlowView, Missing, RuleRef};
use crate::ranges::{ROW_RULES, first_common};
use crate::sets::PeerSets;

/// The compiled policies that isolate a pod in one direction. Pods that look the same share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    policies: Vec<SelectingPolicy>,
    /// Every rule in the order of policy name and place, as the bits of the chunks stand for them.
    rules: Vec<RuleRef>,
    chunks: Vec<Chunk>,
}

/// A policy that selects the pod, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectingPolicy {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its rules of this direction in their order, one line each: "podSelector app=client, port 8080/tcp".
    pub rules: Vec<String>,
}

impl RuleSet {
    /// Compiles policies that are sorted by name, all select `local` and apply to `direction`.
    pub(crate) fn new(direction: Direction, policies: &[&Policy], local: &Pod, sets: &mut PeerSets) -> Self {
        let mut selecting = Vec::with_capacity(policies.len());
        let mut refs = Vec::new();
        let mut rules: Vec<(&str, &Rule)> = Vec::new();
        for (policy, from) in (0u32..).zip(policies) {
            let own = from.rules(direction).unwrap_or_default();
            refs.extend((0u32..).zip(own).map(|(rule, _)| RuleRef { policy, rule }));
            rules.extend(own.iter().map(|rule| (from.namespace.as_str(), rule)));
            selecting.push(SelectingPolicy {
                namespace: from.namespace.clone(),
                name: from.name.clone(),
                rules: own.iter().map(Rule::to_string).collect(),
            });
        }
        let chunks = rules
            .chunks(ROW_RULES)
            .map(|part| Chunk::new(direction, part, local, sets))
            .collect();
        Self {
            policies: selecting,
            rules: refs,
            chunks,
        }
    }

    /// The policies that select the pod in this direction, by name.
    pub fn policies(&self) -> &[SelectingPolicy] {
        &self.policies
    }

    #[inline]
    pub(crate) fn first_match(&self, flow: &FlowView) -> Option<RuleRef> {
        self.find(|chunk| chunk.first_match(flow))
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
        let at = self
            .chunks
            .iter()
            .enumerate()
            .find_map(|(n, chunk)| Some(n * ROW_RULES + first_in(chunk)?))?;
        self.rules.get(at).copied()
    }
}
