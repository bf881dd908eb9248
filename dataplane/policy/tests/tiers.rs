//! Cluster policies against the reference, and by example.

mod models;

use std::sync::Arc;

use models::{addr, port, proto, tiered_model};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_policy::reference::verdict_linear;
use sluice_policy::{
    Action, ClusterPolicy, ClusterRule, Compiler, Direction, FlowView, Identities, Model, NamedPort, Namespace, Peer,
    Pod, Policy, PortMatch, PortSpec, Rule, RuleRef, Selector, Subject, Tier, Verdict, compile,
};
use sluice_wire::{Addr, Proto};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn compiled_tiers_agree_with_reference_on_verdict_and_rule(
        model in tiered_model(),
        flows in vec((addr(), proto(), port()), 48),
    ) {
        let mut flows = flows;
        for pod in &model.pods {
            let named = pod.named_ports.iter();
            flows.extend(named.flat_map(|named| pod.addrs.iter().map(|&addr| (addr, named.proto, named.port))));
        }
        let identities = Identities::default().next(&model);
        let mut compiler = Compiler::default();
        let mut pass = compiler.pass(&model, &identities);
        for local in &model.pods {
            let policy = pass.compile(local);
            for &(peer_addr, proto, dport) in &flows {
                let flow = FlowView { peer: identities.lookup(peer_addr), peer_addr, proto, dport };
                for direction in DIRECTIONS {
                    let expected = verdict_linear(&model, direction, local, peer_addr, proto, dport);
                    let verdict = policy.verdict(direction, &flow);
                    prop_assert_eq!(verdict, expected, "{:?} {:?} {:?}", direction, local, flow);
                    if let Verdict::Allowed(rule) | Verdict::DeniedBy(rule) = verdict {
                        let (from, text) = policy.rule(direction, rule).unwrap();
                        prop_assert!(from.cluster.is_none() || text.starts_with("Accept") || text.starts_with("Deny"));
                        prop_assert!(from.cluster.is_some() || verdict.is_allowed());
                    }
                    prop_assert!(verdict != Verdict::Denied || policy.is_isolated(direction));
                    prop_assert!(verdict != Verdict::NotIsolated || !policy.is_isolated(direction));
                }
            }
        }
    }

    #[test]
    fn the_order_of_cluster_policies_in_the_model_means_nothing(model in tiered_model()) {
        let identities = Identities::default().next(&model);
        let mut reversed = model.clone();
        reversed.cluster.reverse();
        for local in &model.pods {
            prop_assert_eq!(compile(&model, &identities, local), compile(&reversed, &identities, local));
        }
    }

    #[test]
    fn cluster_policies_about_nobody_leave_what_is_compiled_as_it_is_without_them(model in tiered_model()) {
        let identities = Identities::default().next(&model);
        let with = |cluster| Model { cluster, ..model.clone() };
        let nobody = Subject { pods: Some(app("nobody")), ..Subject::default() };
        let about = |policy: &Arc<ClusterPolicy>| Arc::new(ClusterPolicy { subject: nobody.clone(), ..(**policy).clone() });
        let about_nobody = with(model.cluster.iter().map(about).collect());
        for local in &model.pods {
            prop_assert_eq!(compile(&about_nobody, &identities, local), compile(&with(Vec::new()), &identities, local));
        }
    }
}

fn app(name: &str) -> Selector {
    Selector {
        match_labels: [("app".to_owned(), name.to_owned())].into(),
        expressions: Vec::new(),
    }
}

fn pod(name: &str, last: u8, host_network: bool) -> Arc<Pod> {
    Arc::new(Pod {
        namespace: "x".into(),
        name: name.into(),
        labels: app(name).match_labels,
        addrs: vec![Addr::v4([10, 0, 0, last])],
        named_ports: vec![NamedPort {
            name: "web".into(),
            proto: Proto::TCP,
            port: 8000 + u16::from(last),
        }],
        host_network,
    })
}

fn rule(action: Action, peer: &str, ports: Vec<PortMatch>) -> ClusterRule {
    let peers = vec![Peer::Pods {
        namespaces: Some(Selector::default()),
        pods: Some(app(peer)),
    }];
    ClusterRule {
        name: String::new(),
        action,
        fits: Rule { peers, ports },
    }
}

fn cluster(name: &str, tier: Tier, priority: u16, ingress: Vec<ClusterRule>) -> Arc<ClusterPolicy> {
    Arc::new(ClusterPolicy {
        name: name.into(),
        tier,
        priority,
        subject: Subject::default(),
        ingress,
        egress: Vec::new(),
    })
}

/// Allows connections to `server` from pods of this app.
fn network_policy(from: &str) -> Arc<Policy> {
    Arc::new(Policy {
        namespace: "x".into(),
        name: "np".into(),
        pod_selector: app("server"),
        ingress: Some(vec![Rule {
            peers: vec![Peer::Pods {
                namespaces: None,
                pods: Some(app(from)),
            }],
            ports: Vec::new(),
        }]),
        egress: None,
    })
}

