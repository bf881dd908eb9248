use super::client::{get, patch, post, send};
use super::{pod, server};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: &str = "application/merge-patch+json";

fn put(to: std::net::SocketAddr, path: &str, body: &Value) -> super::client::Answer {
    send(
        to,
        "PUT",
        path,
        &[("Content-Type", "application/json")],
        &body.to_string(),
    )
}

#[test]
fn what_is_created_has_an_identity_and_what_is_there_already_is_a_conflict() {
    let server = server();
    let to = server.address();
    let made = post(to, PODS, &pod("a", json!({})));
    assert_eq!(
        (made.code, made.json()["metadata"]["generation"].clone()),
        (201, json!(1))
    );
    assert_eq!(made.json()["status"]["phase"], "Pending");
    let again = post(to, PODS, &pod("a", json!({}))).json();
    assert_eq!(
        (again["code"].clone(), again["reason"].as_str()),
        (json!(409), Some("AlreadyExists"))
    );
    assert_eq!(again["message"], "pods \"a\" already exists");
    let named = post(to, PODS, &json!({"metadata": {"generateName": "x-"}, "spec": {}})).json();
    let name = named["metadata"]["name"].as_str().unwrap();
    assert!(name.len() == 7 && name.starts_with("x-"), "{name}");
    assert_eq!(post(to, PODS, &json!({"metadata": {}})).code, 422);
    assert_eq!(post(to, PODS, &json!({"metadata": {"name": "Not_a_name"}})).code, 422);
    assert_eq!(
        post(to, "/api/v1/namespaces/none/pods", &json!({"metadata": {"name": "a"}})).json()["message"],
        "namespaces \"none\" not found"
    );
    assert_eq!(
        post(to, "/api/v1/namespaces/kube-system/pods", &pod("b", json!({}))).code,
        400,
        "another namespace in the object"
    );
    let absent = get(to, &format!("{PODS}/none")).json();
    assert_eq!(absent["details"], json!({"name": "none", "kind": "pods"}));
}

#[test]
fn a_replacement_needs_the_version_it_was_made_from() {
    let server = server();
    let to = server.address();
    let old = post(to, PODS, &pod("a", json!({}))).json();
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"x": "1"});
    let path = format!("{PODS}/a");
    assert_eq!(put(to, &path, &new).code, 200);
    let late = put(to, &path, &new).json();
    assert_eq!(
        (late["code"].clone(), late["reason"].as_str()),
        (json!(409), Some("Conflict"))
    );
    let mut other = old;
    other["metadata"]["uid"] = "another".into();
    other["metadata"]["resourceVersion"] = "".into();
    assert_eq!(put(to, &path, &other).code, 409);
    assert_eq!(put(to, &format!("{PODS}/none"), &pod("none", json!({}))).code, 404);
}

#[test]
fn a_change_that_changes_nothing_makes_no_version() {
    let server = server();
    let to = server.address();
    post(to, PODS, &pod("a", json!({"x": "1"})));
    let before = server.version();
    assert_eq!(
        patch(
            to,
            &format!("{PODS}/a"),
            MERGE,
            &json!({"metadata": {"labels": {"x": "1"}}})
        )
        .code,
        200
    );
    server.apply(pod("a", json!({"x": "1"}))).unwrap();
    assert_eq!(server.version(), before);
}

#[test]
fn the_status_of_a_node_has_its_own_path_where_annotations_count_too() {
    let server = server();
    let to = server.address();
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.0.0.0/24"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(post(to, "/api/v1/nodes", &node).code, 201);
    let change = json!({
        "metadata": {"annotations": {"a": "b"}}, "spec": {"podCIDR": "10.9.0.0/24"},
        "status": {"conditions": [{"type": "NetworkUnavailable", "status": "False"}]},
    });
    let strategic = "application/strategic-merge-patch+json";
    let after = patch(to, "/api/v1/nodes/n1/status", strategic, &change).json();
    assert_eq!(after["metadata"]["annotations"]["a"], "b");
    assert_eq!(after["spec"]["podCIDR"], "10.0.0.0/24");
    assert_eq!(after["status"]["conditions"].as_array().unwrap().len(), 2);
    let after = patch(
        to,
        "/api/v1/nodes/n1",
        strategic,
        &json!({"status": {"conditions": null}}),
    )
    .json();
    assert_eq!(
        after["status"]["conditions"].as_array().unwrap().len(),
        2,
        "not by the main path"
    );
}

