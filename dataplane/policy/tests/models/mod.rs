//! Random models in a small world, where prefixes overlap, ports sit at edges and pods share labels and addresses.

// Each test binary uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_policy::{
    Action, Cidr, ClusterPolicy, ClusterRule, Labels, Model, NamedPort, Namespace, Op, Peer, Pod, Policy, PortMatch,
    PortSpec, Requirement, Rule, Selector, Subject, Tier,
};
use sluice_wire::{Addr, Proto};

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 2] = ["app", "tier"];
const VALUES: [&str; 3] = ["", "x", "y"];
const PORTS: [u16; 8] = [0, 1, 79, 80, 81, 1024, 65534, 65535];

/// Sixteen neighbours and the ends of the family, in both families.
pub fn addr() -> impl Strategy<Value = Addr> {
    let v4 = prop_oneof![
        8 => (0u8..16).prop_map(|n| Addr::v4([10, 0, 0, n])),
        1 => select(&[[0, 0, 0, 0], [255, 255, 255, 255], [10, 0, 1, 0], [9, 255, 255, 255]][..]).prop_map(Addr::v4),
    ];
    let v6 = prop_oneof![
        8 => (0u128..16).prop_map(|n| 0xfd00 << 112 | n),
        1 => select(&[0, 1, u128::MAX, 0xfd00 << 112 | 16, (0xfd00 << 112) - 1][..]),
    ];
    prop_oneof![v4, v6.prop_map(|bits: u128| Addr::v6(bits.to_be_bytes()))]
}

pub fn proto() -> impl Strategy<Value = Proto> {
    select(
        &[
            Proto::TCP,
            Proto::TCP,
            Proto::UDP,
            Proto::SCTP,
            Proto::ICMP,
            Proto::ICMPV6,
        ][..],
    )
}

pub fn port() -> impl Strategy<Value = u16> {
    select(&PORTS[..])
}

fn cidr() -> impl Strategy<Value = Cidr> {
    (addr(), prop_oneof![1 => 0u8..=8, 6 => 27u8..=32]).prop_map(|(addr, len)| {
        let len = if addr.is_v4() || len <= 8 { len } else { len + 96 };
        Cidr::new(addr, len).unwrap()
    })
}

fn text(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(of).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(text(&KEYS), text(&VALUES), 0..3)
}

fn selector() -> impl Strategy<Value = Selector> {
    let op = select(&[Op::In, Op::NotIn, Op::Exists, Op::DoesNotExist][..]);
    let requirement = (text(&KEYS), op, vec(text(&VALUES), 0..3));
    let requirement = requirement.prop_map(|(key, op, values)| Requirement { key, op, values });
    (btree_map(text(&KEYS), text(&VALUES), 0..2), vec(requirement, 0..2)).prop_map(|(match_labels, expressions)| {
        Selector {
            match_labels,
            expressions,
        }
    })
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        (option::of(selector()), option::of(selector())).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        (cidr(), vec(cidr(), 0..3)).prop_map(|(cidr, except)| Peer::Block { cidr, except }),
    ]
}

fn port_match() -> impl Strategy<Value = PortMatch> {
    let spec = prop_oneof![
        1 => Just(PortSpec::Any),
        3 => (port(), option::of(port())).prop_map(|(first, last)| PortSpec::Number(first, last)),
        3 => text(&["web", "dns"]).prop_map(PortSpec::Name),
    ];
    (proto(), spec).prop_map(|(proto, port)| PortMatch { proto, port })
}