/// Judges a connection from the pod `client` to `server`.
fn judged(policies: Vec<Arc<Policy>>, cluster: Vec<Arc<ClusterPolicy>>, dport: u16) -> Verdict {
    let namespace = Namespace {
        name: "x".into(),
        labels: Default::default(),
    };
    let model = Model {
        policies,
        cluster,
        namespaces: vec![Arc::new(namespace)],
        pods: vec![pod("server", 1, false), pod("client", 2, false), pod("node", 3, true)],
    };
    let identities = Identities::default().next(&model);
    let peer_addr = Addr::v4([10, 0, 0, 2]);
    let flow = FlowView {
        peer: identities.lookup(peer_addr),
        peer_addr,
        proto: Proto::TCP,
        dport,
    };
    let verdict = compile(&model, &identities, &model.pods[0]).verdict(Direction::Ingress, &flow);
    let slowly = verdict_linear(&model, Direction::Ingress, &model.pods[0], peer_addr, Proto::TCP, dport);
    assert_eq!(verdict, slowly);
    let host = compile(&model, &identities, &model.pods[2]);
    assert!(
        host.policies(Direction::Ingress).is_none(),
        "no policy is about a pod in the node's network"
    );
    verdict
}

const fn at(policy: u32, rule: u32) -> RuleRef {
    RuleRef { policy, rule }
}

#[test]
fn the_admin_tier_goes_before_network_policies_and_they_before_the_baseline_tier() {
    use Action::{Accept, Deny, Pass};
    use Tier::{Admin, Baseline};
    let to = |tier, action| vec![cluster("c", tier, 7, vec![rule(action, "client", Vec::new())])];
    let (allows, denies) = (|| vec![network_policy("client")], || vec![network_policy("other")]);
    assert_eq!(judged(allows(), to(Admin, Deny), 80), Verdict::DeniedBy(at(0, 0)));
    assert_eq!(judged(denies(), to(Admin, Accept), 80), Verdict::Allowed(at(0, 0)));
    assert_eq!(judged(allows(), to(Admin, Pass), 80), Verdict::Allowed(at(1, 0)));
    assert_eq!(judged(denies(), to(Admin, Pass), 80), Verdict::Denied);
    assert_eq!(judged(allows(), to(Baseline, Deny), 80), Verdict::Allowed(at(0, 0)));
    assert_eq!(
        judged(denies(), to(Baseline, Accept), 80),
        Verdict::Denied,
        "isolation is final"
    );
    assert_eq!(judged(vec![], to(Baseline, Deny), 80), Verdict::DeniedBy(at(0, 0)));
    assert_eq!(judged(vec![], to(Baseline, Pass), 80), Verdict::NotIsolated);
    assert_eq!(judged(vec![], to(Admin, Pass), 80), Verdict::NotIsolated);
}

#[test]
fn a_lower_priority_value_goes_first_then_the_name_then_the_place_and_pass_skips_the_rest_of_its_tier() {
    use Action::{Accept, Deny, Pass};
    let one = |name, priority, action| cluster(name, Tier::Admin, priority, vec![rule(action, "client", Vec::new())]);
    let by_priority = vec![one("a", 1000, Accept), one("z", 0, Deny)];
    assert_eq!(judged(vec![], by_priority, 80), Verdict::DeniedBy(at(0, 0)));
    let by_name = vec![one("b", 5, Deny), one("a", 5, Accept)];
    assert_eq!(judged(vec![], by_name, 80), Verdict::Allowed(at(0, 0)));
    let rules = [(Deny, "other"), (Accept, "client"), (Deny, "client")];
    let rules = rules.map(|(action, peer)| rule(action, peer, Vec::new())).to_vec();
    let by_place = vec![cluster("c", Tier::Admin, 0, rules)];
    assert_eq!(judged(vec![], by_place, 80), Verdict::Allowed(at(0, 1)));
    let passed = vec![
        one("a", 0, Pass),
        one("b", 1, Deny),
        cluster("c", Tier::Baseline, 0, vec![rule(Deny, "client", Vec::new())]),
    ];
    assert_eq!(judged(vec![], passed, 80), Verdict::DeniedBy(at(2, 0)));
}

#[test]
fn a_port_name_of_a_cluster_policy_is_the_destinations() {
    let web = PortMatch {
        proto: Proto::TCP,
        port: PortSpec::Name("web".into()),
    };
    let rules = vec![rule(Action::Deny, "client", vec![web])];
    let policies = || vec![cluster("c", Tier::Admin, 0, rules.clone())];
    assert_eq!(judged(vec![], policies(), 8001), Verdict::DeniedBy(at(0, 0)));
    assert_eq!(judged(vec![], policies(), 8002), Verdict::NotIsolated);
}

#[test]
fn rules_read_with_their_action_and_name_on_one_line() {
    let mut rule = rule(Action::Deny, "client", Vec::new());
    let fits = "namespaceSelector (all) and podSelector app=client, any port";
    assert_eq!(rule.to_string(), format!("Deny {fits}"));
    rule.name = "no\nclients\u{1b}[1m".into();
    assert_eq!(rule.to_string(), format!("Deny \"no\\nclients\\u{{1b}}[1m\": {fits}"));
}
