//! NetworkPolicy.

use crate::clients::{Attempt, Conversation, attempt, curl, datagram};
use crate::cluster::*;
use serde_json::{Value, json};
use sluice_lab::{Lab, Place, Topology, manifests};
use std::net::IpAddr;
use std::time::Duration;

/// Long enough for an answer, short enough to prove that something passes within a second of a change.
const SHORT: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);

/// Guest joins on the second node, where web-2 is.
fn with_guest() -> Topology {
    let mut topology = two_nodes();
    add_pod(
        &mut topology,
        r#"{"name": "guest", "node": "node-b", "addresses": ["10.244.2.9", "fd00:244:2::9"], "labels": {"role": "guest"}}"#,
    );
    topology
}

pub(crate) fn apply(lab: &Lab, name: &str, spec: &Value) {
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec});
    lab.apply(&format!("{name}.yaml"), &manifests::to_yaml(&object))
        .unwrap();
}

fn passes(from: &Place<'_>, to: (IpAddr, u16)) -> bool {
    match attempt(from, to, SHORT) {
        Attempt::Connected => true,
        Attempt::Silence => false,
        Attempt::Refused => panic!("policy drops, it does not refuse: {} to {to:?}", from.name()),
    }
}

/// Waits until all agents show the policy `name` for the pod `pod`, on its node.
pub(crate) fn wait_for_policy(lab: &Lab, name: &str, pod: &str) {
    let node = lab.node(&lab.pod(pod).unwrap().spec().unwrap().node).unwrap();
    lab.wait(&format!("policy {name} to select {pod}"), PATIENCE, || {
        node.sluice_json(&["policies"]).is_ok_and(|rows| {
            let mut rows = rows.as_array().cloned().unwrap_or_default();
            rows.retain(|row| row["pod"] == format!("default/{pod}"));
            rows.iter()
                .any(|row| row.to_string().contains(&format!("default/{name}")))
        })
    })
    .unwrap();
}

#[test]
fn an_edited_policy_takes_effect_within_a_second() {
    alone_in_lab(&with_guest(), |lab| {
        for (from, v6) in [("user", false), ("guest", true)] {
            let from = lab.pod(from).unwrap();
            let target = (address(lab, "web-2", v6), 80);
            assert_eq!(attempt(&from, target, PATIENCE), Attempt::Connected);
            let allow = |role: &str| {
                json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
                    "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": role}}}]}]})
            };
            apply(lab, "web-from", &allow("nobody"));
            lab.wait("the policy to block", SECOND, || !passes(&from, target))
                .unwrap();
            apply(lab, "web-from", &allow(if v6 { "guest" } else { "user" }));
            lab.wait("the edited policy to allow", SECOND, || passes(&from, target))
                .unwrap();
            apply(lab, "web-from", &allow("nobody"));
            lab.wait("the policy to block again", SECOND, || !passes(&from, target))
                .unwrap();
            lab.remove("web-from.yaml").unwrap();
            lab.wait("the pod to be free again", SECOND, || passes(&from, target))
                .unwrap();
        }
    });
}

#[test]
fn default_deny_lets_through_what_is_allowed_its_replies_and_the_own_node() {
    in_lab(&with_guest(), |lab| {
        apply(
            lab,
            "deny-all",
            &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        );
        apply(
            lab,
            "web-from-user",
            &json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "user"}}}]}]}),
        );
        apply(
            lab,
            "user-to-any",
            &json!({"podSelector": {"matchLabels": {"role": "user"}}, "policyTypes": ["Egress"], "egress": [{}]}),
        );
        for (policy, pod) in [
            ("web-from-user", "web-1"),
            ("web-from-user", "web-2"),
            ("user-to-any", "user"),
            ("deny-all", "guest"),
        ] {
            wait_for_policy(lab, policy, pod);
        }
        let (user, guest) = (lab.pod("user").unwrap(), lab.pod("guest").unwrap());
        let (web, node_a, node_b) = (
            lab.pod("web-1").unwrap(),
            lab.node("node-a").unwrap(),
            lab.node("node-b").unwrap(),
        );
        for v6 in FAMILIES {
            for to in ["web-1", "web-2"] {
                let target = address(lab, to, v6);
                assert_eq!(curl(&user, target, "/"), to, "allowed on both sides, and replies are");
                assert!(!passes(&guest, (target, 80)), "guest may not leave");
                assert!(datagram(&guest, (target, 7), "x", SHORT).is_err(), "nor by UDP");
                let ping = guest
                    .run(&["ping", "-c", "1", "-W", "0.3", &target.to_string()])
                    .unwrap();
                assert_eq!(ping.code, Some(1), "nor by ICMP: {ping}");
            }
            assert!(
                !passes(&web, (address(lab, "web-2", v6), 80)),
                "web may answer, not begin"
            );
            assert_eq!(
                curl(&node_a, address(lab, "web-1", v6), "/"),
                "web-1",
                "the kubelet's probe"
            );
            assert_eq!(
                curl(&node_b, address(lab, "web-2", v6), "/"),
                "web-2",
                "the kubelet's probe"
            );
            assert!(
                !passes(&node_b, (address(lab, "web-1", v6), 80)),
                "another node has no such right"
            );
        }
    });
}

