//! What a server makes of objects that are created, replaced and patched.

use super::client::{get, patch, post, send};
use super::objects::{Place, map, pod, version};
use serde_json::{Value, json};
use std::net::SocketAddr;

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

fn put(to: SocketAddr, path: &str, body: &Value) -> super::client::Answer {
    send(
        to,
        "PUT",
        path,
        &[("Content-Type", "application/json")],
        &body.to_string(),
    )
}

#[test]
fn what_is_created_has_an_identity() {
    let place = Place::new();
    let made = place.make("pods", &pod(&place, "a", "n1"));
    let metadata = &made["metadata"];
    assert!(metadata["uid"].is_string() && metadata["creationTimestamp"].is_string());
    assert_eq!(metadata["namespace"], place.site.names().of("default"));
    assert_eq!(
        (made["kind"].as_str(), made["status"]["phase"].as_str()),
        (Some("Pod"), Some("Pending"))
    );
    let mut unnamed = map("", &json!({}));
    unnamed["metadata"] = json!({"generateName": "x-"});
    let name = place.make("configmaps", &unnamed)["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(name.len() == 7 && name.starts_with("x-"), "{name}");
    let (_, namespace) = place
        .site
        .get(&format!("/api/v1/namespaces/{}", place.site.names().of("default")))
        .unwrap();
    assert_eq!(
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"],
        place.site.names().of("default")
    );
    assert_eq!(namespace["status"]["phase"], "Active");
}

#[test]
fn a_service_is_given_addresses_and_ports_and_keeps_them() {
    let place = Place::new();
    let wanted = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let made = place.make("services", &wanted);
    let spec = &made["spec"];
    assert!(spec["clusterIP"].as_str().unwrap().parse::<std::net::IpAddr>().is_ok());
    assert_eq!(spec["clusterIPs"][0], spec["clusterIP"]);
    assert_eq!(
        spec["ipFamilies"].as_array().unwrap().len(),
        spec["clusterIPs"].as_array().unwrap().len()
    );
    assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
    assert_eq!(
        (spec["sessionAffinity"].as_str(), spec["internalTrafficPolicy"].as_str()),
        (Some("None"), Some("Cluster"))
    );
    let port = &spec["ports"][0];
    assert_eq!((&port["protocol"], &port["targetPort"]), (&json!("TCP"), &json!(80)));
    assert!(port["nodePort"].as_u64().is_some_and(|port| port > 0), "{port}");
    let mut new = wanted;
    new["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    new["spec"]["ports"][0]["targetPort"] = json!(81);
    let after = put(place.to, &place.path("services/s"), &new);
    assert_eq!(after.code, 200, "{}", after.text);
    let after = after.json();
    assert_eq!(after["spec"]["clusterIPs"], made["spec"]["clusterIPs"]);
    assert_eq!(after["spec"]["ports"][0]["nodePort"], port["nodePort"]);
    let headless = place.make(
        "services",
        &json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}),
    );
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}

#[test]
fn the_status_of_a_node_has_its_own_path_where_annotations_count_too() {
    let place = Place::new();
    let node = |status: Value| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDR": "198.18.7.0/24"}, "status": status});
    let conditions = json!([
        {"type": "Ready", "status": "True", "reason": "KubeletReady"},
        {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"},
    ]);
    place.site.apply(node(json!({"conditions": conditions}))).unwrap();
    let path = format!("/api/v1/nodes/{}", place.site.names().of("n1"));
    let change = json!({
        "metadata": {"annotations": {"example.com/a": "b"}}, "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "NetworkUnavailable", "status": "False"}, {"type": "Other", "status": "True"}]},
    });
    let after = patch(place.to, &format!("{path}/status"), STRATEGIC, &change);
    assert_eq!(after.code, 200, "{}", after.text);
    let after = after.json();
    assert_eq!(after["metadata"]["annotations"]["example.com/a"], "b");
    assert!(
        after["spec"]["unschedulable"].is_null(),
        "the specification is not within reach"
    );
    assert_eq!(after["spec"]["podCIDR"], "198.18.7.0/24");
    let said = |node: &Value, kind: &str| {
        let all = node["status"]["conditions"].as_array().unwrap();
        all.iter().find(|one| one["type"] == kind).cloned().unwrap_or_default()
    };
    assert_eq!(said(&after, "Ready")["reason"], "KubeletReady");
    assert_eq!(said(&after, "NetworkUnavailable")["status"], "False");
    assert_eq!(
        said(&after, "NetworkUnavailable")["reason"],
        "NoRouteCreated",
        "what is not said stays"
    );
    let gone = json!({"status": {"conditions": [{"type": "Other", "$patch": "delete"}]}});
    let after = patch(place.to, &format!("{path}/status"), STRATEGIC, &gone).json();
    assert!(said(&after, "Other").is_null());
    let by_the_main_path =
        json!({"metadata": {"annotations": {"example.com/a": null}}, "status": {"conditions": null}});
    let after = patch(place.to, &path, MERGE, &by_the_main_path).json();
    assert!(after["metadata"]["annotations"]["example.com/a"].is_null());
    assert!(!said(&after, "NetworkUnavailable").is_null(), "not by the main path");
}

#[test]
fn a_change_that_changes_nothing_makes_no_version() {
    let place = Place::new();
    let made = place.map("a", &json!({"x": "1"}));
    let same = patch(
        place.to,
        &place.path("configmaps/a"),
        MERGE,
        &json!({"metadata": {"labels": {"x": "1"}}}),
    );
    assert_eq!((same.code, version(&same.json())), (200, version(&made)));
    let same = put(place.to, &place.path("configmaps/a"), &made);
    assert_eq!((same.code, version(&same.json())), (200, version(&made)));
}

#[test]
fn a_specification_is_counted_and_a_label_is_not() {
    let place = Place::new();
    let all = place.path_of("networking.k8s.io", "networkpolicies");
    let made = post(
        place.to,
        &all,
        &json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}}}),
    );
    assert_eq!((made.code, &made.json()["metadata"]["generation"]), (201, &json!(1)));
    let one = format!("{all}/p");
    let labelled = patch(place.to, &one, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).json();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let change = json!([{"op": "add", "path": "/spec/policyTypes", "value": ["Egress"]}]);
    let changed = patch(place.to, &one, "application/json-patch+json", &change);
    assert_eq!(
        (changed.code, &changed.json()["metadata"]["generation"]),
        (200, &json!(2))
    );
    assert_eq!(get(place.to, &one).json()["spec"]["policyTypes"], json!(["Egress"]));
}
