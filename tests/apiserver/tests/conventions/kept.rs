use super::client::{patch, send};
use super::objects::{Place, map, pod};
use serde_json::json;

const MERGE: &str = "application/merge-patch+json";

#[test]
fn a_pod_on_a_node_waits_for_its_kubelet() {
    let place = Place::new();
    place.make("pods", &pod(&place, "a", "n1"));
    let path = place.path("pods/a");
    let leaving = send(place.to, "DELETE", &path, &[], "");
    assert_eq!(leaving.code, 200);
    let leaving = leaving.json();
    assert_eq!(leaving["kind"], "Pod");
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(place.get("pods/a").code, 200);
    let gone = send(place.to, "DELETE", &format!("{path}?gracePeriodSeconds=0"), &[], "");
    assert_eq!((gone.code, gone.json()["kind"].as_str()), (200, Some("Pod")));
    assert_eq!(place.get("pods/a").code, 404);
}

#[test]
fn finalizers_hold_what_they_hold() {
    let place = Place::new();
    let mut object = map("m", &json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/held"]);
    place.make("configmaps", &object);
    let path = place.path("configmaps/m");
    let held = send(place.to, "DELETE", &path, &[], "");
    assert!(held.json()["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(place.get("configmaps/m").code, 200);
    patch(place.to, &path, MERGE, &json!({"metadata": {"finalizers": null}}));
    assert_eq!(place.get("configmaps/m").code, 404);
}

#[test]
fn a_deletion_answers_with_a_status_and_minds_its_preconditions() {
    let place = Place::new();
    let made = place.map("n", &json!({}));
    let path = place.path("configmaps/n");
    let wrong = json!({"preconditions": {"uid": "another"}}).to_string();
    let refused = send(place.to, "DELETE", &path, &[("Content-Type", "application/json")], &wrong);
    assert_eq!((refused.code, refused.json()["reason"].as_str()), (409, Some("Conflict")));
    let gone = send(place.to, "DELETE", &path, &[], "").json();
    assert_eq!(
        (gone["kind"].as_str(), gone["status"].as_str()),
        (Some("Status"), Some("Success"))
    );
    assert_eq!(gone["details"]["name"], "n");
    assert_eq!(gone["details"]["kind"], "configmaps");
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let place = Place::new();
    place.map("a", &json!({"k": "v"}));
    place.map("b", &json!({}));
    let gone = send(place.to, "DELETE", &place.path("configmaps?labelSelector=k"), &[], "");
    assert_eq!((gone.code, gone.names()), (200, vec!["a".to_owned()]));
    assert_eq!(place.get("configmaps/a").code, 404);
    assert_eq!(place.get("configmaps/b").code, 200);
}
