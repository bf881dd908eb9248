//! What holds objects that are to go: kubelets, finalizers, preconditions, namespaces.

use super::client::{Stream, patch, post, send};
use super::objects::{Place, map, pod, version};
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
fn a_pod_is_seen_to_leave_before_it_is_gone() {
    let place = Place::new();
    let made = place.make("pods", &pod(&place, "a", "n1"));
    let path = place.path(&format!("pods?watch=1&resourceVersion={}", version(&made)));
    let mut stream = Stream::watch(place.to, &path);
    assert!(place.site.delete("pods", "a").unwrap());
    let leaving = stream.event().unwrap();
    assert_eq!(
        (
            leaving["type"].as_str(),
            &leaving["object"]["metadata"]["deletionGracePeriodSeconds"]
        ),
        (Some("MODIFIED"), &json!(0))
    );
    assert!(leaving["object"]["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(stream.short(), "DELETED a");
}

#[test]
fn a_namespace_takes_nothing_any_more_once_it_is_on_its_way() {
    let place = Place::new();
    let name = place.site.names().of("default");
    let gone = send(place.to, "DELETE", &format!("/api/v1/namespaces/{name}"), &[], "");
    assert_eq!(
        (gone.code, gone.json()["kind"].as_str()),
        (200, Some("Namespace")),
        "{}",
        gone.text
    );
    assert_eq!(gone.json()["status"]["phase"], "Terminating");
    assert!(gone.json()["metadata"]["deletionTimestamp"].is_string());
    // Until a controller has emptied it, or then not at all.
    let late = post(place.to, &place.path("configmaps"), &map("late", &json!({})));
    assert!(matches!(late.code, 403 | 404), "{}", late.text);
}

#[test]
fn finalizers_hold_what_they_hold() {
    let place = Place::new();
    let mut object = map("m", &json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/held"]);
    place.make("configmaps", &object);
    let path = place.path("configmaps/m");
    let held = send(place.to, "DELETE", &path, &[], "");
    assert_eq!((held.code, held.json()["kind"].as_str()), (200, Some("ConfigMap")));
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
    let refused = send(
        place.to,
        "DELETE",
        &path,
        &[("Content-Type", "application/json")],
        &wrong,
    );
    assert_eq!(
        (refused.code, refused.json()["reason"].as_str()),
        (409, Some("Conflict"))
    );
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
