use super::cluster::{Follower, server, truth};
use super::objects::{NODE, labelled, node, pod, pods_of_app, policy, service, slice};
use serde_json::json;
use sluice_control::model::Kind;

#[test]
fn everything_of_a_cluster_arrives_and_changes_with_it() {
    for streamed in [true, false] {
        let server = server();
        server.watch_list(streamed);
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        assert_eq!(follower.objects.len(), 2 + 4 + 1 + 2);
        assert_eq!(server.counters().requests("list", "services"), u64::from(!streamed));
        server.apply(node("node-c", "10.244.3.0/24")).unwrap();
        server.apply(service("db", "10.96.0.11", 5432)).unwrap();
        server.apply(slice("web", &["10.244.2.5"])).unwrap();
        server.delete("nodes", None, "node-b");
        server
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"a": "b"}}}))
            .unwrap();
        follower.catch_up(&server);
        server.delete("services", Some("default"), "web");
        server.delete("namespaces", None, "team");
        follower.catch_up(&server);
        assert_eq!(follower.told(), "");
        let before = follower.changes;
        let mut heartbeat = node(NODE, "10.244.1.0/24");
        heartbeat["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        server.apply(heartbeat).unwrap();
        server.apply(service("last", "10.96.0.12", 1)).unwrap();
        follower.catch_up(&server);
        assert_eq!(follower.changes, before + 1, "a heartbeat is no news");
    }
}

#[test]
fn pods_of_other_nodes_are_known_while_a_policy_names_pods() {
    let server = server();
    let mut ended = pod("ended", "node-b", "10.244.2.7");
    ended["status"]["phase"] = json!("Succeeded");
    let mut host = pod("host", "node-b", "192.0.2.9");
    host["spec"]["hostNetwork"] = json!(true);
    for object in [ended, host, pod("pending", "", "10.244.2.8")] {
        server.apply(object).unwrap();
    }
    server
        .apply(policy("block", &json!({"ipBlock": {"cidr": "10.0.0.0/8"}})))
        .unwrap();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    assert_eq!(follower.store.pods().count(), 1);
    let asked = || server.counters().requests("list", "pods") + server.counters().requests("watch", "pods");
    assert_eq!(asked(), 1, "nobody asks for pods of other nodes");
    for _ in 0..2 {
        server.apply(policy("apps", &pods_of_app())).unwrap();
        follower.catch_up(&server);
        assert_eq!(follower.store.pods().count(), 2);
        let mut done = pod("far", "node-b", "10.244.2.5");
        done["status"]["phase"] = json!("Failed");
        server.apply(done).unwrap();
        follower.catch_up(&server);
        assert_eq!(follower.store.pods().count(), 1);
        server.apply(pod("far", "node-b", "10.244.2.6")).unwrap();
        follower.catch_up(&server);
        server.delete("networkpolicies", Some("default"), "apps");
        follower.catch_up(&server);
        assert_eq!(follower.store.pods().count(), 1);
    }
}

#[test]
fn a_first_complete_state_has_the_pods_that_policies_name() {
    let server = server();
    server.apply(policy("apps", &pods_of_app())).unwrap();
    let mut follower = Follower::of(&server);
    follower.until("a first complete state", |f| f.store.synced());
    assert_eq!(follower.objects, truth(&server), "at that moment");
    assert!(follower.source.missing().is_empty());
}

#[test]
fn services_of_others_come_and_go_with_their_labels() {
    let server = server();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    for label in [
        "service.kubernetes.io/headless",
        "service.kubernetes.io/service-proxy-name",
    ] {
        server.apply(labelled(service("web", "10.96.0.10", 80), label)).unwrap();
        server.apply(labelled(slice("web", &["10.244.1.5"]), label)).unwrap();
        follower.catch_up(&server);
        assert_eq!(follower.store.services().count(), 0, "{label}");
        server.apply(service("web", "10.96.0.10", 80)).unwrap();
        server.apply(slice("web", &["10.244.1.5"])).unwrap();
        follower.catch_up(&server);
        assert_eq!(follower.store.services().count(), 1);
    }
}

#[test]
fn a_pod_that_moves_between_nodes_is_one_pod() {
    let server = server();
    server.apply(policy("apps", &pods_of_app())).unwrap();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    for (node, address) in [
        ("node-b", "10.244.2.9"),
        (NODE, "10.244.1.9"),
        ("node-b", "10.244.2.10"),
    ] {
        server.delete("pods", Some("default"), "web");
        server.apply(pod("web", node, address)).unwrap();
        follower.catch_up(&server);
    }
}

#[test]
fn lists_of_many_pages_are_complete() {
    let server = server();
    server.watch_list(false);
    for n in 0..1203 {
        server
            .apply(service(
                &format!("s{n}"),
                &format!("10.97.{}.{}", n / 250, n % 250 + 1),
                80,
            ))
            .unwrap();
    }
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    assert_eq!(follower.store.services().count(), 1204);
    assert_eq!(server.counters().requests("list", "services"), 3);
}

#[test]
fn a_broken_stream_goes_on_where_it_was_without_a_list() {
    for streamed in [true, false] {
        let server = server();
        server.watch_list(streamed);
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        let listed = |kind| server.counters().requests("list", kind);
        let before = (listed("services"), server.counters().requests("watch", "services"));
        server.lines().refuse(true);
        server.lines().close_all();
        follower.until("nobody answers", |f| f.told().contains("tried again"));
        server.apply(service("more", "10.96.0.20", 80)).unwrap();
        server.delete("services", Some("default"), "web");
        server.lines().refuse(false);
        let changes = follower.changes;
        follower.catch_up(&server);
        assert_eq!((listed("services"), follower.changes - changes), (before.0, 2));
        assert_eq!(server.counters().requests("watch", "services"), before.1 + 1);
    }
}

#[test]
fn what_was_deleted_while_nobody_listened_is_found_by_the_list_after_a_forgotten_version() {
    for streamed in [true, false] {
        let server = server();
        server.watch_list(streamed);
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        server.lines().refuse(true);
        server.lines().close_all();
        server.delete("services", Some("default"), "web");
        server.delete("pods", Some("default"), "web");
        server.apply(service("db", "10.96.0.11", 5432)).unwrap();
        server.compact();
        server.lines().refuse(false);
        follower.catch_up(&server);
        assert!(follower.store.services().all(|(name, _)| name.1 == "db"));
    }
}

#[test]
fn faulty_objects_are_told_and_the_rest_is_served() {
    let server = server();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    let mut bad = service("web", "10.96.0.10", 80);
    bad["spec"]["ports"][0]["port"] = json!(0);
    server.apply(bad).unwrap();
    server.apply(service("db", "10.96.0.11", 5432)).unwrap();
    follower.until("a good one beside it", |f| {
        f.store.services().count() == 2 && !f.problems.is_empty()
    });
    let told = follower.told();
    assert!(told.starts_with("Service default/web, spec.ports[0].port: "), "{told}");
    assert!(told.ends_with("the last good version stays in force"), "{told}");
    server.apply(service("web", "10.96.0.10", 81)).unwrap();
    follower.catch_up(&server);
    assert_eq!(follower.told(), "");
    assert_eq!(follower.store.services().filter(|(name, _)| name.1 == "web").count(), 1);
    assert!(follower.objects.keys().any(|key| key.kind == Kind::EndpointSlice));
}
