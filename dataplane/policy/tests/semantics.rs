//! What the NetworkPolicy API says, point by point, on one small cluster. Independent of the reference on purpose: a
//! misreading there would agree with itself.

use std::net::IpAddr;
use std::sync::Arc;

use sluice_policy::Direction::{Egress, Ingress};
use sluice_policy::{
    Cidr, Direction, FlowView, Identities, Labels, Missing, Model, NamedPort, Namespace, Peer, Pod, PodPolicy, Policy,
    PortMatch, PortSpec, Rule, RuleRef, Selector, Verdict, compile,
};
use sluice_wire::{Addr, Proto};

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().unwrap().into()
}

fn cidr(text: &str) -> Cidr {
    let (base, len) = text.split_once('/').unwrap();
    Cidr::new(addr(base), len.parse().unwrap()).unwrap()
}

fn labels(text: &str) -> Labels {
    text.split_terminator(',')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

fn select(text: &str) -> Selector {
    Selector {
        match_labels: labels(text),
        ..Selector::default()
    }
}

fn pod(namespace: &str, name: &str, of: &str, at: &str, http: u16) -> Arc<Pod> {
    let named_ports = vec![NamedPort {
        name: "http".into(),
        proto: Proto::TCP,
        port: http,
    }];
    let (namespace, name) = (namespace.into(), name.into());
    Arc::new(Pod {
        namespace,
        name,
        labels: labels(of),
        addrs: vec![addr(at)],
        named_ports,
        host_network: false,
    })
}

/// Namespaces x (team=x) and y (team=y); pods x/web, x/client, y/client, y/other, a host-network pod, and x/six on IPv6.
fn cluster(policies: Vec<Policy>) -> Model {
    let namespace = |name: &str| {
        Arc::new(Namespace {
            name: name.into(),
            labels: labels(&format!("team={name}")),
        })
    };
    let mut agent = (*pod("x", "agent", "app=client", "192.0.2.1", 80)).clone();
    agent.host_network = true;
    Model {
        policies: policies.into_iter().map(Arc::new).collect(),
        namespaces: vec![namespace("x"), namespace("y")],
        pods: vec![
            pod("x", "web", "app=web", "10.0.0.1", 8080),
            pod("x", "client", "app=client", "10.0.0.2", 81),
            pod("y", "client", "app=client", "10.0.1.1", 82),
            pod("y", "other", "app=other", "10.0.1.2", 83),
            pod("x", "six", "app=six", "fd00::6", 80),
            Arc::new(agent),
        ],
        ..Model::default()
    }
}

struct Web {
    identities: Identities,
    policy: PodPolicy,
}

/// Compiles x/web under these policies.
fn web(policies: Vec<Policy>) -> Web {
    let model = cluster(policies);
    let identities = Identities::default().next(&model);
    let policy = compile(&model, &identities, &model.pods[0]);
    Web { identities, policy }
}

impl Web {
    fn flow(&self, peer: &str, proto: Proto, dport: u16) -> FlowView {
        FlowView {
            peer: self.identities.lookup(addr(peer)),
            peer_addr: addr(peer),
            proto,
            dport,
        }
    }

    fn allows(&self, direction: Direction, peer: &str, proto: Proto, dport: u16) -> bool {
        self.policy
            .verdict(direction, &self.flow(peer, proto, dport))
            .is_allowed()
    }

    /// Which of: client in x, client in y, other in y, six, node, outside may reach TCP 80.
    fn reach(&self, direction: Direction) -> [bool; 6] {
        let peers = [
            "10.0.0.2",
            "10.0.1.1",
            "10.0.1.2",
            "fd00::6",
            "192.0.2.1",
            "198.51.100.1",
        ];
        peers.map(|peer| self.allows(direction, peer, Proto::TCP, 80))
    }
}

fn policy(name: &str, ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>) -> Policy {
    Policy {
        namespace: "x".into(),
        name: name.into(),
        pod_selector: select("app=web"),
        ingress,
        egress,
    }
}

fn from(peers: Vec<Peer>) -> Rule {
    Rule {
        peers,
        ports: Vec::new(),
    }
}

fn on(proto: Proto, port: PortSpec) -> Rule {
    Rule {
        peers: Vec::new(),
        ports: vec![PortMatch { proto, port }],
    }
}

fn pods(namespaces: Option<&str>, pods: Option<&str>) -> Peer {
    Peer::Pods {
        namespaces: namespaces.map(select),
        pods: pods.map(select),
    }
}

const ALL: [bool; 6] = [true; 6];
const NONE: [bool; 6] = [false; 6];

#[test]
fn without_a_policy_for_the_direction_the_pod_is_not_isolated() {
    let plain = web(vec![]);
    assert_eq!(plain.policy, PodPolicy::default());
    let ingress_only = web(vec![policy("deny", Some(vec![]), None)]);
    assert_eq!(ingress_only.reach(Ingress), NONE);
    let flow = ingress_only.flow("10.0.0.2", Proto::TCP, 80);
    assert_eq!(ingress_only.policy.verdict(Egress, &flow), Verdict::NotIsolated);
    assert_eq!(ingress_only.policy.policies(Egress), None);
}

#[test]
fn a_policy_selects_by_label_in_its_own_namespace_only() {
    let elsewhere = Policy {
        namespace: "y".into(),
        pod_selector: Selector::default(),
        ..policy("deny", Some(vec![]), None)
    };
    let unselected = Policy {
        pod_selector: select("app=db"),
        ..policy("deny", Some(vec![]), None)
    };
    assert_eq!(web(vec![elsewhere, unselected]).policy, PodPolicy::default());
    let everyone = Policy {
        pod_selector: Selector::default(),
        ..policy("deny", Some(vec![]), Some(vec![]))
    };
    let isolated = web(vec![everyone.clone()]);
    assert_eq!((isolated.reach(Ingress), isolated.reach(Egress)), (NONE, NONE));
    let model = cluster(vec![everyone]);
    let identities = Identities::default().next(&model);
    let host_network = model.pods.iter().find(|pod| pod.host_network).unwrap();
    assert_eq!(compile(&model, &identities, host_network), PodPolicy::default());
}

#[test]
fn peers_by_label() {
    let reach = |peer| web(vec![policy("p", Some(vec![from(vec![peer])]), None)]).reach(Ingress);
    // Alone, a podSelector means the policy's own namespace; the host-network agent has the label and is not meant.
    assert_eq!(
        reach(pods(None, Some("app=client"))),
        [true, false, false, false, false, false]
    );
    assert_eq!(reach(pods(None, Some(""))), [true, false, false, true, false, false]);
    assert_eq!(
        reach(pods(Some("team=y"), None)),
        [false, true, true, false, false, false]
    );
    assert_eq!(reach(pods(Some(""), None)), [true, true, true, true, false, false]);
    assert_eq!(
        reach(pods(Some("team=y"), Some("app=client"))),
        [false, true, false, false, false, false]
    );
    assert_eq!(reach(pods(None, None)), NONE);
    // Peers of one rule add up, and a rule without peers means everybody.
    let both = vec![pods(None, Some("app=client")), pods(Some("team=y"), Some("app=other"))];
    let both = web(vec![policy("p", Some(vec![from(both)]), None)]);
    assert_eq!(both.reach(Ingress), [true, false, true, false, false, false]);
    assert_eq!(
        web(vec![policy("p", Some(vec![from(vec![])]), None)]).reach(Ingress),
        ALL
    );
}

#[test]
fn blocks_match_addresses_of_pods_too_and_another_rule_may_allow_an_exception() {
    let block = |text, except: &[&str]| Peer::Block {
        cidr: cidr(text),
        except: except.iter().map(|e| cidr(e)).collect(),
    };
    let reach = |rules| web(vec![policy("p", Some(rules), None)]).reach(Ingress);
    assert_eq!(
        reach(vec![from(vec![block("10.0.0.0/8", &[])])]),
        [true, true, true, false, false, false]
    );
    assert_eq!(
        reach(vec![from(vec![block("10.0.0.0/8", &["10.0.1.0/24"])])]),
        [true, false, false, false, false, false]
    );
    assert_eq!(
        reach(vec![from(vec![block("0.0.0.0/0", &["10.0.0.0/8"])])]),
        [false, false, false, false, true, true]
    );
    assert_eq!(
        reach(vec![from(vec![block("::/0", &[])])]),
        [false, false, false, true, false, false]
    );
    let overlap = vec![from(vec![
        block("10.0.0.0/8", &["10.0.1.0/24"]),
        block("10.0.1.1/32", &[]),
    ])];
    assert_eq!(reach(overlap), [true, true, false, false, false, false]);
}

#[test]
fn ports_by_number_range_and_protocol() {
    let tcp = |port| web(vec![policy("p", Some(vec![on(Proto::TCP, port)]), None)]);
    let allowed = |of: &Web| [79, 80, 85, 90, 91].map(|port| of.allows(Ingress, "10.0.1.2", Proto::TCP, port));
    assert_eq!(
        allowed(&tcp(PortSpec::Number(80, None))),
        [false, true, false, false, false]
    );
    assert_eq!(
        allowed(&tcp(PortSpec::Number(80, Some(90)))),
        [false, true, true, true, false]
    );
    assert_eq!(allowed(&tcp(PortSpec::Number(90, Some(80)))), [false; 5]);
    assert_eq!(allowed(&tcp(PortSpec::Any)), [true; 5]);
    let all_tcp = tcp(PortSpec::Any);
    let others = [Proto::UDP, Proto::SCTP, Proto::ICMP, Proto(47)];
    assert_eq!(
        others.map(|proto| all_tcp.allows(Ingress, "10.0.1.2", proto, 80)),
        [false; 4]
    );
    let all = web(vec![policy("p", Some(vec![from(vec![])]), None)]);
    assert_eq!(
        others.map(|proto| all.allows(Ingress, "10.0.1.2", proto, 80)),
        [true; 4]
    );
}

#[test]
fn a_named_port_is_the_destinations() {
    let http = || vec![on(Proto::TCP, PortSpec::Name("http".into()))];
    let web = web(vec![policy("p", Some(http()), Some(http()))]);
    let ports = [80, 81, 82, 8080];
    // To web: its own 8080, whatever the sender calls http, and from anywhere.
    for peer in ["10.0.0.2", "10.0.1.1", "198.51.100.1"] {
        assert_eq!(
            ports.map(|port| web.allows(Ingress, peer, Proto::TCP, port)),
            [false, false, false, true],
            "{peer}"
        );
    }
    // From web: the other pod's; a node or an outside address has no named ports.
    let to = |peer| ports.map(|port| web.allows(Egress, peer, Proto::TCP, port));
    assert_eq!(to("10.0.0.2"), [false, true, false, false]);
    assert_eq!(to("10.0.1.1"), [false, false, true, false]);
    assert_eq!(to("192.0.2.1"), [false; 4]);
    assert_eq!(to("198.51.100.1"), [false; 4]);
    assert!(!web.allows(Egress, "10.0.0.2", Proto::UDP, 81));
}

#[test]
fn peers_and_ports_of_a_rule_must_both_fit_and_policies_add_up() {
    let both = Rule {
        peers: vec![pods(None, Some("app=client"))],
        ..on(Proto::TCP, PortSpec::Number(80, None))
    };
    let elsewhere = Rule {
        peers: vec![pods(Some("team=y"), None)],
        ..on(Proto::TCP, PortSpec::Number(443, None))
    };
    let web = web(vec![
        policy("b", Some(vec![both]), None),
        policy("a", Some(vec![elsewhere]), None),
    ]);
    assert!(web.allows(Ingress, "10.0.0.2", Proto::TCP, 80));
    assert!(!web.allows(Ingress, "10.0.0.2", Proto::TCP, 443));
    assert!(web.allows(Ingress, "10.0.1.1", Proto::TCP, 443));
    assert!(!web.allows(Ingress, "10.0.1.1", Proto::TCP, 80));
}

#[test]
fn the_verdict_names_the_first_rule_and_a_denial_the_nearest() {
    let client_80 = Rule {
        peers: vec![pods(None, Some("app=client"))],
        ..on(Proto::TCP, PortSpec::Number(80, None))
    };
    let six = from(vec![pods(None, Some("app=six"))]);
    let web = web(vec![
        policy(
            "late",
            Some(vec![from(vec![])]),
            Some(vec![six.clone(), client_80.clone()]),
        ),
        policy("early", Some(vec![six, client_80]), None),
    ]);
    let name = |rule| {
        let (policy, text) = web.policy.rule(Ingress, rule).unwrap();
        format!("{}/{} rule {}: {text}", policy.namespace, policy.name, rule.rule)
    };
    let first = RuleRef { policy: 0, rule: 1 };
    assert_eq!(
        web.policy.verdict(Ingress, &web.flow("10.0.0.2", Proto::TCP, 80)),
        Verdict::Allowed(first)
    );
    assert_eq!(name(first), "x/early rule 1: podSelector app=client, port 80/tcp");
    let last = RuleRef { policy: 1, rule: 0 };
    assert_eq!(
        web.policy.verdict(Ingress, &web.flow("10.0.0.2", Proto::TCP, 81)),
        Verdict::Allowed(last)
    );
    assert_eq!(name(last), "x/late rule 0: anyone, any port");
    assert_eq!(web.policy.rule(Ingress, RuleRef { policy: 1, rule: 1 }), None);
    assert_eq!(web.policy.rule(Ingress, RuleRef { policy: 2, rule: 0 }), None);
    let names: Vec<_> = web
        .policy
        .policies(Ingress)
        .unwrap()
        .iter()
        .map(|policy| policy.name.as_str())
        .collect();
    assert_eq!(names, ["early", "late"]);

    let nearest = |peer, port| web.policy.nearest(Egress, &web.flow(peer, Proto::TCP, port));
    let rule = |rule| RuleRef { policy: 0, rule };
    // Rule 0 takes any port: it would fit, was the peer another one.
    assert_eq!(nearest("10.0.1.1", 80), Some((rule(0), Missing::Peer)));
    assert_eq!(nearest("10.0.0.2", 81), Some((rule(0), Missing::Peer)));
}

#[test]
fn the_nearest_rule_is_by_peer_where_no_port_fits() {
    let rule = Rule {
        peers: vec![pods(None, Some("app=client"))],
        ..on(Proto::TCP, PortSpec::Number(80, None))
    };
    let web = web(vec![policy("p", Some(vec![rule]), None)]);
    let at = RuleRef { policy: 0, rule: 0 };
    assert_eq!(
        web.policy.nearest(Ingress, &web.flow("10.0.0.2", Proto::TCP, 81)),
        Some((at, Missing::Port))
    );
    assert_eq!(
        web.policy.nearest(Ingress, &web.flow("10.0.1.1", Proto::TCP, 80)),
        Some((at, Missing::Peer))
    );
    assert_eq!(web.policy.nearest(Ingress, &web.flow("10.0.1.1", Proto::TCP, 81)), None);
    assert_eq!(web.policy.nearest(Egress, &web.flow("10.0.0.2", Proto::TCP, 81)), None);
}

#[test]
fn a_pod_that_no_rule_means_changes_no_policy_though_it_is_new_and_has_the_named_port() {
    let http = on(Proto::TCP, PortSpec::Name("http".into()));
    let to_clients = Rule {
        peers: vec![pods(None, Some("app=client"))],
        ..http.clone()
    };
    let mut model = cluster(vec![policy("p", Some(vec![http]), Some(vec![to_clients]))]);
    let before = Identities::default().next(&model);
    let policy = compile(&model, &before, &model.pods[0]);
    model.pods.push(pod("x", "new", "app=new", "10.0.0.9", 84));
    let after = before.next(&model);
    assert!(
        after
            .lookup(addr("10.0.0.9"))
            .is_some_and(|identity| before.content(identity).is_none())
    );
    assert_eq!(compile(&model, &after, &model.pods[0]), policy);
    model.pods.push(pod("x", "meant", "app=client", "10.0.0.10", 85));
    let meant = after.next(&model);
    assert_ne!(compile(&model, &meant, &model.pods[0]), policy);
}

#[test]
fn rules_beyond_the_first_chunk_are_found_and_named() {
    let rules: Vec<Rule> = (1..=700)
        .map(|port| on(Proto::TCP, PortSpec::Number(port, Some(port + 1))))
        .collect();
    let web = web(vec![
        policy("a", Some(rules[..300].to_vec()), None),
        policy("b", Some(rules[300..].to_vec()), None),
    ]);
    for (port, expected) in [
        (1, (0, 0)),
        (256, (0, 254)),
        (257, (0, 255)),
        (258, (0, 256)),
        (300, (0, 298)),
        (302, (1, 0)),
        (701, (1, 399)),
    ] {
        let (policy, rule) = expected;
        let verdict = web.policy.verdict(Ingress, &web.flow("10.0.0.2", Proto::TCP, port));
        assert_eq!(verdict, Verdict::Allowed(RuleRef { policy, rule }), "port {port}");
    }
    assert!(!web.allows(Ingress, "10.0.0.2", Proto::TCP, 702));
    assert!(!web.allows(Ingress, "10.0.0.2", Proto::TCP, 0));
}
