//! Decides how a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) looks to this crate: a list of rules of which the first that
//! fits decides. It never validates, and never judges a flow.

use crate::model::{Direction, Labels, Pod, Rule};
use crate::selector::Selector;

/// A ClusterNetworkPolicy. It isolates no pod: what no rule of its fits is decided by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Name, unique in the cluster.
    pub name: String,
    /// Before or after NetworkPolicies.
    pub tier: Tier,
    /// Place in the tier, from 0 to 1000, the lowest first. Of equal ones, which the API leaves open, the first by name.
    pub priority: u16,
    /// Which pods it is about.
    pub subject: Subject,
    /// Rules for connections to the pods; empty: it says nothing of them.
    pub ingress: Vec<ClusterRule>,
    /// Rules for connections from the pods, likewise.
    pub egress: Vec<ClusterRule>,
}

/// When a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Before NetworkPolicies, which cannot override it.
    Admin,
    /// Where no NetworkPolicy isolates the pod.
    Baseline,
}

/// Pods that a policy is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Their namespaces.
    pub namespaces: Selector,
    /// The pods in them; `None`: all.
    pub pods: Option<Selector>,
}

/// A rule: what it fits, and what becomes of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRule {
    /// As the policy calls it; empty if it does not.
    pub name: String,
    /// What becomes of a connection that fits.
    pub action: Action,
    /// Peers and ports. Peers name the namespaces of pods always, as the policy has none of its own.
    pub fits: Rule,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It may pass in this direction, and nobody else is asked.
    Accept,
    /// It may not.
    Deny,
    /// The rest of the tier is left out; what comes after it decides.
    Pass,
}

impl ClusterPolicy {
    /// The rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[ClusterRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Whether the policy is about this pod, whose namespace has these labels; `None` while nothing is known of it.
    pub fn is_about(&self, pod: &Pod, namespace: Option<&Labels>) -> bool {
        let in_namespace = namespace.is_some_and(|labels| self.subject.namespaces.matches(labels));
        let selected = self.subject.pods.as_ref();
        !pod.host_network && in_namespace && selected.is_none_or(|selector| selector.matches(&pod.labels))
    }
}
