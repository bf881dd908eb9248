//! Policies of a kind that is there while its definition is, which is the whole cluster's.

use super::cluster::{CLUSTER_POLICIES as PLURAL, Folder, Follower, Ours, server, truth};
use super::objects::{DEFINITION, cluster_policy, definition, pods_of_app, policy};
use super::restart::saving;
use sluice_apiserver::{Denial, Fault, Rule, site};
use sluice_control::model::Kind;

fn define(ours: &Ours) {
    ours.0.stand_in().apply(definition()).unwrap();
}

fn undefine(ours: &Ours) {
    let stand_in = ours.0.stand_in();
    stand_in.delete("customresourcedefinitions", None, DEFINITION);
}

fn make(ours: &Ours, name: &str) {
    let policy = cluster_policy(&ours.0.names().of(name));
    ours.0.stand_in().apply(policy).unwrap();
}

fn unmake(ours: &Ours, name: &str) {
    ours.0.stand_in().delete(PLURAL, None, &ours.0.names().of(name));
}

fn policies(follower: &Follower) -> usize {
    follower.store.cluster_policies().count()
}

fn pods(follower: &Follower) -> usize {
    follower.count(Kind::Pod)
}

fn asked(ours: &Ours) -> u64 {
    ours.requests("watch", PLURAL) + ours.lists(PLURAL)
}

#[test]
fn a_server_without_cluster_policies_holds_nothing_up_and_nobody_is_told() {
    for streamed in site::modes() {
        let ours = server();
        ours.front().watch_list(*streamed);
        let mut follower = Follower::of(&ours);
        follower.catch_up(&ours);
        follower.until("nothing is missing", |f| f.source.missing().is_empty());
        assert_eq!(follower.told(), "");
        assert_eq!(pods(&follower), 1, "nor are pods of other nodes needed");
    }
}

#[test]
fn cluster_policies_come_with_their_definition_and_go_with_it() {
    for streamed in site::modes() {
        let ours = server();
        ours.front().watch_list(*streamed);
        let mut follower = Follower::of(&ours);
        follower.catch_up(&ours);
        for _ in 0..2 {
            define(&ours);
            make(&ours, "one");
            follower.catch_up(&ours);
            assert_eq!((policies(&follower), pods(&follower)), (1, 2));
            make(&ours, "two");
            unmake(&ours, "one");
            follower.catch_up(&ours);
            assert_eq!(policies(&follower), 1);
            undefine(&ours);
            follower.catch_up(&ours);
            assert_eq!((policies(&follower), pods(&follower)), (0, 1));
        }
        assert_eq!(follower.told(), "");
    }
}

#[test]
fn a_first_complete_state_has_cluster_policies_and_the_pods_that_they_name() {
    let ours = server();
    define(&ours);
    make(&ours, "one");
    let mut follower = Follower::of(&ours);
    follower.until("a first complete state", |f| f.store.synced());
    assert_eq!(follower.objects, truth(&ours), "at that moment");
    assert_eq!((policies(&follower), pods(&follower)), (1, 2));
}

#[test]
fn pods_of_other_nodes_are_needed_while_either_kind_of_policy_names_pods() {
    let ours = server();
    define(&ours);
    make(&ours, "one");
    ours.apply(policy("apps", &pods_of_app()));
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    ours.delete("networkpolicies", "apps");
    follower.catch_up(&ours);
    assert_eq!(pods(&follower), 2);
    unmake(&ours, "one");
    follower.catch_up(&ours);
    assert_eq!(pods(&follower), 1);
}

#[test]
fn access_that_is_forbidden_is_told_with_its_rule_and_nothing_is_served() {
    let ours = server();
    define(&ours);
    for verb in ["list", "watch"] {
        ours.0.stand_in().deny(Denial::of(verb, PLURAL));
    }
    let mut follower = Follower::of(&ours);
    follower.until("all else", |f| f.source.missing() == [PLURAL] && !f.problems.is_empty());
    assert!(!follower.store.synced(), "nobody knows what they deny");
    let rule = "{apiGroups: [\"policy.networking.k8s.io\"], resources: [clusternetworkpolicies], verbs: [list, watch]}";
    assert!(follower.told().contains(rule), "{}", follower.told());
}

#[test]
fn one_answer_that_they_are_not_served_takes_none_away() {
    let ours = server();
    define(&ours);
    make(&ours, "one");
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    let (changes, before) = (follower.changes, asked(&ours));
    let answer = Fault::Answer {
        code: 404,
        retry_after: None,
    };
    ours.front().fault(Rule::of(answer).on(PLURAL).times(2));
    ours.front().lines().close_all();
    follower.until("it is followed again", |_| asked(&ours) >= before + 3);
    make(&ours, "two");
    follower.catch_up(&ours);
    assert_eq!(follower.changes, changes + 1);
}

#[test]
fn a_restart_serves_saved_cluster_policies_and_learns_that_they_are_gone() {
    let (ours, folder) = (server(), Folder::new());
    let state = folder.path("cluster");
    define(&ours);
    make(&ours, "one");
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    let before = truth(&ours);
    drop(follower);
    ours.shut();
    let mut follower = saving(&ours, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(follower.objects, before);
    drop(follower);
    undefine(&ours);
    ours.open();
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    assert_eq!(policies(&follower), 0);
    follower.until("all is confirmed", |f| f.source.saved_age().is_none());
    drop(follower);
    // That they are not there is part of a complete state, too.
    ours.shut();
    let mut follower = saving(&ours, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(follower.objects, truth(&ours));
}
