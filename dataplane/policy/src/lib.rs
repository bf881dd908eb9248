//! Decides whether a flow may pass under Kubernetes NetworkPolicy (networking.k8s.io/v1) and ClusterNetworkPolicy
//! (policy.networking.k8s.io/v1alpha2), and which rule says so. It never opens a
//! socket, reads a clock or knows an API type: the records in [`model`] are all it sees.
//!
//! The way through the crate: [`Identities`] gives every set of equal-looking pods one number; a [`Compiler`] turns the
//! policies that select a local pod into a [`PodPolicy`]; [`PodPolicy::verdict`] answers for one flow without allocating.
//! [`reference::verdict_linear`] answers the same question straight from the model, slowly, and must always agree.
//!
//! # What the caller must do
//!
//! A verdict covers one side of one new connection. The engine holds the rest of the contract:
//!
//! - traffic from the pod's own node to the pod is always allowed and never asked about;
//! - replies, and ICMP errors about an allowed connection, are allowed whatever the other direction says;
//! - a pod that talks to its own address is exempt (through a service address it is not: then it asks here);
//! - a flow needs egress permission at the source pod and ingress permission at the destination pod;
//! - peer addresses are those after service rewriting towards the backend and before any source rewriting, so that a rule
//!   names pods and not service addresses;
//! - `dport` is the destination port of the connection's first packet, also when its replies are judged again.
//!
//! Nothing here limits how many policies a model holds: memory grows linearly with their rules, and so does the time of a
//! verdict, by a few lookups per 256 rules that select the pod.

mod addresses;
mod chunk;
mod cidr;
mod cluster;
mod compile;
mod content;
mod identity;
pub mod model;
mod pod_policy;
mod ranges;
pub mod reference;
mod rule_set;
mod selector;
mod sets;
mod text;
mod tiers;

pub use addresses::Addresses;
pub use cidr::Cidr;
pub use cluster::{Action, ClusterPolicy, ClusterRule, Subject, Tier};
pub use compile::{Compiler, Pass, compile};
pub use content::Content;
pub use identity::{Identities, PodChange};
pub use model::{
    Direction, Labels, Model, NamedPort, Namespace, Peer, Pod, Policy, PortMatch, PortSpec, Rule, directions,
};
pub use pod_policy::{FlowView, Missing, PodPolicy, RuleRef, Verdict};
pub use rule_set::{RuleSet, SelectingPolicy};
pub use selector::{Op, Requirement, Selector};