#[test]
fn generation_counts_specifications_and_patches_keep_to_their_media_types() {
    let server = server();
    let to = server.address();
    let path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    post(
        to,
        path,
        &json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}}}),
    );
    let path = format!("{path}/p");
    assert_eq!(
        patch(to, &path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).json()["metadata"]["generation"],
        1
    );
    let change = json!([{"op": "add", "path": "/spec/policyTypes", "value": ["Egress"]}]);
    assert_eq!(
        patch(to, &path, "application/json-patch+json", &change).json()["metadata"]["generation"],
        2
    );
    assert_eq!(patch(to, &path, "application/x-unknown", &json!({})).code, 415);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"policyTypes": []}});
    assert_eq!(patch(to, &path, MERGE, &stale).code, 409);
}

#[test]
fn a_pod_on_a_node_waits_for_its_kubelet_and_finalizers_hold_what_they_hold() {
    let server = server();
    let to = server.address();
    let path = format!("{PODS}/a");
    post(to, PODS, &pod("a", json!({})));
    let leaving = send(to, "DELETE", &path, &[], "").json();
    assert!(
        leaving["metadata"]["deletionTimestamp"].is_string() && leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    );
    assert_eq!(get(to, &path).code, 200);
    assert_eq!(
        send(to, "DELETE", &format!("{path}?gracePeriodSeconds=0"), &[], "").code,
        200
    );
    assert_eq!(get(to, &path).code, 404);
    let maps = "/api/v1/namespaces/default/configmaps";
    post(to, maps, &json!({"metadata": {"name": "m", "finalizers": ["x/y"]}}));
    send(to, "DELETE", &format!("{maps}/m"), &[], "");
    assert_eq!(get(to, &format!("{maps}/m")).code, 200);
    patch(
        to,
        &format!("{maps}/m"),
        MERGE,
        &json!({"metadata": {"finalizers": null}}),
    );
    assert_eq!(get(to, &format!("{maps}/m")).code, 404);
    post(to, maps, &json!({"metadata": {"name": "n"}}));
    let wrong = json!({"preconditions": {"uid": "another"}}).to_string();
    assert_eq!(
        send(
            to,
            "DELETE",
            &format!("{maps}/n"),
            &[("Content-Type", "application/json")],
            &wrong
        )
        .code,
        409
    );
    let gone = send(to, "DELETE", &format!("{maps}/n"), &[], "").json();
    assert_eq!(
        (gone["kind"].as_str(), gone["status"].as_str()),
        (Some("Status"), Some("Success"))
    );
}

#[test]
fn a_collection_is_deleted_by_selector_and_a_namespace_with_its_content() {
    let server = server();
    let to = server.address();
    server.apply_yaml("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: x, labels: {k: v}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: x}\n").unwrap();
    let maps = "/api/v1/namespaces/x/configmaps";
    assert_eq!(
        send(to, "DELETE", &format!("{maps}?labelSelector=k"), &[], "").names(),
        ["a"]
    );
    assert_eq!(get(to, maps).names(), ["b"]);
    send(to, "DELETE", "/api/v1/namespaces/x", &[], "");
    assert!(get(to, maps).names().is_empty());
    assert_eq!(get(to, "/api/v1/namespaces/x").code, 404);
}

#[test]
fn an_event_is_one_object_in_two_groups() {
    let server = server();
    let to = server.address();
    let event = json!({
        "metadata": {"name": "e", "namespace": "default"}, "regarding": {"kind": "Node", "name": "n1"}, "note": "hello",
        "reason": "Ready", "type": "Normal", "reportingController": "sluice", "reportingInstance": "n1", "action": "Start",
        "eventTime": "2026-11-01T10:00:00.000000Z",
    });
    assert_eq!(
        post(to, "/apis/events.k8s.io/v1/namespaces/default/events", &event).code,
        201
    );
    let core = get(to, "/api/v1/namespaces/default/events/e").json();
    assert_eq!(
        (core["apiVersion"].as_str(), core["message"].as_str()),
        (Some("v1"), Some("hello"))
    );
    assert_eq!(core["involvedObject"]["name"], "n1");
    let selected = get(to, "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dn1");
    assert_eq!(selected.json()["items"][0]["note"], "hello");
}
