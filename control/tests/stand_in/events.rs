//! What the cluster's users are told.

use super::cluster::{Follower, server};
use serde_json::json;
use sluice_apiserver::Denial;
use sluice_control::source::{Notice, Regarding};
use std::time::{Duration, Instant};

fn about(name: &str) -> Notice {
    Notice {
        regarding: Regarding::Pod {
            namespace: "default".into(),
            name: name.into(),
            uid: Some("7f0e".into()),
        },
        reason: "SlowReceiver",
        action: "Deliver",
        warning: true,
        note: "packets are dropped".into(),
    }
}

fn node_ready() -> Notice {
    Notice {
        regarding: Regarding::Node,
        reason: "NetworkReady",
        action: "Serve",
        warning: false,
        note: "the node is served".into(),
    }
}

#[test]
fn what_is_told_is_an_event_of_the_node_or_pod_and_again_a_series() {
    let server = server();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    follower.source.notify(node_ready());
    follower.source.notify(about("web"));
    follower.until("both events", |_| server.objects("events").len() == 2);
    let events = server.objects("events");
    let of = |kind: &str| {
        (**events
            .iter()
            .find(|event| event["involvedObject"]["kind"] == kind)
            .unwrap())
        .clone()
    };
    let (node, pod) = (of("Node"), of("Pod"));
    assert_eq!(
        (&node["type"], &node["reason"]),
        (&json!("Normal"), &json!("NetworkReady"))
    );
    assert_eq!(node["involvedObject"]["uid"], "node-a", "as kubelet has it");
    assert_eq!(node["metadata"]["namespace"], "default");
    assert_eq!(
        (&pod["type"], &pod["message"]),
        (&json!("Warning"), &json!("packets are dropped"))
    );
    assert_eq!(pod["reportingComponent"], "sluice.io/agent");
    assert_eq!(pod["involvedObject"]["uid"], "7f0e");
    follower.until("it is counted", |f| f.source.notices() == (2, 0));
    // Somebody deletes the event; when it comes again it is there again, with its count.
    server.delete("events", Some("default"), pod["metadata"]["name"].as_str().unwrap());
    for _ in 0..3 {
        follower.source.notify(about("web"));
    }
    assert_eq!(server.objects("events").len(), 1);
}

#[test]
fn a_server_that_is_away_makes_nobody_wait_and_what_is_too_much_is_counted() {
    let server = server();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    server.lines().refuse(true);
    server.lines().close_all();
    let began = Instant::now();
    for n in 0..1000 {
        follower.source.notify(about(&format!("pod-{n}")));
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    follower.until("most are dropped", |f| f.source.notices().1 >= 1000 - 2 * 64);
    assert_eq!(follower.source.notices().0, 0);
    server.lines().refuse(false);
    follower.until("some that waited are written", |f| f.source.notices().0 > 0);
    follower.catch_up(&server);
}

#[test]
fn events_that_are_forbidden_are_told_once_with_the_rule_that_grants_them() {
    let server = server();
    let denial = Denial::of("create", "events");
    server.deny(denial.clone());
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    for n in 0..3 {
        follower.source.notify(about(&format!("pod-{n}")));
    }
    follower.until("all are dropped", |f| f.source.notices() == (0, 3));
    follower.until("it is told", |f| {
        f.told()
            .contains("{apiGroups: [\"events.k8s.io\"], resources: [events], verbs: [create, patch]}")
    });
    assert_eq!(follower.problems["API server, events"].len(), 1);
    server.access().grant(&denial);
    follower.source.notify(node_ready());
    follower.until("it is mended", |f| f.problems.is_empty() && f.source.notices().0 == 1);
}
