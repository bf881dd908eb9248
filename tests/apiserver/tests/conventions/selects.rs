//! Selectors of fields and labels.

use super::client::get;
use super::objects::{Place, pod};
use serde_json::{Value, json};

fn pods() -> Place {
    let place = Place::new();
    let mut host = pod(&place, "host", "n2");
    host["spec"]["hostNetwork"] = json!(true);
    let mut nowhere = pod(&place, "nowhere", "n1");
    nowhere["spec"].as_object_mut().unwrap().remove("nodeName");
    nowhere["spec"]["schedulerName"] = json!("nobody");
    for object in [pod(&place, "here", "n1"), pod(&place, "there", "n2"), host, nowhere] {
        place.make("pods", &object);
    }
    for (name, phase) in [("here", "Running"), ("there", "Succeeded")] {
        let patch = json!({"status": {"phase": phase}});
        let path = place.path(&format!("pods/{name}/status"));
        let media = "application/strategic-merge-patch+json";
        assert_eq!(place.site.patch(&path, media, &patch).unwrap().0, 200);
    }
    place
}

#[test]
fn pods_are_selected_by_where_they_are_and_how_far_they_have_come() {
    let place = pods();
    let node = |name: &str| place.site.names().of(name);
    let names = |fields: &str| {
        place
            .get(&format!("pods?fieldSelector={}", fields.replace('=', "%3D")))
            .names()
    };
    assert_eq!(names(&format!("spec.nodeName={}", node("n1"))), ["here"]);
    assert_eq!(names("spec.nodeName="), ["nowhere"]);
    assert_eq!(
        names(&format!("spec.nodeName!={},spec.nodeName!=", node("n1"))),
        ["host", "there"]
    );
    assert_eq!(names("spec.hostNetwork=true"), ["host"]);
    assert_eq!(names("spec.hostNetwork=false"), ["here", "nowhere", "there"]);
    assert_eq!(names("status.phase=Pending"), ["host", "nowhere"]);
    assert_eq!(
        names("status.phase!=Succeeded,status.phase!=Failed"),
        ["here", "host", "nowhere"]
    );
    assert_eq!(names("metadata.name=here"), ["here"]);
    let everywhere = format!(
        "/api/v1/pods?fieldSelector=spec.nodeName%3D{},spec.hostNetwork%3Dfalse",
        node("n2")
    );
    assert_eq!(get(place.to, &everywhere).names(), ["there"]);
}

#[test]
fn labels_select_by_presence_equality_and_sets() {
    let place = Place::new();
    let all: [(&str, Value); 3] = [
        ("a", json!({"app": "web", "tier": "front"})),
        ("b", json!({"app": "db"})),
        ("c", json!({"service.kubernetes.io/headless": ""})),
    ];
    for (name, labels) in &all {
        let service = json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}});
        place.make("services", &service);
    }
    let names = |labels: &str| place.get(&format!("services?labelSelector={labels}")).names();
    assert_eq!(
        names("!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"),
        ["a", "b"]
    );
    assert_eq!(names("service.kubernetes.io/headless"), ["c"]);
    assert_eq!(names("app%3Dweb"), ["a"]);
    assert_eq!(names("app!%3Dweb"), ["b", "c"]);
    assert_eq!(names("app+in+(web,db),!tier"), ["b"]);
    assert_eq!(names("app+notin+(web)"), ["b", "c"]);
}

#[test]
fn selectors_that_mean_nothing_are_refused() {
    let place = Place::new();
    let unknown = place.get("pods?fieldSelector=spec.colour%3Dred");
    assert_eq!(
        (unknown.code, unknown.json()["reason"].as_str()),
        (400, Some("BadRequest"))
    );
    let message = unknown.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("field label not supported: spec.colour"), "{message}");
    for query in [
        "labelSelector=app+in+web",
        "labelSelector=%3Dx",
        "fieldSelector=status.phase",
    ] {
        let refused = place.get(&format!("pods?{query}"));
        assert_eq!(
            (refused.code, refused.json()["reason"].as_str()),
            (400, Some("BadRequest")),
            "{query}"
        );
    }
    let stream = place.get("pods?watch=1&fieldSelector=spec.colour%3Dred");
    assert_eq!(stream.code, 400);
}
