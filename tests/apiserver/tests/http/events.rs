use super::client::{get, patch, post};
use super::server;
use serde_json::{Value, json};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const MERGE: &str = "application/merge-patch+json";

fn event() -> Value {
    json!({
        "metadata": {"name": "node-a.1"}, "eventTime": "2026-11-01T10:00:00.000000Z", "type": "Warning", "reason": "UplinkMissing",
        "action": "Serve", "reportingController": "example.com/agent", "reportingInstance": "node-a", "note": "it is gone",
        "regarding": {"kind": "Node", "apiVersion": "v1", "name": "node-a"},
    })
}

#[test]
fn an_event_says_all_that_it_must_and_nothing_of_old_times() {
    let server = server();
    let to = server.address();
    for (field, value) in [
        ("action", json!("")),
        ("reason", json!("x".repeat(129))),
        ("reportingController", Value::Null),
        ("reportingInstance", json!("x".repeat(129))),
        ("note", json!("x".repeat(1025))),
        ("type", json!("Error")),
        ("eventTime", json!("2026-11-01T10:00:00Z")),
        ("deprecatedCount", json!(1)),
        (
            "series",
            json!({"count": 1, "lastObservedTime": "2026-11-01T10:00:00.000000Z"}),
        ),
        (
            "regarding",
            json!({"kind": "Pod", "namespace": "elsewhere", "name": "a"}),
        ),
    ] {
        let mut wrong = event();
        wrong[field] = value;
        let answer = post(to, EVENTS, &wrong);
        assert_eq!(answer.code, 422, "{field}: {}", answer.text);
    }
    assert_eq!(post(to, EVENTS, &event()).code, 201);
    assert_eq!(post(to, EVENTS, &event()).code, 409);
    let core = get(to, "/api/v1/namespaces/default/events/node-a.1").json();
    assert_eq!(core["involvedObject"]["name"], "node-a");
    assert_eq!(core["message"], "it is gone");
}

#[test]
fn of_an_event_only_the_series_changes() {
    let server = server();
    let to = server.address();
    post(to, EVENTS, &event());
    let path = format!("{EVENTS}/node-a.1");
    let change = |body: &Value| patch(to, &path, MERGE, body);
    assert_eq!(change(&json!({"note": "another"})).code, 422);
    assert_eq!(change(&json!({"series": {"count": 2}})).code, 422);
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-11-01T10:01:00.000000Z"}});
    assert_eq!(change(&series).json()["series"]["count"], 2);
    assert_eq!(patch(to, &format!("{EVENTS}/none"), MERGE, &series).code, 404);
}
