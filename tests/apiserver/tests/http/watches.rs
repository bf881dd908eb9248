use super::client::{Stream, get};
use super::{pod, server};
use serde_json::json;
use sluice_apiserver::{Server, Settings};

#[test]
fn a_watch_from_a_version_has_what_came_after_it_and_no_more() {
    let server = server();
    server.apply(pod("a", json!({}))).unwrap();
    let then = server.version();
    server.apply(pod("b", json!({}))).unwrap();
    let mut watch = Stream::watch(
        server.address(),
        &format!("/api/v1/pods?watch=1&resourceVersion={then}"),
    );
    assert_eq!(watch.short(), "ADDED b");
    server.apply(pod("a", json!({"x": "1"}))).unwrap();
    assert_eq!(watch.short(), "MODIFIED a");
    server.delete("pods", Some("default"), "b");
    let gone = watch.event().unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(
        gone["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
}

#[test]
fn a_watch_without_a_version_or_with_any_begins_with_what_is_there() {
    let server = server();
    server.apply(pod("a", json!({}))).unwrap();
    for query in ["watch=1", "watch=true&resourceVersion=0"] {
        let mut watch = Stream::watch(server.address(), &format!("/api/v1/namespaces/default/pods?{query}"));
        assert_eq!(watch.short(), "ADDED a", "{query}");
    }
}

#[test]
fn an_object_that_leaves_or_enters_the_selection_is_deleted_or_added() {
    let server = server();
    server.apply(pod("a", json!({"app": "web"}))).unwrap();
    let mut watch = Stream::watch(server.address(), "/api/v1/pods?watch=1&labelSelector=app%3Dweb");
    assert_eq!(watch.short(), "ADDED a");
    server.apply(pod("a", json!({"app": "db"}))).unwrap();
    let left = watch.event().unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(
        left["object"]["metadata"]["labels"]["app"], "web",
        "as it was when it was selected"
    );
    assert_eq!(
        left["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
    server.apply(pod("a", json!({"app": "web"}))).unwrap();
    assert_eq!(watch.short(), "ADDED a");
}

#[test]
fn a_forgotten_version_is_gone_as_an_event_or_as_an_answer() {
    let server = server();
    let then = server.version();
    server.apply(pod("a", json!({}))).unwrap();
    server.compact();
    let path = format!("/api/v1/pods?watch=1&resourceVersion={then}");
    let mut watch = Stream::watch(server.address(), &path);
    let event = watch.event().unwrap();
    assert_eq!(
        (
            event["type"].as_str(),
            &event["object"]["code"],
            event["object"]["reason"].as_str()
        ),
        (Some("ERROR"), &json!(410), Some("Expired"))
    );
    assert!(watch.line().is_none());
    let server = Server::start(Settings {
        plain: true,
        expired_as_status: true,
        ..Settings::default()
    })
    .unwrap();
    server.compact();
    assert_eq!(
        get(server.address(), "/api/v1/pods?watch=1&resourceVersion=1").code,
        410
    );
}

#[test]
fn a_stream_that_is_open_outlives_a_compaction() {
    let server = server();
    let mut watch = Stream::watch(server.address(), "/api/v1/pods?watch=1");
    server.apply(pod("a", json!({}))).unwrap();
    server.compact();
    assert_eq!(watch.short(), "ADDED a");
    server.apply(pod("b", json!({}))).unwrap();
    assert_eq!(watch.short(), "ADDED b");
}

#[test]
fn initial_events_end_with_a_marked_bookmark() {
    let server = server();
    server.apply(pod("a", json!({}))).unwrap();
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Stream::watch(server.address(), &format!("/api/v1/pods?{query}"));
    assert_eq!(watch.short(), "ADDED a");
    let end = watch.event().unwrap();
    assert_eq!(
        (end["type"].as_str(), end["object"]["kind"].as_str()),
        (Some("BOOKMARK"), Some("Pod"))
    );
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        end["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
    server.apply(pod("b", json!({}))).unwrap();
    assert_eq!(watch.short(), "ADDED b");
    let without = "watch=1&sendInitialEvents=true";
    assert_eq!(get(server.address(), &format!("/api/v1/pods?{without}")).code, 422);
    server.watch_list(false);
    let refused = get(server.address(), &format!("/api/v1/pods?{query}"));
    let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for \
                   watch unless the WatchList feature gate is enabled";
    assert_eq!((refused.code, refused.json()["message"].as_str()), (422, Some(message)));
}

#[test]
fn bookmarks_tell_the_version_to_those_who_want_them() {
    let server = server();
    let version = server.version();
    let path = format!("/api/v1/pods?watch=1&resourceVersion={version}");
    let mut wants = Stream::watch(server.address(), &format!("{path}&allowWatchBookmarks=true"));
    let mut wants_not = Stream::watch(server.address(), &path);
    server
        .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}))
        .unwrap();
    // A stream that has just begun may not have heard of the order yet; the end of a stream says the same.
    let mut ends = Stream::watch(
        server.address(),
        &format!("{path}&allowWatchBookmarks=true&timeoutSeconds=1"),
    );
    let last = ends.event().unwrap();
    assert_eq!(
        last["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
    assert!(ends.line().is_none() && !ends.cut, "a time that is over is a clean end");
    server.bookmark();
    assert_eq!(
        wants.event().unwrap()["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
    server.apply(pod("a", json!({}))).unwrap();
    assert_eq!(wants_not.short(), "ADDED a");
}

#[test]
fn a_stream_of_metadata_has_nothing_else() {
    let server = server();
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    server.apply(pod("a", json!({"x": "y"}))).unwrap();
    let mut watch = Stream::open(
        server.address(),
        "GET",
        "/api/v1/pods?watch=1",
        &[("Accept", accept)],
        "",
    );
    let event = watch.event().unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert!(event["object"]["spec"].is_null() && event["object"]["metadata"]["labels"]["x"] == "y");
}

#[test]
fn a_defined_kind_appears_and_vanishes_with_its_definition() {
    let server = server();
    let path = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
    assert_eq!(get(server.address(), path).code, 404);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io"},
        "spec": {
            "group": "policy.networking.k8s.io", "scope": "Cluster",
            "names": {"plural": "clusternetworkpolicies", "kind": "ClusterNetworkPolicy"},
            "versions": [{"name": "v1alpha2", "served": true, "storage": true}],
        },
    });
    server.apply(definition).unwrap();
    assert_eq!(get(server.address(), path).json()["kind"], "ClusterNetworkPolicyList");
    let policy = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "p"}});
    server.apply(policy).unwrap();
    assert_eq!(
        get(server.address(), path).json()["items"][0]["kind"],
        "ClusterNetworkPolicy",
        "custom items repeat it"
    );
    let mut watch = Stream::watch(server.address(), &format!("{path}?watch=1"));
    assert_eq!(watch.short(), "ADDED p");
    server.delete(
        "customresourcedefinitions",
        None,
        "clusternetworkpolicies.policy.networking.k8s.io",
    );
    assert_eq!((watch.short(), watch.short()), ("DELETED p".into(), "end".into()));
    assert_eq!(get(server.address(), path).code, 404);
}
