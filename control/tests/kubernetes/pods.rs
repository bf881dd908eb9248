//! Which pods are known, and when.

use super::cluster::{Follower, Ours, server, truth};
use super::objects::{NODE, OTHER, pod, pods_of_app, policy};
use serde_json::json;
use sluice_apiserver::site;
use sluice_control::model::Kind;

/// Pods that are told to nobody who asks for pods of other nodes.
fn with_pods_without_an_address_of_their_own(ours: &Ours) {
    let mut ended = pod("ended", OTHER, "198.18.2.7");
    ended["status"]["phase"] = json!("Succeeded");
    let mut host = pod("host", OTHER, "192.0.2.9");
    host["spec"]["hostNetwork"] = json!(true);
    let mut pending = pod("pending", "", "");
    pending["status"] = json!({"phase": "Pending"});
    [ended, host, pending].into_iter().for_each(|object| ours.apply(object));
}

#[test]
fn pods_of_other_nodes_are_known_while_a_policy_names_pods() {
    let ours = server();
    with_pods_without_an_address_of_their_own(&ours);
    ours.apply(policy("block", &json!({"ipBlock": {"cidr": "10.0.0.0/8"}})));
    // Where others have policies that name pods, these pods are known all the time.
    let alone = !ours.names_pods();
    if !alone {
        site::not_tried("pods of other nodes that nobody needs, as policies of others name pods");
    }
    let expect = |known: usize, wanted: usize| assert!(!alone || known == wanted, "{known} pods are known");
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    expect(follower.count(Kind::Pod), 1);
    let asked = ours.requests("list", "pods") + ours.requests("watch", "pods");
    let one = if site::modes()[0] { 1 } else { 3 };
    assert!(
        !alone || asked == one,
        "nobody asks for pods of other nodes, but {asked} requests were made"
    );
    for _ in 0..2 {
        ours.apply(policy("apps", &pods_of_app()));
        follower.catch_up(&ours);
        assert_eq!(follower.count(Kind::Pod), 2);
        let mut done = pod("far", OTHER, "198.18.2.5");
        done["status"]["phase"] = json!("Failed");
        ours.apply(done);
        follower.catch_up(&ours);
        assert_eq!(follower.count(Kind::Pod), 1);
        ours.delete("pods", "far");
        ours.apply(pod("far", OTHER, "198.18.2.6"));
        follower.catch_up(&ours);
        ours.delete("networkpolicies", "apps");
        follower.catch_up(&ours);
        expect(follower.count(Kind::Pod), 1);
    }
}

#[test]
fn a_first_complete_state_has_the_pods_that_policies_name() {
    let ours = server();
    ours.apply(policy("apps", &pods_of_app()));
    let wanted = truth(&ours);
    let mut follower = Follower::of(&ours);
    follower.until("a first complete state", |f| f.store.synced());
    assert_eq!(follower.objects, wanted, "at that moment");
    assert!(follower.source.missing().is_empty());
}

#[test]
fn a_pod_that_moves_between_nodes_is_one_pod() {
    let ours = server();
    ours.apply(policy("apps", &pods_of_app()));
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    for (node, address) in [(OTHER, "198.18.2.9"), (NODE, "198.18.1.9"), (OTHER, "198.18.2.10")] {
        ours.delete("pods", "web");
        ours.apply(pod("web", node, address));
        follower.catch_up(&ours);
        assert_eq!(follower.count(Kind::Pod), 2);
    }
}
