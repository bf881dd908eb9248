//! Decides what an object is after a patch: JSON patch, merge patch, strategic merge patch. It never decides which parts
//! of the result count.

use crate::resources::Resource;
use crate::status::Status;
use serde_json::{Map, Value};

/// Applies a patch of this media type.
pub(crate) fn apply(resource: &Resource, object: &Value, media: &str, patch: Value) -> Result<Value, Status> {
    let mut result = object.clone();
    match media.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_value(patch)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
            let message = "the server rejected our request due to an error in our request";
            json_patch::patch(&mut result, &patch).map_err(|_| Status::new(422, "Invalid", message))?;
        }
        "application/merge-patch+json" => json_patch::merge(&mut result, &patch),
        "application/strategic-merge-patch+json" if !resource.custom => {
            let Value::Object(patch) = patch else {
                return Err(Status::bad_request("error decoding patch: it is no object"));
            };
            strategic(&mut result, patch, "");
        }
        _ => return Err(Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")),
    }
    Ok(result)
}

/// By which field the items of a list are told apart; lists that are not here are replaced.
fn merge_key(path: &str) -> Option<&'static str> {
    Some(match path {
        "metadata.ownerReferences" => "uid",
        "status.conditions" | "status.addresses" => "type",
        "spec.ports" => "port",
        "spec.containers" | "spec.initContainers" | "spec.volumes" => "name",
        "spec.containers.ports" => "containerPort",
        "spec.containers.env" => "name",
        "status.podIPs" | "status.hostIPs" => "ip",
        _ => return None,
    })
}

/// Lists of plain values of which the patch adds members.
const SETS: [&str; 2] = ["metadata.finalizers", "spec.podCIDRs"];

fn strategic(target: &mut Value, patch: Map<String, Value>, path: &str) {
    if patch.get("$patch").is_some_and(|how| how == "replace") {
        *target = patch.into_iter().filter(|(key, _)| key != "$patch").collect();
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if let Some(key) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(list) = fields.get_mut(key).and_then(Value::as_array_mut) {
                list.retain(|one| !gone.contains(one));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match value {
            Value::Null => {
                fields.remove(&key);
            }
            Value::Object(inner) => strategic(fields.entry(key).or_insert(Value::Null), inner, &path),
            Value::Array(items) => lists(fields.entry(key).or_insert(Value::Null), items, &path),
            value => {
                fields.insert(key, value);
            }
        }
    }
}

fn lists(target: &mut Value, items: Vec<Value>, path: &str) {
    let key = merge_key(path);
    if key.is_none() && !SETS.contains(&path) {
        *target = Value::Array(items);
        return;
    }
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(list) = target.as_array_mut() else { return };
    for item in items {
        let Some(key) = key else {
            if !list.contains(&item) {
                list.push(item);
            }
            continue;
        };
        let found = list.iter().position(|one| one[key] == item[key]);
        let Value::Object(item) = item else { continue };
        let gone = item.get("$patch").is_some_and(|how| how == "delete");
        match found {
            Some(place) if gone => {
                list.remove(place);
            }
            None if gone => {}
            Some(place) => strategic(&mut list[place], item, path),
            None => {
                let mut new = Value::Null;
                strategic(&mut new, item, path);
                list.push(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(plural: &str) -> std::sync::Arc<Resource> {
        crate::resources::built_in()
            .into_iter()
            .find(|r| r.plural == plural)
            .unwrap()
    }

    #[test]
    fn a_strategic_patch_merges_lists_by_their_keys() {
        let node = json!({
            "metadata": {"annotations": {"a": "1", "b": "2"}, "finalizers": ["x"]},
            "spec": {"taints": [{"key": "k"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "True"}]},
        });
        let patch = json!({
            "metadata": {"annotations": {"a": null, "c": "3"}, "finalizers": ["y"]},
            "spec": {"taints": [{"key": "l"}]},
            "status": {"conditions": [
                {"type": "NetworkUnavailable", "status": "False"},
                {"type": "Ready", "reason": "Fine"},
                {"type": "Old", "$patch": "delete"},
            ]},
        });
        let media = "application/strategic-merge-patch+json";
        let result = apply(&resource("nodes"), &node, media, patch).unwrap();
        let expected = json!({
            "metadata": {"annotations": {"b": "2", "c": "3"}, "finalizers": ["x", "y"]},
            "spec": {"taints": [{"key": "l"}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "Fine"},
                {"type": "NetworkUnavailable", "status": "False"},
            ]},
        });
        assert_eq!(result, expected);
    }

    #[test]
    fn other_patches_are_those_of_their_standards_and_unknown_ones_are_refused() {
        let object = json!({"a": {"b": [1], "c": 2}});
        let merge = apply(
            &resource("pods"),
            &object,
            "application/merge-patch+json",
            json!({"a": {"b": [3], "c": null}}),
        );
        assert_eq!(merge.unwrap(), json!({"a": {"b": [3]}}));
        let media = "application/json-patch+json";
        let patch = json!([{"op": "test", "path": "/a/c", "value": 2}, {"op": "add", "path": "/a/b/-", "value": 4}]);
        assert_eq!(
            apply(&resource("pods"), &object, media, patch).unwrap(),
            json!({"a": {"b": [1, 4], "c": 2}})
        );
        let patch = json!([{"op": "test", "path": "/a/c", "value": 3}]);
        assert_eq!(apply(&resource("pods"), &object, media, patch).unwrap_err().code, 422);
        assert_eq!(
            apply(&resource("pods"), &object, "application/yaml", json!({}))
                .unwrap_err()
                .code,
            415
        );
    }
}
