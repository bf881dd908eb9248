//! Streams of changes: where they begin, what they say, how they end.

use super::client::{Stream, get, patch};
use super::objects::{Place, map, number, version};
use serde_json::{Value, json};
use sluice_apiserver::site;

const MERGE: &str = "application/merge-patch+json";
const INITIAL: &str = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

fn watch(place: &Place, query: &str) -> Stream {
    Stream::watch(
        place.to,
        &place.path(&format!("configmaps?watch=1&labelSelector=own&{query}")),
    )
}

fn own(place: &Place, name: &str) -> Value {
    place.map(name, &json!({"own": "yes"}))
}

fn label(place: &Place, name: &str, labels: &Value) -> Value {
    let change = json!({"metadata": {"labels": labels}});
    patch(place.to, &place.path(&format!("configmaps/{name}")), MERGE, &change).json()
}

#[test]
fn a_watch_from_a_version_has_what_came_after_it_and_no_more() {
    let place = Place::new();
    own(&place, "a");
    let then = place.version("configmaps");
    own(&place, "b");
    let mut stream = watch(&place, &format!("resourceVersion={then}"));
    assert_eq!(stream.short(), "ADDED b");
    let changed = label(&place, "a", &json!({"x": "1"}));
    let event = stream.event().unwrap();
    assert_eq!(
        (event["type"].as_str(), version(&event["object"])),
        (Some("MODIFIED"), version(&changed))
    );
    assert_eq!(
        (event["object"]["kind"].as_str(), event["object"]["apiVersion"].as_str()),
        (Some("ConfigMap"), Some("v1"))
    );
    assert!(place.site.delete("configmaps", "a").unwrap());
    let gone = stream.event().unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert!(
        number(&gone["object"]) > number(&changed),
        "it has the version of its end"
    );
    assert_eq!(gone["object"]["metadata"]["labels"]["x"], "1");
}

#[test]
fn a_watch_without_a_version_or_with_any_begins_with_what_is_there() {
    let place = Place::new();
    own(&place, "a");
    for query in ["", "resourceVersion=", "resourceVersion=0"] {
        assert_eq!(watch(&place, query).short(), "ADDED a", "{query}");
    }
}

#[test]
fn an_object_that_leaves_or_enters_the_selection_is_deleted_or_added() {
    let place = Place::new();
    own(&place, "a");
    let then = place.version("configmaps");
    let mut stream = watch(&place, &format!("resourceVersion={then}"));
    let changed = label(&place, "a", &json!({"own": null, "x": "1"}));
    let left = stream.event().unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(
        left["object"]["metadata"]["labels"],
        json!({"own": "yes"}),
        "as it was when it was selected"
    );
    assert_eq!(version(&left["object"]), version(&changed));
    let back = label(&place, "a", &json!({"own": "again"}));
    let event = stream.event().unwrap();
    assert_eq!(
        (event["type"].as_str(), version(&event["object"])),
        (Some("ADDED"), version(&back))
    );
}

#[test]
fn an_object_that_is_made_again_is_another_one() {
    let place = Place::new();
    let first = own(&place, "a");
    let mut stream = watch(&place, &format!("resourceVersion={}", version(&first)));
    assert!(place.site.delete("configmaps", "a").unwrap());
    let second = own(&place, "a");
    let events = [stream.event().unwrap(), stream.event().unwrap()];
    let uids = events
        .each_ref()
        .map(|event| event["object"]["metadata"]["uid"].clone());
    assert_eq!(
        events.map(|event| event["type"].clone()),
        [json!("DELETED"), json!("ADDED")]
    );
    assert_eq!(
        uids,
        [first["metadata"]["uid"].clone(), second["metadata"]["uid"].clone()]
    );
    assert_ne!(uids[0], uids[1]);
}

#[test]
fn initial_events_end_with_a_marked_bookmark() {
    let place = Place::new();
    let made = own(&place, "a");
    let path = place.path(&format!("configmaps?{INITIAL}&labelSelector=own"));
    if !site::modes()[0] {
        site::not_tried("initial events, which it does not have");
        return;
    }
    let mut stream = Stream::watch(place.to, &path);
    assert_eq!(stream.short(), "ADDED a");
    let end = stream.event().unwrap();
    let object = &end["object"];
    assert_eq!(
        (
            end["type"].as_str(),
            object["kind"].as_str(),
            object["apiVersion"].as_str()
        ),
        (Some("BOOKMARK"), Some("ConfigMap"), Some("v1"))
    );
    assert_eq!(
        object["metadata"]["annotations"],
        json!({"k8s.io/initial-events-end": "true"})
    );
    assert!(number(object) >= number(&made) && object["metadata"]["name"].as_str().is_none_or(str::is_empty));
    own(&place, "b");
    assert_eq!(stream.short(), "ADDED b");
}

