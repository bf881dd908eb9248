//! What is there and what changes, while all is well.

use super::cluster::{Follower, server};
use super::objects::{NODE, OTHER, labelled, node, service, slice};
use serde_json::json;
use sluice_apiserver::site;
use sluice_control::model::Kind;

#[test]
fn everything_of_a_cluster_arrives_and_changes_with_it() {
    for streamed in site::modes() {
        let ours = server();
        ours.front().watch_list(*streamed);
        let mut follower = Follower::of(&ours);
        follower.catch_up(&ours);
        // A pod of another node is known where somebody else's policy names pods.
        assert_eq!(follower.objects.len(), 2 + 1 + 1 + 2 + usize::from(ours.names_pods()));
        assert_eq!(ours.requests("list", "networkpolicies"), u64::from(!streamed));
        ours.apply(node("c", "198.18.3.0/24"));
        ours.apply(service("db", 5432));
        ours.apply(slice("web", &["198.18.2.5"]));
        ours.delete("nodes", OTHER);
        ours.apply(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"a": "b"}}}),
        );
        follower.catch_up(&ours);
        assert!(follower.knows(Kind::Namespace, &ours.0.names().of("team")));
        ours.apply(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"a": "c"}}}),
        );
        ours.delete("services", "web");
        follower.catch_up(&ours);
        ours.delete("namespaces", "team");
        follower.catch_up(&ours);
        assert_eq!(follower.told(), "");
    }
}

#[test]
fn a_heartbeat_is_no_news() {
    let ours = server();
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    let before = follower.changes;
    let mut heartbeat = node(NODE, "198.18.1.0/24");
    heartbeat["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady"}]);
    ours.apply(heartbeat);
    ours.apply(service("last", 1));
    follower.catch_up(&ours);
    assert_eq!(follower.changes, before + 1);
}

#[test]
fn services_of_others_come_and_go_with_their_labels() {
    let ours = server();
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    for label in [
        "service.kubernetes.io/headless",
        "service.kubernetes.io/service-proxy-name",
    ] {
        ours.apply(labelled(service("web", 80), label));
        ours.apply(labelled(slice("web", &["198.18.1.5"]), label));
        follower.catch_up(&ours);
        assert!(!follower.knows(Kind::Service, "web"), "{label}");
        assert!(!follower.knows(Kind::EndpointSlice, "web-1"), "{label}");
        ours.apply(service("web", 80));
        ours.apply(slice("web", &["198.18.1.5"]));
        follower.catch_up(&ours);
        assert!(follower.knows(Kind::Service, "web") && follower.knows(Kind::EndpointSlice, "web-1"));
    }
}

#[test]
fn lists_of_many_pages_are_complete() {
    let ours = server();
    ours.front().watch_list(false);
    for n in 0..1003 {
        ours.apply(slice(&format!("s{n}"), &["198.18.1.9"]));
    }
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    assert_eq!(follower.count(Kind::EndpointSlice), 1004);
    // Others may have more.
    assert!(ours.requests("list", "endpointslices") >= 3);
    ours.delete("endpointslices", "s500-1");
    follower.catch_up(&ours);
}

#[test]
fn an_object_that_is_made_again_under_its_name_is_the_new_one() {
    for heard in [true, false] {
        let ours = server();
        let mut follower = Follower::of(&ours);
        follower.catch_up(&ours);
        let uid = |plural, name| ours.0.one(plural, name).unwrap()["metadata"]["uid"].clone();
        let before = uid("services", "web");
        if !heard {
            ours.shut();
        }
        ours.delete("services", "web");
        ours.apply(service("web", 81));
        ours.delete("nodes", OTHER);
        ours.apply(node(OTHER, "198.18.4.0/24"));
        ours.open();
        follower.catch_up(&ours);
        assert_ne!(uid("services", "web"), before);
    }
}