fn rules() -> impl Strategy<Value = Option<Vec<Rule>>> {
    let rule = (vec(peer(), 0..3), vec(port_match(), 0..3)).prop_map(|(peers, ports)| Rule { peers, ports });
    prop_oneof![1 => Just(None), 4 => vec(rule, 0..4).prop_map(Some)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let selector = prop_oneof![Just(Selector::default()), selector()];
    (text(&NAMESPACES[..2]), selector, rules(), rules()).prop_map(|(namespace, pod_selector, ingress, egress)| Policy {
        namespace,
        name: String::new(),
        pod_selector,
        ingress,
        egress,
    })
}

fn named_port() -> impl Strategy<Value = NamedPort> {
    (
        text(&["web", "dns"]),
        select(&[Proto::TCP, Proto::UDP, Proto::SCTP][..]),
        port(),
    )
        .prop_map(|(name, proto, port)| NamedPort { name, proto, port })
}

pub fn pod() -> impl Strategy<Value = Pod> {
    (
        text(&NAMESPACES),
        labels(),
        vec(addr(), 0..3),
        vec(named_port(), 0..4),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(namespace, labels, addrs, named_ports, host_network)| Pod {
            namespace,
            name: String::new(),
            labels,
            addrs,
            named_ports,
            host_network,
        })
}

fn namespace() -> impl Strategy<Value = Namespace> {
    (text(&NAMESPACES), labels()).prop_map(|(name, labels)| Namespace { name, labels })
}

/// A model with at least one pod. Names are unique and not in the order of the lists; a namespace may lack its record.
pub fn model() -> impl Strategy<Value = Model> {
    (vec(policy(), 0..6), vec(namespace(), 0..5), vec(pod(), 1..10)).prop_map(|(policies, mut namespaces, pods)| {
        namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        namespaces.dedup_by(|a, b| a.name == b.name);
        let scramble = |n: usize| (n * 7 + 3) % 10;
        let named = |(n, policy)| Policy {
            name: format!("policy-{}", scramble(n)),
            ..policy
        };
        let policies = policies.into_iter().enumerate().map(named).map(Arc::new).collect();
        let named = |(n, pod)| Pod {
            name: format!("pod-{}", scramble(n)),
            ..pod
        };
        let pods = pods.into_iter().enumerate().map(named).map(Arc::new).collect();
        Model {
            policies,
            namespaces: namespaces.into_iter().map(Arc::new).collect(),
            pods,
            ..Model::default()
        }
    })
}

/// Rules that fit much, so that their order shows.
fn cluster_rule() -> impl Strategy<Value = ClusterRule> {
    let action = select(&[Action::Accept, Action::Deny, Action::Pass][..]);
    let pods = (selector(), option::of(selector())).prop_map(|(namespaces, pods)| Peer::Pods {
        namespaces: Some(namespaces),
        pods,
    });
    let everybody = Peer::Pods {
        namespaces: Some(Selector::default()),
        pods: None,
    };
    let block = cidr().prop_map(|cidr| Peer::Block {
        cidr,
        except: Vec::new(),
    });
    let peer = prop_oneof![1 => Just(everybody), 3 => pods, 2 => block];
    let ports = prop_oneof![Just(Vec::new()), vec(port_match(), 1..4)];
    (action, vec(peer, 0..3), ports).prop_map(|(action, peers, ports)| ClusterRule {
        name: String::new(),
        action,
        fits: Rule { peers, ports },
    })
}

/// Few priorities, so that some are equal.
fn cluster_policy() -> impl Strategy<Value = ClusterPolicy> {
    let namespaces = prop_oneof![Just(Selector::default()), selector()];
    let subject = (namespaces, option::of(selector())).prop_map(|(namespaces, pods)| Subject { namespaces, pods });
    let tier = select(&[Tier::Admin, Tier::Baseline][..]);
    let rules = || vec(cluster_rule(), 0..4);
    (tier, 0u16..3, subject, rules(), rules()).prop_map(|(tier, priority, subject, ingress, egress)| ClusterPolicy {
        name: String::new(),
        tier,
        priority,
        subject,
        ingress,
        egress,
    })
}

/// As [`model`], with cluster policies, and NetworkPolicies in some of them only.
pub fn tiered_model() -> impl Strategy<Value = Model> {
    (model(), vec(cluster_policy(), 1..7), any::<bool>()).prop_map(|(mut model, cluster, without)| {
        if without {
            model.policies.clear();
        }
        let named = |(n, policy)| ClusterPolicy {
            name: format!("cluster-{}", (n * 7 + 3) % 10),
            ..policy
        };
        model.cluster = cluster.into_iter().enumerate().map(named).map(Arc::new).collect();
        model
    })
}
