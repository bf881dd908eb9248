//! Decides what cluster policies make of a flow, before and after a pod's NetworkPolicies. It never exists for a pod that no cluster
//! policy has rules for: that pod's [`RuleSet`](crate::RuleSet) is asked as if there were none.

use crate::chunk::{Chunk, first};
use crate::cluster::{Action, ClusterPolicy, ClusterRule, Tier};
use crate::model::{Direction, Pod, Rule};
use crate::pod_policy::{FlowView, RuleRef, Verdict};
use crate::ranges::ROW_RULES;
use crate::sets::PeerSets;

/// The compiled cluster policies of a pod in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tiers {
    admin: Ordered,
    baseline: Ordered,
    /// Whether NetworkPolicies select the pod: then they decide all that the admin tier leaves to them.
    isolated: bool,
}

/// Rules of one tier in the order in which they are asked, as the bits of the chunks stand for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ordered {
    rules: Vec<(RuleRef, Action)>,
    chunks: Vec<Chunk>,
}

/// What is needed to compile, beside the policies.
pub(crate) struct Context<'a> {
    pub(crate) direction: Direction,
    pub(crate) local: &'a Pod,
    pub(crate) sets: &'a mut PeerSets,
}

impl Tiers {
    /// Compiles policies in the order in which they are asked, each with its index in [`crate::PodPolicy::policies`].
    pub(crate) fn new(policies: &[(u32, &ClusterPolicy)], isolated: bool, context: &mut Context<'_>) -> Self {
        let mut of = |tier| {
            let its: Vec<_> = policies.iter().filter(|(_, policy)| policy.tier == tier).collect();
            Ordered::new(&its, context)
        };
        Self {
            admin: of(Tier::Admin),
            baseline: of(Tier::Baseline),
            isolated,
        }
    }

    /// Whether NetworkPolicies select the pod.
    pub(crate) fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// Asks the tiers, and between them `policies`, the NetworkPolicies that isolate the pod.
    // Apart, so that pods without cluster policies have nothing of it in their way.
    #[inline(never)]
    pub(crate) fn verdict(&self, flow: &FlowView, policies: impl FnOnce() -> Verdict) -> Verdict {
        match self.admin.first(flow) {
            Some((rule, Action::Accept)) => Verdict::Allowed(rule),
            Some((rule, Action::Deny)) => Verdict::DeniedBy(rule),
            None | Some((_, Action::Pass)) if self.isolated => policies(),
            None | Some((_, Action::Pass)) => match self.baseline.first(flow) {
                Some((rule, Action::Accept)) => Verdict::Allowed(rule),
                Some((rule, Action::Deny)) => Verdict::DeniedBy(rule),
                None | Some((_, Action::Pass)) => Verdict::NotIsolated,
            },
        }
    }
}

impl Ordered {
    fn new(policies: &[&(u32, &ClusterPolicy)], context: &mut Context<'_>) -> Self {
        let Context { direction, local, sets } = context;
        let mut rules = Vec::new();
        let mut fits: Vec<(&str, &Rule)> = Vec::new();
        for (policy, from) in policies {
            for (rule, own) in (0u32..).zip(from.rules(*direction)) {
                let ClusterRule { action, fits: own, .. } = own;
                rules.push((RuleRef { policy: *policy, rule }, *action));
                fits.push(("", own));
            }
        }
        let chunks = fits.chunks(ROW_RULES);
        Self {
            rules,
            chunks: chunks.map(|part| Chunk::new(*direction, part, local, sets)).collect(),
        }
    }

    /// The first rule that fits the flow, and what becomes of that.
    fn first(&self, flow: &FlowView) -> Option<(RuleRef, Action)> {
        let at = first(&self.chunks, |chunk| chunk.first_match(flow))?;
        self.rules.get(at).copied()
    }
}
