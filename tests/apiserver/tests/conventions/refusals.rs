//! What is refused, and in which words.

use super::client::{Answer, get, patch, post, send};
use super::objects::{Place, map, pod};
use serde_json::{Value, json};

const MERGE: &str = "application/merge-patch+json";

/// Code, reason and message of a refusal, which is a Status.
#[track_caller]
fn said(answer: &Answer) -> (u64, String, String) {
    let status = answer.json();
    assert!(
        answer
            .head
            .to_ascii_lowercase()
            .contains("content-type: application/json")
    );
    assert_eq!(
        (&status["kind"], &status["apiVersion"], &status["status"]),
        (&json!("Status"), &json!("v1"), &json!("Failure"))
    );
    assert_eq!(status["code"], answer.code);
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    (u64::from(answer.code), text("reason"), text("message"))
}

fn of(code: u64, reason: &str, message: &str) -> (u64, String, String) {
    (code, reason.to_owned(), message.to_owned())
}

#[test]
fn what_is_not_there_is_not_found() {
    let place = Place::new();
    let absent = place.get("pods/none");
    assert_eq!(said(&absent), of(404, "NotFound", "pods \"none\" not found"));
    assert_eq!(absent.json()["details"], json!({"name": "none", "kind": "pods"}));
    let absent = get(place.to, &place.path_of("networking.k8s.io", "networkpolicies/none"));
    assert_eq!(
        said(&absent),
        of(404, "NotFound", "networkpolicies.networking.k8s.io \"none\" not found")
    );
    assert_eq!(
        absent.json()["details"],
        json!({"name": "none", "group": "networking.k8s.io", "kind": "networkpolicies"})
    );
    let gone = send(place.to, "DELETE", &place.path("configmaps/none"), &[], "");
    assert_eq!(said(&gone), of(404, "NotFound", "configmaps \"none\" not found"));
    let changed = patch(place.to, "/api/v1/nodes/sluice-test-none/status", MERGE, &json!({}));
    assert_eq!(
        said(&changed),
        of(404, "NotFound", "nodes \"sluice-test-none\" not found")
    );
    let nowhere = post(
        place.to,
        "/api/v1/namespaces/sluice-test-none/configmaps",
        &map("a", &json!({})),
    );
    assert_eq!(
        said(&nowhere),
        of(404, "NotFound", "namespaces \"sluice-test-none\" not found")
    );
    let unknown = get(place.to, "/apis/sluice.invalid/v1/things");
    assert_eq!((unknown.code, unknown.text.trim()), (404, "404 page not found"));
}

#[test]
fn a_name_is_there_once_and_has_to_be_one() {
    let place = Place::new();
    place.map("a", &json!({}));
    let all = place.path("configmaps");
    let again = post(place.to, &all, &map("a", &json!({})));
    assert_eq!(
        said(&again),
        of(409, "AlreadyExists", "configmaps \"a\" already exists")
    );
    let unnamed = post(
        place.to,
        &all,
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}),
    );
    let (code, reason, message) = said(&unnamed);
    assert_eq!((code, &*reason), (422, "Invalid"));
    assert!(message.contains("name or generateName is required"), "{message}");
    let bad = post(place.to, &all, &map("Not_a_name", &json!({})));
    let (code, reason, message) = said(&bad);
    assert_eq!((code, &*reason), (422, "Invalid"));
    assert!(
        message.starts_with("ConfigMap \"Not_a_name\" is invalid: metadata.name: Invalid value: "),
        "{message}"
    );
    let details = &bad.json()["details"];
    assert_eq!(
        (&details["kind"], &details["name"]),
        (&json!("ConfigMap"), &json!("Not_a_name"))
    );
    assert_eq!(details["causes"][0]["field"], "metadata.name");
    assert_eq!(details["causes"][0]["reason"], "FieldValueInvalid");
    let mut elsewhere = map("b", &json!({}));
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    let refused = post(place.to, &all, &elsewhere);
    assert_eq!(
        said(&refused),
        of(
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    );
}

