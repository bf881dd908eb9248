//! What is made for tests on a server that others use, and that it is removed.

use super::objects::{Place, map, pod};
use serde_json::{Value, json};
use sluice_apiserver::site::FOLLOWED;

/// Names of what is there of somebody's site and does not leave already.
fn there(place: &Place, of: &Place) -> Vec<String> {
    let names = of.site.names();
    let mut found = Vec::new();
    for plural in FOLLOWED {
        for object in place.site.all(plural).unwrap() {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let stays = object["metadata"]["deletionTimestamp"].is_null();
            if stays && names.own(text("namespace"), text("name")) {
                found.push(format!("{plural} {}", text("name")));
            }
        }
    }
    found
}

fn fill(place: &Place) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    let service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    for object in [node, service] {
        place.site.apply(object).unwrap();
    }
    place.make("pods", &pod(place, "p", "n1"));
}

#[test]
fn what_a_site_made_is_removed_and_nothing_of_others() {
    let (one, other) = (Place::new(), Place::new());
    fill(&one);
    fill(&other);
    let before = there(&other, &other);
    assert_eq!((there(&one, &one).len(), before.len()), (4, 4), "{before:?}");
    one.site.clear().unwrap();
    assert_eq!(there(&one, &one), Vec::<String>::new());
    assert_eq!(there(&other, &other), before);
    one.site.clear().unwrap();
}

#[test]
fn names_of_two_sites_do_not_meet() {
    let (one, other) = (Place::new(), Place::new());
    let names = [&one, &other].map(|place| place.site.names().clone());
    assert_ne!(names[0].prefix(), names[1].prefix());
    assert!(names[0].own(&names[0].of("default"), "x") && !names[0].own(&names[1].of("default"), "x"));
    assert!(
        names[0].own("", &names[0].of("a")) && !names[0].own("", "a") && !names[0].own("default", &names[0].of("a"))
    );
    for place in [&one, &other] {
        place.site.apply(map("same", &json!({}))).unwrap();
    }
    let uid = |place: &Place| place.site.one("configmaps", "same").unwrap()["metadata"]["uid"].clone();
    assert_ne!(uid(&one), uid(&other));
    assert_ne!(uid(&one), Value::Null);
}
