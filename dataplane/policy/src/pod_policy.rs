//! Decides for one local pod whether a connection may pass, and names the rule. It never allocates, and never looks at
//! more than the flow it is given.

use std::sync::Arc;

use sluice_wire::{Addr, Identity, Proto};

use crate::model::Direction;
use crate::rule_set::{RuleSet, SelectingPolicy};

/// The compiled policies of one pod. Equal values decide and explain everything equally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodPolicy {
    /// Connections to the pod; `None`: not isolated, and no cluster policy has rules for them.
    pub ingress: Option<Arc<RuleSet>>,
    /// Connections from the pod, likewise.
    pub egress: Option<Arc<RuleSet>>,
}

/// A connection, as one of its two pods sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Identity of the other end, from [`crate::Identities::lookup`] of the table that the policy was compiled with.
    pub peer: Option<Identity>,
    /// Address of the other end.
    pub peer_addr: Addr,
    /// Protocol.
    pub proto: Proto,
    /// Destination port of the connection: the pod's own for ingress, the peer's for egress. Only read for TCP, UDP and SCTP.
    pub dport: u16,
}

/// The answer to one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed by this rule, the first that decides: policies in the order of [`PodPolicy::policies`], rules by place.
    Allowed(RuleRef),
    /// Allowed because no NetworkPolicy selects the pod for this direction, and no cluster policy decides.
    NotIsolated,
    /// At least one NetworkPolicy selects the pod and no rule allows the flow.
    Denied,
    /// Denied by this rule of a cluster policy.
    DeniedBy(RuleRef),
}

/// Names a rule of a [`PodPolicy`] in a known direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleRef {
    /// Index into [`PodPolicy::policies`].
    pub policy: u32,
    /// Place in that policy's list of rules, from 0.
    pub rule: u32,
}

/// What keeps the nearest rule from allowing a denied flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The port fits, the peer is none of the rule's.
    Peer,
    /// The peer fits, the port is none of the rule's.
    Port,
}

impl Verdict {
    /// Whether the flow may pass.
    pub const fn is_allowed(self) -> bool {
        !matches!(self, Verdict::Denied | Verdict::DeniedBy(_))
    }
}

impl PodPolicy {
    /// Allows nothing in either direction, by no policy: for a pod of which nothing is known.
    pub fn isolated() -> Self {
        let nothing = Some(Arc::new(RuleSet::default()));
        Self {
            ingress: nothing.clone(),
            egress: nothing,
        }
    }

    /// Judges the first packet of a connection.
    #[inline]
    pub fn verdict(&self, direction: Direction, flow: &FlowView) -> Verdict {
        match self.rule_set(direction) {
            None => Verdict::NotIsolated,
            Some(rules) => rules.verdict(flow),
        }
    }

    /// For a flow that is [`Verdict::Denied`], the rule that came closest: the first that fits the port, else the first that fits the peer.
    /// `None` when no rule fits either, or the pod is not isolated. For people; a verdict never needs it.
    pub fn nearest(&self, direction: Direction, flow: &FlowView) -> Option<(RuleRef, Missing)> {
        self.rule_set(direction)?.nearest(flow)
    }

    /// Whether a NetworkPolicy selects the pod for this direction, so that what no rule allows may not pass.
    pub fn is_isolated(&self, direction: Direction) -> bool {
        self.rule_set(direction).is_some_and(RuleSet::is_isolated)
    }

    /// The policies that decide about the pod in this direction, in the order in which they are asked: cluster policies of the admin tier by
    /// priority, NetworkPolicies by name; where there are none of these, cluster policies of the baseline tier. `None` when there are none.
    pub fn policies(&self, direction: Direction) -> Option<&[SelectingPolicy]> {
        self.rule_set(direction).map(RuleSet::policies)
    }

    /// The policy of a rule and the rule's text; `None` for a reference that is not of this policy and direction.
    pub fn rule(&self, direction: Direction, rule: RuleRef) -> Option<(&SelectingPolicy, &str)> {
        let policy = self.policies(direction)?.get(rule.policy as usize)?;
        Some((policy, policy.rules.get(rule.rule as usize)?))
    }

    fn rule_set(&self, direction: Direction) -> Option<&RuleSet> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}