#[test]
fn who_comes_late_is_told_so() {
    let place = Place::new();
    let put = |path: &str, body: &Value| {
        let media = [("Content-Type", "application/json")];
        send(place.to, "PUT", &place.path(path), &media, &body.to_string())
    };
    let old = place.map("a", &json!({}));
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"x": "1"});
    assert_eq!(put("configmaps/a", &new).code, 200);
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
                   to the latest version and try again";
    new["metadata"]["labels"] = json!({"x": "2"});
    assert_eq!(said(&put("configmaps/a", &new)), of(409, "Conflict", message));
    let stale = json!({"metadata": {"resourceVersion": old["metadata"]["resourceVersion"], "labels": {"x": "3"}}});
    let late = patch(place.to, &place.path("configmaps/a"), MERGE, &stale);
    assert_eq!(said(&late), of(409, "Conflict", message));
    let mut other = old;
    other["metadata"]["uid"] = "another".into();
    other["metadata"]["resourceVersion"] = "".into();
    let refused = said(&put("configmaps/a", &other));
    assert_eq!((refused.0, &*refused.1), (409, "Conflict"));
    assert!(
        refused.2.contains("Precondition failed: UID in precondition: another"),
        "{}",
        refused.2
    );
    assert_eq!(said(&put("configmaps/none", &map("none", &json!({})))).0, 404);
}

#[test]
fn patches_keep_to_their_media_types() {
    let place = Place::new();
    place.map("a", &json!({}));
    let path = place.path("configmaps/a");
    let unknown = patch(place.to, &path, "application/x-unknown", &json!({}));
    assert_eq!(
        said(&unknown),
        of(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    );
    let media = [("Content-Type", "application/x-unknown")];
    let unknown = said(&send(place.to, "POST", &place.path("configmaps"), &media, "{}"));
    assert_eq!((unknown.0, &*unknown.1), (415, "UnsupportedMediaType"));
    let failing = json!([{"op": "test", "path": "/metadata/name", "value": "b"}]);
    let message = "the server rejected our request due to an error in our request";
    let failing = patch(place.to, &path, "application/json-patch+json", &failing);
    assert_eq!(said(&failing), of(422, "Invalid", message));
    let garbage = send(place.to, "PATCH", &path, &[("Content-Type", MERGE)], "{");
    assert_eq!(said(&garbage).0, 400);
    let none = send(
        place.to,
        "POST",
        &place.path("pods"),
        &[("Content-Type", "application/json")],
        "[",
    );
    assert_eq!((said(&none).0, &*said(&none).1), (400, "BadRequest"));
    let other = post(place.to, &place.path("configmaps"), &pod(&place, "p", "n1"));
    assert_eq!((said(&other).0, &*said(&other).1), (400, "BadRequest"));
}

#[test]
fn who_may_not_is_told_what() {
    let place = Place::new();
    place.site.deny("networkpolicies").unwrap();
    let user = place.site.names().prefix();
    let refused = get(place.to, "/apis/networking.k8s.io/v1/networkpolicies");
    let message = format!(
        "networkpolicies.networking.k8s.io is forbidden: User \"{user}\" cannot list resource \"networkpolicies\" in API group \
         \"networking.k8s.io\" at the cluster scope"
    );
    // An authorizer may add why.
    assert!(said(&refused).2.starts_with(&message), "{}", refused.text);
    assert_eq!((said(&refused).0, &*said(&refused).1), (403, "Forbidden"));
    assert_eq!(
        refused.json()["details"],
        json!({"group": "networking.k8s.io", "kind": "networkpolicies"})
    );
    let refused = get(place.to, &place.path_of("networking.k8s.io", "networkpolicies?watch=1"));
    let namespace = place.site.names().of("default");
    assert!(
        said(&refused).2.contains(&format!("in the namespace \"{namespace}\"")),
        "{}",
        refused.text
    );
    assert_eq!(get(place.to, "/api/v1/pods?limit=1").code, 200);
    place.site.grant("networkpolicies").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while get(place.to, "/apis/networking.k8s.io/v1/networkpolicies?limit=1").code != 200 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
