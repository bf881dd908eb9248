use super::cluster::{Folder, Follower, server, truth};
use super::objects::{DEFINITION, cluster_policy, definition, pods_of_app, policy};
use sluice_apiserver::{Denial, Fault, Rule, Server};
use sluice_control::source::Cluster;
use std::path::Path;

const PLURAL: &str = "clusternetworkpolicies";

fn saving(server: &Server, state: &Path) -> Follower {
    let state = state.to_owned();
    Follower::with(server, |cluster: &mut Cluster| cluster.state = Some(state))
}

fn policies(follower: &Follower) -> usize {
    follower.store.cluster_policies().count()
}

fn asked(server: &Server) -> u64 {
    server.counters().requests("watch", PLURAL) + server.counters().requests("list", PLURAL)
}

#[test]
fn a_server_without_cluster_policies_holds_nothing_up_and_nobody_is_told() {
    for streamed in [true, false] {
        let server = server();
        server.watch_list(streamed);
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        follower.until("nothing is missing", |f| f.source.missing().is_empty());
        assert_eq!(follower.told(), "");
        assert_eq!(follower.store.pods().count(), 1, "nor are pods of other nodes needed");
    }
}

#[test]
fn cluster_policies_come_with_their_definition_and_go_with_it() {
    for streamed in [true, false] {
        let server = server();
        server.watch_list(streamed);
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        for _ in 0..2 {
            server.apply(definition()).unwrap();
            server.apply(cluster_policy("one")).unwrap();
            follower.catch_up(&server);
            assert_eq!((policies(&follower), follower.store.pods().count()), (1, 2));
            server.apply(cluster_policy("two")).unwrap();
            server.delete(PLURAL, None, "one");
            follower.catch_up(&server);
            assert_eq!(policies(&follower), 1);
            server.delete("customresourcedefinitions", None, DEFINITION);
            follower.catch_up(&server);
            assert_eq!((policies(&follower), follower.store.pods().count()), (0, 1));
        }
        assert_eq!(follower.told(), "");
    }
}

#[test]
fn a_first_complete_state_has_cluster_policies_and_the_pods_that_they_name() {
    let server = server();
    server.apply(definition()).unwrap();
    server.apply(cluster_policy("one")).unwrap();
    let mut follower = Follower::of(&server);
    follower.until("a first complete state", |f| f.store.synced());
    assert_eq!(follower.objects, truth(&server), "at that moment");
    assert_eq!((policies(&follower), follower.store.pods().count()), (1, 2));
}

#[test]
fn pods_of_other_nodes_are_needed_while_either_kind_of_policy_names_pods() {
    let server = server();
    server.apply(definition()).unwrap();
    server.apply(cluster_policy("one")).unwrap();
    server.apply(policy("apps", &pods_of_app())).unwrap();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    server.delete("networkpolicies", Some("default"), "apps");
    follower.catch_up(&server);
    assert_eq!(follower.store.pods().count(), 2);
    server.delete(PLURAL, None, "one");
    follower.catch_up(&server);
    assert_eq!(follower.store.pods().count(), 1);
}

#[test]
fn access_that_is_forbidden_is_told_with_its_rule_and_nothing_is_served() {
    let server = server();
    server.apply(definition()).unwrap();
    for verb in ["list", "watch"] {
        server.deny(Denial::of(verb, PLURAL));
    }
    let mut follower = Follower::of(&server);
    follower.until("all else", |f| f.source.missing() == [PLURAL] && !f.problems.is_empty());
    assert!(!follower.store.synced(), "nobody knows what they deny");
    let rule = "{apiGroups: [\"policy.networking.k8s.io\"], resources: [clusternetworkpolicies], verbs: [list, watch]}";
    assert!(follower.told().contains(rule), "{}", follower.told());
}

#[test]
fn one_answer_that_they_are_not_served_takes_none_away() {
    let server = server();
    server.apply(definition()).unwrap();
    server.apply(cluster_policy("one")).unwrap();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    let (changes, before) = (follower.changes, asked(&server));
    let answer = Fault::Answer {
        code: 404,
        retry_after: None,
    };
    server.fault(Rule::of(answer).on(PLURAL).times(2));
    server.lines().close_all();
    follower.until("it is followed again", |_| asked(&server) >= before + 3);
    server.apply(cluster_policy("two")).unwrap();
    follower.catch_up(&server);
    assert_eq!(follower.changes, changes + 1);
}

#[test]
fn a_restart_serves_saved_cluster_policies_and_learns_that_they_are_gone() {
    let (server, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    server.apply(definition()).unwrap();
    server.apply(cluster_policy("one")).unwrap();
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    let before = truth(&server);
    drop(follower);
    server.lines().refuse(true);
    let mut follower = saving(&server, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(follower.objects, before);
    drop(follower);
    server.delete("customresourcedefinitions", None, DEFINITION);
    server.lines().refuse(false);
    let mut follower = saving(&server, &state);
    follower.catch_up(&server);
    assert_eq!(policies(&follower), 0);
    follower.until("all is confirmed", |f| f.source.saved_age().is_none());
    drop(follower);
    // That they are not there is part of a complete state, too.
    server.lines().refuse(true);
    let mut follower = saving(&server, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(follower.objects, truth(&server));
}
