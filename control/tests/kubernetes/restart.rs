//! What outlives an agent, and what of it is used.

use super::cluster::{Folder, Follower, Ours, server, truth};
use super::objects::{NODE, pods_of_app, policy, service, slice};
use sluice_apiserver::site;
use sluice_control::source::Cluster;
use std::path::Path;

/// Follows, and saves what it knows at `state`.
pub(super) fn saving(ours: &Ours, state: &Path) -> Follower {
    let state = state.to_owned();
    Follower::with(ours, |cluster: &mut Cluster| cluster.state = Some(state))
}

#[test]
fn a_restart_serves_what_was_saved_at_once_and_goes_on_without_a_list() {
    for streamed in site::modes() {
        let (ours, folder) = (server(), Folder::new());
        ours.front().watch_list(*streamed);
        ours.apply(policy("apps", &pods_of_app()));
        let state = folder.path("cluster");
        let mut follower = saving(&ours, &state);
        follower.catch_up(&ours);
        assert_eq!(follower.source.saved_age(), None);
        let before = truth(&ours);
        drop(follower);
        ours.shut();
        ours.apply(service("db", 5432));
        ours.delete("pods", "far");
        ours.apply(slice("db", &["198.18.1.77"]));
        let mut follower = saving(&ours, &state);
        follower.until("the saved state", |f| f.store.synced());
        assert_eq!(follower.objects, before);
        assert!(follower.source.saved_age().is_some() && follower.source.missing().is_empty());
        let asked = ours.lists("");
        ours.open();
        let changes = follower.changes;
        follower.catch_up(&ours);
        assert_eq!(follower.changes - changes, 3, "nothing was said again");
        follower.until("all is confirmed", |f| f.source.saved_age().is_none());
        assert!(
            ours.lists("") == asked || ours.0.forgets(),
            "{} lists",
            ours.lists("") - asked
        );
    }
}

#[test]
fn a_saved_version_that_is_forgotten_is_listed_again() {
    let (ours, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    drop(follower);
    ours.delete("services", "web");
    ours.apply(service("db", 5432));
    ours.0.forget().unwrap();
    let lists = ours.lists("services");
    let mut follower = saving(&ours, &state);
    follower.until("the saved state", |f| f.store.synced());
    follower.catch_up(&ours);
    assert!(ours.lists("services") > lists);
    drop(follower);
    ours.shut();
    let mut follower = saving(&ours, &state);
    follower.until("what the list said was saved, too", |f| f.store.synced());
    assert_eq!(follower.objects, truth(&ours));
}

#[test]
fn a_saved_state_is_confirmed_also_when_less_is_needed_than_it_has() {
    let (ours, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    ours.apply(policy("apps", &pods_of_app()));
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    drop(follower);
    ours.delete("networkpolicies", "apps");
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    follower.until("all is confirmed", |f| f.source.saved_age().is_none());
    drop(follower);
    ours.shut();
    let mut follower = saving(&ours, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(
        follower.objects,
        truth(&ours),
        "pods of other nodes are in it only if somebody else's policy names pods"
    );
}

#[test]
fn nothing_of_another_cluster_is_served() {
    let (one, other, folder) = (server(), server(), Folder::new());
    let state = folder.path("cluster");
    let mut follower = saving(&one, &state);
    follower.catch_up(&one);
    drop(follower);
    other.shut();
    // The node is called the same there; only the authority differs.
    let mut follower = Follower::with(&other, |cluster: &mut Cluster| {
        (cluster.state, cluster.node) = (Some(state), one.0.names().of(NODE));
    });
    follower.until("nobody answers", |f| !f.problems.is_empty());
    assert!(!follower.store.synced() && follower.store.services().count() == 0);
    other.open();
    follower.until("it is listed", |f| f.store.synced());
}

#[test]
fn of_a_damaged_state_nothing_is_served() {
    let (ours, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    drop(follower);
    let text = std::fs::read_to_string(&state).unwrap();
    let damaged = text.replacen("198.18.1.5", "198.18.1.6", 1);
    assert_ne!(damaged, text);
    std::fs::write(&state, damaged).unwrap();
    ours.shut();
    let mut follower = saving(&ours, &state);
    follower.until("nobody answers", |f| !f.problems.is_empty());
    assert!(!follower.store.synced() && follower.changes == 0);
    ours.open();
    follower.catch_up(&ours);
}
