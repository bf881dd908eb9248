//! Connections that break, stall or are silent, and servers that are away or forget.

use super::cluster::{Follower, server};
use super::objects::{service, slice};
use sluice_apiserver::{Fault, Rule, site};
use sluice_control::model::Kind;
use sluice_control::source::Cluster;
use std::time::{Duration, Instant};

#[test]
fn a_broken_stream_goes_on_where_it_was_without_a_list() {
    for streamed in site::modes() {
        let ours = server();
        ours.front().watch_list(*streamed);
        let mut follower = Follower::of(&ours);
        follower.catch_up(&ours);
        let before = (ours.lists(""), ours.requests("watch", "services"));
        ours.shut();
        follower.until("nobody answers", |f| f.told().contains("tried again"));
        ours.apply(service("more", 80));
        ours.delete("services", "web");
        ours.open();
        let changes = follower.changes;
        follower.catch_up(&ours);
        if !ours.0.forgets() {
            assert_eq!((ours.lists(""), follower.changes - changes), (before.0, 2));
            assert_eq!(ours.requests("watch", "services"), before.1 + 1);
        }
    }
}

#[test]
fn what_was_deleted_while_nobody_listened_is_found_by_the_list_after_a_forgotten_version() {
    for streamed in site::modes() {
        let ours = server();
        ours.front().watch_list(*streamed);
        let mut follower = Follower::of(&ours);
        follower.catch_up(&ours);
        ours.shut();
        ours.delete("services", "web");
        ours.delete("pods", "web");
        ours.apply(service("db", 5432));
        ours.apply(slice("db", &["198.18.1.8"]));
        let lists = (ours.lists("services"), ours.requests("list", "services"));
        ours.0.forget().unwrap();
        ours.open();
        follower.catch_up(&ours);
        assert!(!follower.knows(Kind::Service, "web") && follower.knows(Kind::Service, "db"));
        assert!(ours.lists("services") > lists.0);
        assert_eq!(ours.requests("list", "services") > lists.1, !streamed);
    }
}

#[test]
fn a_server_that_is_away_leaves_what_is_known_and_is_found_again() {
    let ours = server();
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    let heard = follower.source.last_heard().unwrap();
    ours.shut();
    follower.until("nobody answers", |f| f.told().contains("it is tried again"));
    follower.until("no more than that is told", |f| {
        f.problems.keys().all(|origin| origin.starts_with("API server"))
    });
    let origin = format!("API server {}/", ours.front().url());
    assert_eq!(
        follower.problems[&origin].len(),
        1,
        "once, not for each kind: {}",
        follower.told()
    );
    assert_eq!(follower.count(Kind::Service), 1);
    ours.apply(service("db", 5432));
    ours.open();
    follower.catch_up(&ours);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
    assert!(follower.source.last_heard().unwrap() > heard);
}

#[test]
fn a_connection_that_is_silent_for_too_long_is_given_up() {
    let ours = server();
    // A machine that is busy with other tests may stand still for a moment.
    let silence = Duration::from_secs(3);
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| cluster.silence = silence);
    follower.catch_up(&ours);
    ours.front().lines().half_open(true);
    ours.apply(service("db", 5432));
    follower.until("it is noticed", |f| f.told().contains("must be dead"));
    assert!(!follower.knows(Kind::Service, "db"));
    ours.front().lines().half_open(false);
    follower.catch_up(&ours);
}

#[test]
fn a_stream_that_stalls_is_asked_for_again_and_loses_nothing() {
    let ours = server();
    let silence = Duration::from_secs(3);
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| cluster.silence = silence);
    follower.catch_up(&ours);
    ours.front().fault(Rule::of(Fault::Stall).on("services"));
    ours.apply(service("db", 5432));
    ours.delete("services", "web");
    follower.until("it is noticed", |f| f.told().contains("must be dead"));
    assert!(!follower.knows(Kind::Service, "db"));
    ours.front().faults().clear();
    follower.catch_up(&ours);
}

#[test]
fn a_quiet_connection_with_bookmarks_is_kept() {
    let ours = server();
    let silence = Duration::from_secs(3);
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| cluster.silence = silence);
    follower.catch_up(&ours);
    let before = ours.requests("watch", "services");
    let deadline = Instant::now() + silence + silence / 3;
    while Instant::now() < deadline {
        ours.0.stand_in().bookmark();
        std::thread::sleep(silence / 10);
    }
    assert_eq!(ours.requests("watch", "services"), before);
}

#[test]
fn a_server_that_went_back_is_listed_again() {
    let ours = server();
    let version = ours.0.stand_in().version();
    for port in 1..5 {
        ours.apply(service("lost", port));
    }
    let silence = Duration::from_millis(400);
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| cluster.silence = silence);
    follower.catch_up(&ours);
    ours.0.stand_in().restore(version);
    ours.apply(service("after", 1));
    // It says nothing of what is older than what it is asked for.
    follower.catch_up(&ours);
}
