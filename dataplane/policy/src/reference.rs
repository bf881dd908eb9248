//! Decides the same as [`crate::PodPolicy::verdict`], straight from the model: by pods and addresses, without identities,
//! tables or memory. It is never used on packets; it is what the compiled form is tested against.

use sluice_wire::{Addr, Proto};

use crate::cidr::Cidr;
use crate::cluster::{Action, ClusterPolicy, Tier};
use crate::model::{Direction, Model, Namespace, Peer, Pod, Policy, PortMatch, PortSpec, Rule};
use crate::pod_policy::{RuleRef, Verdict};

/// Judges one connection of `local`, with `peer` on `dport`: the admin tier first, then NetworkPolicies, then the baseline tier; who says
/// nothing leaves it to the next, and in the end everybody may talk to everybody.
pub fn verdict_linear(
    model: &Model,
    direction: Direction,
    local: &Pod,
    peer: Addr,
    proto: Proto,
    dport: u16,
) -> Verdict {
    let connection = Connection {
        model,
        direction,
        local,
        peer,
        proto,
        dport,
    };
    let admin = in_order(model, direction, local, Tier::Admin);
    if let Some(decided) = by_tier(&connection, &admin, 0) {
        return decided;
    }
    let by_policies = by_network_policies(&connection, admin.len());
    if by_policies != Verdict::NotIsolated {
        return by_policies;
    }
    let baseline = in_order(model, direction, local, Tier::Baseline);
    by_tier(&connection, &baseline, admin.len()).unwrap_or(Verdict::NotIsolated)
}

struct Connection<'a> {
    model: &'a Model,
    direction: Direction,
    local: &'a Pod,
    peer: Addr,
    proto: Proto,
    dport: u16,
}

/// Policies of a tier that have rules for the pod and the direction: a lower priority value goes first, then the name.
fn in_order<'a>(model: &'a Model, direction: Direction, local: &Pod, tier: Tier) -> Vec<&'a ClusterPolicy> {
    let mut policies: Vec<&ClusterPolicy> = Vec::new();
    for policy in &model.cluster {
        let namespace = namespace_of(model, local);
        let in_subject = namespace.is_some_and(|n| policy.subject.namespaces.matches(&n.labels))
            && policy
                .subject
                .pods
                .as_ref()
                .is_none_or(|pods| pods.matches(&local.labels));
        if policy.tier == tier && in_subject && !local.host_network && !policy.rules(direction).is_empty() {
            policies.push(policy);
        }
    }
    policies.sort_by_key(|policy| &policy.name);
    policies.sort_by_key(|policy| policy.priority);
    policies
}

/// What the first rule that fits makes of the connection; nothing if it passes it on, or none fits.
fn by_tier(connection: &Connection<'_>, policies: &[&ClusterPolicy], first: usize) -> Option<Verdict> {
    for (p, policy) in policies.iter().enumerate() {
        for (r, rule) in policy.rules(connection.direction).iter().enumerate() {
            let rule_ref = RuleRef {
                policy: (first + p) as u32,
                rule: r as u32,
            };
            if fits(connection, "", &rule.fits) {
                return match rule.action {
                    Action::Accept => Some(Verdict::Allowed(rule_ref)),
                    Action::Deny => Some(Verdict::DeniedBy(rule_ref)),
                    Action::Pass => None,
                };
            }
        }
    }
    None
}

/// Which rule, of the first policy by name, allows the connection.
fn by_network_policies(connection: &Connection<'_>, first: usize) -> Verdict {
    let &Connection {
        model,
        direction,
        local,
        ..
    } = connection;
    let mut policies: Vec<&Policy> = Vec::new();
    for policy in &model.policies {
        let same_namespace = policy.namespace == local.namespace;
        let selected = same_namespace && !local.host_network && policy.pod_selector.matches(&local.labels);
        if selected && policy.rules(direction).is_some() {
            policies.push(policy);
        }
    }
    if policies.is_empty() {
        return Verdict::NotIsolated;
    }
    policies.sort_by_key(|policy| &policy.name);
    for (p, policy) in policies.iter().enumerate() {
        for (r, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            if fits(connection, &policy.namespace, rule) {
                return Verdict::Allowed(RuleRef {
                    policy: (first + p) as u32,
                    rule: r as u32,
                });
            }
        }
    }
    Verdict::Denied
}

/// Whether a rule of a policy in this namespace matches one of the peers and one of the ports.
fn fits(connection: &Connection<'_>, namespace: &str, rule: &Rule) -> bool {
    let &Connection { model, local, peer, .. } = connection;
    let peer_pod = pod_at(model, peer);
    let destination = match connection.direction {
        Direction::Ingress => Some(local),
        Direction::Egress => peer_pod,
    };
    let mut peers = rule.peers.iter();
    let from = rule.peers.is_empty() || peers.any(|want| is_peer(model, namespace, want, peer, peer_pod));
    from && is_port(rule, destination, connection.proto, connection.dport)
}

/// The pod that an address belongs to: of several the first by namespace and name; never a host-network pod.
fn pod_at(model: &Model, addr: Addr) -> Option<&Pod> {
    let pods = model
        .pods
        .iter()
        .filter(|pod| !pod.host_network && pod.addrs.contains(&addr));
    pods.min_by_key(|pod| (&pod.namespace, &pod.name)).map(AsRef::as_ref)
}

fn namespace_of<'a>(model: &'a Model, pod: &Pod) -> Option<&'a Namespace> {
    model
        .namespaces
        .iter()
        .find(|namespace| namespace.name == pod.namespace)
        .map(AsRef::as_ref)
}

fn is_peer(model: &Model, own: &str, want: &Peer, addr: Addr, pod: Option<&Pod>) -> bool {
    match want {
        Peer::Block { cidr, except } => covers(*cidr, addr) && !except.iter().any(|hole| covers(*hole, addr)),
        Peer::Pods {
            namespaces: None,
            pods: None,
        } => false,
        Peer::Pods { namespaces, pods } => {
            let Some(pod) = pod else { return false };
            let namespace_fits = match namespaces {
                None => pod.namespace == own,
                Some(selector) => namespace_of(model, pod).is_some_and(|n| selector.matches(&n.labels)),
            };
            let pod_fits = pods.as_ref().is_none_or(|selector| selector.matches(&pod.labels));
            namespace_fits && pod_fits
        }
    }
}

/// Compares bit by bit.
fn covers(cidr: Cidr, addr: Addr) -> bool {
    let base = cidr.base();
    let skip = if base.is_v4() { 96 } else { 0 };
    let bit = |of: Addr, at: usize| of.octets()[at / 8] >> (7 - at % 8) & 1;
    let same = |at: usize| bit(base, at) == bit(addr, at);
    base.is_v4() == addr.is_v4() && (skip..skip + usize::from(cidr.prefix_len())).all(same)
}

fn is_port(rule: &Rule, destination: Option<&Pod>, proto: Proto, dport: u16) -> bool {
    let has_ports = [Proto::TCP, Proto::UDP, Proto::SCTP].contains(&proto);
    let fits = |want: &PortMatch| {
        want.proto == proto
            && match &want.port {
                PortSpec::Any => true,
                PortSpec::Number(port, None) => dport == *port,
                PortSpec::Number(first, Some(last)) => *first <= dport && dport <= *last,
                PortSpec::Name(name) => destination.and_then(|pod| pod.named_port(name, proto)) == Some(dport),
            }
    };
    rule.ports.is_empty() || has_ports && rule.ports.iter().any(fits)
}