#[test]
fn initial_events_need_their_match_and_a_server_that_has_them() {
    let place = Place::new();
    let without = get(place.to, &place.path("configmaps?watch=1&sendInitialEvents=true"));
    assert_eq!(
        (without.code, without.json()["reason"].as_str()),
        (422, Some("Invalid"))
    );
    let without = get(
        place.to,
        &place.path("configmaps?watch=1&resourceVersion=1&resourceVersionMatch=NotOlderThan"),
    );
    assert_eq!(without.code, 422);
    place.site.front().watch_list(false);
    let refused = get(place.to, &place.path(&format!("configmaps?{INITIAL}")));
    let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for \
                   watch unless the WatchList feature gate is enabled";
    assert_eq!((refused.code, refused.json()["message"].as_str()), (422, Some(message)));
    if !site::modes()[0] {
        place.site.front().watch_list(true);
        let (code, status) = place.site.get(&place.path(&format!("configmaps?{INITIAL}"))).unwrap();
        assert_eq!(
            (code, status["message"].as_str()),
            (422, Some(message)),
            "the server itself says the same"
        );
    }
}

#[test]
fn a_stream_tells_its_version_before_its_time_is_over_and_ends_well() {
    let place = Place::new();
    let then = place.version("configmaps");
    let query = format!("resourceVersion={then}&allowWatchBookmarks=true&timeoutSeconds=4");
    let mut stream = watch(&place, &query);
    let other = place.map("other", &json!({}));
    let mut last = None;
    while let Some(event) = stream.event() {
        assert_eq!(event["type"], "BOOKMARK");
        last = Some(number(&event["object"]));
    }
    assert!(!stream.cut, "a time that is over is a clean end");
    // Where nothing is kept in a cache, nothing is known of others' changes.
    if !place.site.forgets() {
        assert!(last.is_some_and(|last| last >= number(&other)), "{last:?}");
    }
}

#[test]
fn a_stream_of_metadata_has_nothing_else() {
    let place = Place::new();
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut object = map("a", &json!({"own": "yes"}));
    object["data"] = json!({"k": "v"});
    place.make("configmaps", &object);
    let path = place.path("configmaps?watch=1&labelSelector=own");
    let mut stream = Stream::open(place.to, "GET", &path, &[("Accept", accept)], "");
    let event = stream.event().unwrap();
    assert_eq!(
        (event["object"]["kind"].as_str(), event["object"]["apiVersion"].as_str()),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io/v1"))
    );
    assert!(event["object"]["data"].is_null() && event["object"]["metadata"]["labels"]["own"] == "yes");
}

#[test]
fn a_forgotten_version_is_gone_as_an_event_or_as_an_answer() {
    let place = Place::new();
    let then = place.version("services");
    if place.site.forgets() || !site::is_real() {
        own(&place, "a");
        place.site.forget().unwrap();
    }
    // Whether another server has forgotten the first of all versions is its affair; how it says so is not.
    let version = if place.site.forgets() || !site::is_real() {
        then
    } else {
        "1".into()
    };
    let answer = get(
        place.to,
        &format!("/api/v1/services?watch=1&resourceVersion={version}&timeoutSeconds=1"),
    );
    let first = answer.text.lines().next().unwrap_or("{}").to_owned();
    let first: Value = serde_json::from_str(&first).unwrap();
    let status = if answer.code == 200 { &first["object"] } else { &first };
    if first["type"] == "ERROR" || answer.code != 200 {
        assert_eq!(
            (&status["kind"], &status["code"], &status["status"]),
            (&json!("Status"), &json!(410), &json!("Failure"))
        );
        assert!(
            matches!(status["reason"].as_str(), Some("Expired" | "Gone")),
            "{status}"
        );
    } else {
        assert!(site::is_real() && !place.site.forgets(), "{first}");
        site::not_tried("a forgotten version, as it remembers the first one");
    }
}
