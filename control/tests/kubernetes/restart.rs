use super::cluster::{Folder, Follower, server, truth};
use super::objects::{NODE, pod, pods_of_app, policy, service};
use serde_json::json;
use sluice_apiserver::Server;
use sluice_control::source::Cluster;
use std::path::Path;

/// Follows, and saves what it knows at `state`.
fn saving(server: &Server, state: &Path) -> Follower {
    let state = state.to_owned();
    Follower::with(server, |cluster: &mut Cluster| cluster.state = Some(state))
}

#[test]
fn a_restart_serves_what_was_saved_at_once_and_goes_on_without_a_list() {
    for streamed in [true, false] {
        let (server, folder) = (server(), Folder::new());
        server.watch_list(streamed);
        server.apply(policy("apps", &pods_of_app())).unwrap();
        let state = folder.path("cluster");
        let mut follower = saving(&server, &state);
        follower.catch_up(&server);
        assert_eq!(follower.source.saved_age(), None);
        let before = truth(&server);
        drop(follower);
        server.lines().refuse(true);
        server.apply(service("db", "10.96.0.11", 5432)).unwrap();
        server.delete("pods", Some("default"), "far");
        server.apply(pod("more", NODE, "10.244.1.77")).unwrap();
        let mut follower = saving(&server, &state);
        follower.until("the saved state", |f| f.store.synced());
        assert_eq!(follower.objects, before);
        assert!(follower.source.saved_age().is_some() && follower.source.missing().is_empty());
        let lists =
            |server: &Server| ["services", "pods", "nodes"].map(|kind| server.counters().requests("list", kind));
        let asked = lists(&server);
        server.lines().refuse(false);
        let changes = follower.changes;
        follower.catch_up(&server);
        assert_eq!(follower.changes - changes, 3, "nothing was said again");
        follower.until("all is confirmed", |f| f.source.saved_age().is_none());
        assert_eq!(lists(&server), asked);
    }
}

#[test]
fn a_saved_version_that_is_forgotten_is_listed_again() {
    let (server, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    drop(follower);
    server.delete("services", Some("default"), "web");
    server.apply(service("db", "10.96.0.11", 5432)).unwrap();
    server.compact();
    let mut follower = saving(&server, &state);
    follower.until("the saved state", |f| f.store.synced());
    follower.catch_up(&server);
    drop(follower);
    server.lines().refuse(true);
    let mut follower = saving(&server, &state);
    follower.until("what the list said was saved, too", |f| {
        f.store.synced() && f.objects == truth(&server)
    });
}

#[test]
fn a_saved_state_is_confirmed_also_when_less_is_needed_than_it_has() {
    let (server, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    server.apply(policy("apps", &pods_of_app())).unwrap();
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    drop(follower);
    server.delete("networkpolicies", Some("default"), "apps");
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    follower.until("all is confirmed", |f| f.source.saved_age().is_none());
    drop(follower);
    server.lines().refuse(true);
    let mut follower = saving(&server, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(
        follower.objects,
        truth(&server),
        "pods of other nodes are not in it any more"
    );
}

fn nothing_is_served_before_it_answers(server: &Server, state: &Path) {
    server.lines().refuse(true);
    let mut follower = saving(server, state);
    follower.until("nobody answers", |f| !f.problems.is_empty());
    assert!(!follower.store.synced() && follower.changes == 0);
    server.lines().refuse(false);
    follower.catch_up(server);
}

#[test]
fn nothing_of_another_cluster_is_served() {
    let (one, other, folder) = (server(), server(), Folder::new());
    let state = folder.path("cluster");
    one.apply(service("one", "10.96.0.31", 80)).unwrap();
    let mut follower = saving(&one, &state);
    follower.catch_up(&one);
    drop(follower);
    nothing_is_served_before_it_answers(&other, &state);
}

#[test]
fn of_a_damaged_state_nothing_is_served() {
    let (server, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    drop(follower);
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replacen("10.96.0.10", "10.96.0.99", 1)).unwrap();
    nothing_is_served_before_it_answers(&server, &state);
}

#[test]
fn a_faulty_policy_allows_no_more_after_a_restart() {
    let (server, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    // Without the unknown field the rule would let everybody in.
    let mut misspelt = policy("misspelt", &pods_of_app());
    misspelt["spec"]["ingress"] = json!([{"form": [{"podSelector": {}}]}]);
    server.apply(misspelt).unwrap();
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    let (before, told) = (follower.objects.clone(), follower.told());
    assert!(told.contains("form"), "{told}");
    drop(follower);
    server.lines().refuse(true);
    let mut follower = saving(&server, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(follower.objects, before);
    assert!(follower.told().contains("form"), "{}", follower.told());
}
