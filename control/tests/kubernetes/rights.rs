//! What is forbidden, and what that holds up.

use super::cluster::{Follower, server};
use super::objects::{pods_of_app, policy};
use sluice_apiserver::site;

#[test]
fn a_kind_that_is_forbidden_is_told_with_the_rule_that_grants_it() {
    let ours = server();
    ours.0.deny("networkpolicies").unwrap();
    let mut follower = Follower::of(&ours);
    follower.until("a refusal", |f| f.told().contains("forbidden"));
    follower.until("all else", |f| f.source.missing() == ["networkpolicies"]);
    assert!(!follower.store.synced(), "nobody knows whom policies isolate");
    let told = follower.told();
    assert!(
        told.starts_with("API server, networkpolicies: networkpolicies.networking.k8s.io is forbidden: "),
        "{told}"
    );
    let rule = r#"{apiGroups: ["networking.k8s.io"], resources: [networkpolicies], verbs: [list, watch]}"#;
    assert!(told.ends_with(rule), "{told}");
    ours.0.grant("networkpolicies").unwrap();
    follower.catch_up(&ours);
    assert_eq!(follower.told(), "");
}

#[test]
fn what_is_missing_and_not_needed_any_more_holds_nothing_up() {
    let ours = server();
    if ours.names_pods() {
        site::not_tried("pods that are not needed any more, as policies of others name pods");
        return;
    }
    ours.0.deny("networkpolicies").unwrap();
    let mut follower = Follower::of(&ours);
    follower.until("all but policies", |f| f.source.missing() == ["networkpolicies"]);
    // From now on nobody may ask for pods; who asked before still hears of them.
    ours.0.deny("pods").unwrap();
    ours.apply(policy("apps", &pods_of_app()));
    ours.0.grant("networkpolicies").unwrap();
    follower.until("a policy that needs them", |f| {
        f.source.missing() == ["pods of other nodes"]
    });
    follower.until("a refusal", |f| f.told().contains("pods is forbidden"));
    assert!(!follower.store.synced());
    ours.delete("networkpolicies", "apps");
    follower.catch_up(&ours);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
}
