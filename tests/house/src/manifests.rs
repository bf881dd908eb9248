//! Whether the API takes manifests as they are written: each is read into its type and written again, and nothing may be lost or changed
//! by that. It never asks a cluster.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is wrong with a document, one line each; empty if the API takes all of it.
pub fn faults(document: &Value) -> Vec<String> {
    let text = |key: &str| document[key].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "Namespace") => again::<Namespace>(document),
        ("v1", "ServiceAccount") => again::<ServiceAccount>(document),
        ("v1", "ConfigMap") => again::<ConfigMap>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => again::<ClusterRole>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => again::<ClusterRoleBinding>(document),
        ("apps/v1", "DaemonSet") => again::<DaemonSet>(document),
        (version, kind) => vec![format!("{version} {kind}: nobody says here what type it is")],
    }
}

fn again<T: DeserializeOwned + Serialize>(document: &Value) -> Vec<String> {
    let kind = document["kind"].as_str().unwrap_or_default();
    let read = serde_json::from_value::<T>(document.clone()).and_then(serde_json::to_value);
    match read {
        Err(err) => vec![format!("{kind}: {err}")],
        Ok(written) => {
            let mut found = Vec::new();
            compare(kind, document, &written, &mut found);
            found
        }
    }
}

/// Everything of `before` has to be in `after` as it was. What `after` has beside it are defaults.
fn compare(at: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let at = format!("{at}.{key}");
                match after.get(key) {
                    Some(now) => compare(&at, value, now, found),
                    None => found.push(format!("{at}: the API knows no such field")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (i, (value, now)) in before.iter().zip(after).enumerate() {
                compare(&format!("{at}[{i}]"), value, now, found);
            }
        }
        _ if before == after => {}
        _ => found.push(format!("{at}: is {before}, and the API understands {after}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(container: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "x"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
            },
        })
    }

    #[test]
    fn a_field_that_the_api_does_not_know_is_found_however_deep_it_is() {
        assert_eq!(
            faults(&set(&json!({"name": "c", "securityContext": {"privileged": false}}))),
            [""; 0]
        );
        assert_eq!(
            faults(&set(&json!({"name": "c", "securityContext": {"priviledged": false}}))),
            ["DaemonSet.spec.template.spec.containers[0].securityContext.priviledged: the API knows no such field"]
        );
        assert_eq!(
            faults(&set(&json!({"name": "c", "ports": null}))),
            ["DaemonSet.spec.template.spec.containers[0].ports: the API knows no such field"]
        );
    }

    #[test]
    fn a_value_of_another_type_and_a_kind_that_nobody_knows_are_found() {
        let found = faults(&set(&json!({"name": 7})));
        assert!(
            found.len() == 1 && found[0].starts_with("DaemonSet: invalid type"),
            "{found:?}"
        );
        let found = faults(&json!({"apiVersion": "apps/v1beta1", "kind": "DaemonSet"}));
        assert!(found[0].starts_with("apps/v1beta1 DaemonSet: nobody says"), "{found:?}");
    }
}
