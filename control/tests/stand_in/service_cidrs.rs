//! Ranges of service addresses, which not every API server has as objects.

use super::cluster::{Folder, Follower, server};
use serde_json::{Value, json};
use sluice_apiserver::{Denial, Fault, Rule};
use sluice_control::model::Kind;
use sluice_control::source::Cluster;

fn range(name: &str, cidr: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": [cidr]},
    })
}

fn ranges(follower: &Follower) -> usize {
    follower
        .objects
        .keys()
        .filter(|key| key.kind == Kind::ServiceCidr)
        .count()
}

/// As a server that is older than they are.
fn not_served() -> Rule {
    let answer = Fault::Answer {
        code: 404,
        retry_after: None,
    };
    Rule::of(answer).on("servicecidrs")
}

#[test]
fn ranges_of_services_are_followed_and_one_that_is_being_deleted_stays_while_it_exists() {
    let server = server();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    server.apply(range("more", "10.112.0.0/16")).unwrap();
    follower.until("it is known", |f| ranges(f) == 1);
    let mut leaving = range("more", "10.112.0.0/16");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
    leaving["metadata"]["finalizers"] = json!(["networking.k8s.io/service-cidr-finalizer"]);
    server.apply(leaving).unwrap();
    server.apply(range("another", "10.113.0.0/16")).unwrap();
    follower.until("the next one", |f| ranges(f) == 2);
    server.delete("servicecidrs", None, "more");
    follower.until("it is gone", |f| ranges(f) == 1);
    follower.catch_up(&server);
}

#[test]
fn a_server_without_them_is_no_problem_and_asked_again_when_it_is_back() {
    let (server, folder) = (server(), Folder::new());
    let refused = server.fault(not_served());
    let state = folder.path("cluster");
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.state = Some(state.clone()));
    follower.until("all else", |f| f.store.synced());
    follower.catch_up(&server);
    assert!(follower.problems.is_empty(), "{}", follower.told());
    follower.until("it is asked", |_| server.faults().struck(refused) > 0);
    let asked = server.faults().struck(refused);
    assert!(
        asked <= 2,
        "it is asked once, as a stream and as a list, not again and again: {asked}"
    );
    // A new version of the server.
    server.lines().refuse(true);
    server.lines().close_all();
    follower.until("nobody answers", |f| !f.problems.is_empty());
    server.faults().clear_one(refused);
    server.apply(range("kubernetes", "10.96.0.0/16")).unwrap();
    server.lines().refuse(false);
    follower.until("it is known", |f| ranges(f) == 1);
    follower.catch_up(&server);
    drop(follower);
    // Saved with the rest; a server that has it no more takes nothing away.
    let refused = server.fault(not_served());
    let asked = || server.faults().struck(refused);
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.state = Some(state.clone()));
    follower.until("all is confirmed", |f| {
        f.store.synced() && f.source.saved_age().is_none()
    });
    // However often it says so.
    for _ in 0..4 {
        let before = asked();
        server.lines().refuse(true);
        server.lines().close_all();
        follower.until("nobody answers", |f| !f.problems.is_empty());
        server.lines().refuse(false);
        follower.until("it is asked again", |f| f.problems.is_empty() && asked() > before);
    }
    assert_eq!(ranges(&follower), 1);
}

#[test]
fn they_hold_up_nothing_and_are_told_when_they_are_forbidden() {
    let server = server();
    for verb in ["list", "watch"] {
        server.deny(Denial::of(verb, "servicecidrs"));
    }
    let mut follower = Follower::of(&server);
    follower.until("a complete state", |f| f.store.synced());
    follower.until("it is told", |f| {
        f.told()
            .contains("{apiGroups: [\"networking.k8s.io\"], resources: [servicecidrs], verbs: [list, watch]}")
    });
}
