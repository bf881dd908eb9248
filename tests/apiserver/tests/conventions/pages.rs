//! Lists in pages.

use super::client::get;
use super::objects::Place;
use serde_json::{Value, json};

fn ten() -> Place {
    let place = Place::new();
    for n in 0..10 {
        let service = json!({"metadata": {"name": format!("s{n}"), "labels": {"n": n.to_string()}}, "spec": {"ports": [{"port": 80}]}});
        place.make("services", &service);
    }
    place
}

fn token(list: &Value) -> String {
    list["metadata"]["continue"].as_str().unwrap().to_owned()
}

#[test]
fn pages_are_of_one_version_whatever_happens_between_them() {
    let place = ten();
    let first = place.get("services?limit=4");
    assert_eq!(first.names(), ["s0", "s1", "s2", "s3"]);
    let first = first.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 6);
    assert!(place.site.delete("services", "s5").unwrap());
    place.make(
        "services",
        &json!({"metadata": {"name": "s55"}, "spec": {"ports": [{"port": 80}]}}),
    );
    let second = place.get(&format!("services?limit=4&continue={}", token(&first)));
    assert_eq!(second.names(), ["s4", "s5", "s6", "s7"]);
    let second = second.json();
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let last = place.get(&format!("services?limit=4&continue={}", token(&second)));
    assert_eq!(last.names(), ["s8", "s9"]);
    let last = last.json();
    assert!(last["metadata"]["continue"].as_str().is_none_or(str::is_empty));
    assert!(last["metadata"]["remainingItemCount"].is_null());
}

#[test]
fn pages_of_a_selection_do_not_say_how_many_are_left() {
    let place = ten();
    let first = place.get("services?limit=2&labelSelector=n+notin+(0,2)");
    assert_eq!(first.names(), ["s1", "s3"]);
    let first = first.json();
    assert!(first["metadata"]["remainingItemCount"].is_null());
    let rest = place.get(&format!(
        "services?labelSelector=n+notin+(0,2)&continue={}",
        token(&first)
    ));
    assert_eq!(rest.names(), ["s4", "s5", "s6", "s7", "s8", "s9"]);
}

#[test]
fn a_token_that_is_none_is_refused() {
    let place = ten();
    let refused = place.get("services?limit=4&continue=rubbish");
    assert_eq!(
        (refused.code, refused.json()["reason"].as_str()),
        (400, Some("BadRequest"))
    );
    let first = place.get("services?limit=4").json();
    let both = format!("services?limit=4&resourceVersion=7&continue={}", token(&first));
    let refused = place.get(&both);
    assert_eq!(refused.code, 400, "{}", refused.text);
    assert_eq!(
        refused.json()["message"],
        "specifying resource version is not allowed when using continue"
    );
    let all = get(place.to, &place.path("services?limit=1000"));
    assert!(all.json()["metadata"]["continue"].as_str().is_none_or(str::is_empty));
}
