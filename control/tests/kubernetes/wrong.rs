//! Objects with mistakes, which only the stand-in takes.

use super::cluster::{Folder, Follower, server};
use super::objects::{pods_of_app, policy, service};
use super::restart::saving;
use serde_json::json;
use sluice_apiserver::site::Site;
use sluice_control::model::Kind;

/// Any other server would refuse such an object, or drop what it does not know of it; a later one may have fields that say more.
fn takes_anything(site: &Site) {
    site.stand_in();
}

#[test]
fn faulty_objects_are_told_and_the_rest_is_served() {
    let ours = server();
    takes_anything(&ours.0);
    let mut follower = Follower::of(&ours);
    follower.catch_up(&ours);
    let mut bad = service("web", 80);
    bad["spec"]["ports"][0]["port"] = json!(0);
    ours.apply(bad);
    ours.apply(service("db", 5432));
    follower.until("a good one beside it", |f| {
        f.count(Kind::Service) == 2 && !f.problems.is_empty()
    });
    let told = follower.told();
    let service_of = format!("Service {}/web", ours.0.names().of("default"));
    assert!(
        told.starts_with(&format!("{service_of}, spec.ports[0].port: ")),
        "{told}"
    );
    assert!(told.ends_with("the last good version stays in force"), "{told}");
    ours.apply(service("web", 81));
    follower.catch_up(&ours);
    assert_eq!(follower.told(), "");
    assert!(follower.knows(Kind::Service, "web") && follower.knows(Kind::EndpointSlice, "web-1"));
}

#[test]
fn a_faulty_policy_allows_no_more_after_a_restart() {
    let (ours, folder) = (server(), Folder::new());
    takes_anything(&ours.0);
    let state = folder.path("cluster");
    // Without the unknown field the rule would let everybody in.
    let mut misspelt = policy("misspelt", &pods_of_app());
    misspelt["spec"]["ingress"] = json!([{"form": [{"podSelector": {}}]}]);
    ours.apply(misspelt);
    let mut follower = saving(&ours, &state);
    follower.catch_up(&ours);
    let (before, told) = (follower.objects.clone(), follower.told());
    assert!(told.contains("form"), "{told}");
    drop(follower);
    ours.shut();
    let mut follower = saving(&ours, &state);
    follower.until("the saved state", |f| f.store.synced());
    assert_eq!(follower.objects, before);
    assert!(follower.told().contains("form"), "{}", follower.told());
}
