//! Lists and single objects: kinds, versions, shapes.

use super::client::{get, send};
use super::objects::{Place, number, version};
use serde_json::json;

#[test]
fn a_list_has_the_kind_of_its_items_and_the_version_of_the_whole() {
    let place = Place::new();
    let made = place.map("a", &json!({}));
    let list = place.get("configmaps").json();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("ConfigMapList"), Some("v1"))
    );
    assert!(number(&list) >= number(&made));
    let items = list["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["metadata"]["name"] == "a").unwrap();
    assert!(item["metadata"]["uid"].is_string() && item["metadata"]["creationTimestamp"].is_string());
    let one = place.get("configmaps/a").json();
    assert_eq!(
        (one["kind"].as_str(), one["metadata"]["name"].as_str()),
        (Some("ConfigMap"), Some("a"))
    );
    assert_eq!(version(&one), version(&made));
    let none = get(place.to, &place.path_of("networking.k8s.io", "networkpolicies")).json();
    assert_eq!(
        (none["kind"].as_str(), &none["items"]),
        (Some("NetworkPolicyList"), &json!([]))
    );
}

#[test]
fn metadata_alone_is_had_by_the_accept_header() {
    let place = Place::new();
    place.map("a", &json!({"x": "y"}));
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    let path = place.path("configmaps?labelSelector=x");
    let list = send(place.to, "GET", &path, &[("Accept", accept)], "").json();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("PartialObjectMetadataList"), Some("meta.k8s.io/v1"))
    );
    let item = &list["items"][0];
    assert_eq!(
        (item["kind"].as_str(), item["apiVersion"].as_str()),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io/v1"))
    );
    assert!(item["data"].is_null() && item["metadata"]["labels"]["x"] == "y");
    let unknown = send(place.to, "GET", &path, &[("Accept", "application/x-unknown")], "");
    assert_eq!(unknown.code, 406);
}

#[test]
fn versions_bind_a_list_exactly_or_from_below() {
    let place = Place::new();
    for name in ["a", "b"] {
        place.map(name, &json!({"own": "yes"}));
    }
    let then = place.version("configmaps");
    assert!(place.site.delete("configmaps", "a").unwrap());
    let list = |query: &str| place.get(&format!("configmaps?labelSelector=own&{query}"));
    let names = |query: &str| list(query).names();
    assert_eq!(
        names(&format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan")),
        ["b"]
    );
    assert_eq!(names(""), ["b"]);
    assert!(list("resourceVersion=0").code == 200);
    if !place.site.forgets() {
        assert_eq!(
            names(&format!("resourceVersion={then}&resourceVersionMatch=Exact")),
            ["a", "b"]
        );
    }
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Nearly&resourceVersion=5",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=abc",
    ] {
        let refused = list(query);
        assert_eq!(
            (refused.code, refused.json()["reason"].as_str()),
            (422, Some("Invalid")),
            "{query}"
        );
    }
    let refused = list("limit=x");
    assert_eq!(
        (refused.code, refused.json()["reason"].as_str()),
        (400, Some("BadRequest"))
    );
    // Versions of the server differ in whose fault it is.
    assert!(matches!(list("resourceVersion=x").code, 400 | 422));
}

#[test]
fn a_version_that_is_not_there_yet_is_waited_for_and_then_refused_with_its_cause() {
    let place = Place::new();
    let refused = place.get("configmaps?resourceVersion=4611686018427387904&resourceVersionMatch=NotOlderThan");
    let status = refused.json();
    assert_eq!((refused.code, status["reason"].as_str()), (504, Some("Timeout")));
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("Timeout: Too large resource version: 4611686018427387904, current: "),
        "{message}"
    );
}