#[test]
fn ports_by_name_and_blocks_with_exceptions() {
    let mut topology = with_guest();
    topology.clients.push(
        serde_json::from_value(
            json!({"name": "other", "addresses": ["192.0.2.101/24", "2001:db8:2::101/64"], "run": ["http"]}),
        )
        .unwrap(),
    );
    in_lab(&topology, |lab| {
        apply(
            lab,
            "web-http",
            &json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [{
                "from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.9/32"]}},
                         {"ipBlock": {"cidr": "fd00:244::/32", "except": ["fd00:244:1::9/128"]}}],
                "ports": [{"port": "http"}]}]}),
        );
        apply(
            lab,
            "guest-out",
            &json!({"podSelector": {"matchLabels": {"role": "guest"}}, "policyTypes": ["Egress"], "egress": [
                {"to": [{"podSelector": {}}]},
                {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.101/32"]}},
                        {"ipBlock": {"cidr": "2001:db8:2::/64", "except": ["2001:db8:2::101/128"]}}]}]}),
        );
        for (policy, pod) in [("web-http", "web-1"), ("web-http", "web-2"), ("guest-out", "guest")] {
            wait_for_policy(lab, policy, pod);
        }
        let (user, guest) = (lab.pod("user").unwrap(), lab.pod("guest").unwrap());
        for v6 in FAMILIES {
            for to in ["web-1", "web-2"] {
                let target = address(lab, to, v6);
                assert_eq!(curl(&guest, target, "/"), to);
                assert!(
                    !passes(&guest, (target, 5201)),
                    "the port called iperf3 is not the one called http"
                );
                assert!(!passes(&user, (target, 80)), "the excepted address");
            }
            assert_eq!(curl(&guest, of(OUTSIDE, v6), "/"), "outside");
            assert!(
                !passes(&guest, (of(["192.0.2.101", "2001:db8:2::101"], v6), 80)),
                "the excepted address"
            );
        }
    });
}

#[test]
fn services_are_judged_by_the_pod_behind_them() {
    let mut topology = with_guest();
    topology.agent = serde_json::from_value(json!({"services": {"scheduler": "rr"}})).unwrap();
    in_lab(&topology, |lab| {
        let user = lab.pod("user").unwrap();
        apply(
            lab,
            "user-to-web-1",
            &json!({"podSelector": {"matchLabels": {"role": "user"}}, "policyTypes": ["Egress"],
                "egress": [{"to": [{"podSelector": {"matchLabels": {"name": "web-1"}}}]}]}),
        );
        wait_for_policy(lab, "user-to-web-1", "user");
        for v6 in FAMILIES {
            let passed = (0..20).filter(|_| passes(&user, (of(WEB, v6), 80))).count();
            assert_eq!(passed, 10, "in turns, one endpoint of two is allowed");
        }
    });
}

#[test]
fn an_established_connection_is_cut_when_policy_changes() {
    in_lab(&with_guest(), |lab| {
        for (from, v6) in [("user", false), ("user", true), ("guest", false)] {
            let from = lab.pod(from).unwrap();
            let target = (address(lab, "web-2", v6), 80);
            let mut talk = Conversation::open(&from, target);
            talk.http(PATIENCE).unwrap();
            apply(
                lab,
                "closed",
                &json!({"podSelector": {"matchLabels": {"name": "web-2"}}, "policyTypes": ["Ingress"]}),
            );
            wait_for_policy(lab, "closed", "web-2");
            lab.wait("the connection to be cut", PATIENCE, || talk.http(SHORT).is_err())
                .unwrap();
            assert!(!passes(&from, target));
            lab.remove("closed.yaml").unwrap();
            lab.wait("new connections to pass", PATIENCE, || passes(&from, target))
                .unwrap();
        }
    });
}
