//! Decides what the server tells of itself: version, health, groups and resources. It never tells of objects.

use crate::resources::Resource;
use crate::route::Answer;
use crate::server::Inner;
use serde_json::{Value, json};
use std::sync::Arc;

/// The answer to a path that is no resource, if there is one.
pub(crate) fn answer(inner: &Inner, path: &str) -> Option<Answer> {
    let resources = inner.resources();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let value = match parts.as_slice() {
        ["readyz" | "livez" | "healthz", ..] => return Some(Answer::bytes(200, "text/plain; charset=utf-8", "ok")),
        ["version"] => version(inner.settings.minor),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let mut groups: Vec<&str> = resources.iter().map(|one| one.group.as_str()).collect();
            groups.sort_unstable();
            groups.dedup();
            let named = groups.iter().filter(|group| !group.is_empty());
            let groups: Vec<Value> = named.map(|name| group(&resources, name)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] => list(&resources, "", "v1")?,
        ["apis", name] if resources.iter().any(|one| one.group == *name) => {
            let mut group = group(&resources, name);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        ["apis", group, version] => list(&resources, group, version)?,
        _ => return None,
    };
    Some(Answer::json(200, &value))
}

fn version(minor: u32) -> Value {
    json!({
        "major": "1", "minor": minor.to_string(), "gitVersion": format!("v1.{minor}.0"), "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "2025-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn group(resources: &[Arc<Resource>], name: &str) -> Value {
    let mut versions: Vec<&str> = resources
        .iter()
        .filter(|r| r.group == name)
        .map(|r| r.version.as_str())
        .collect();
    versions.dedup();
    let entry = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn list(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let mut rows = Vec::new();
    let mut group_version = None;
    for one in resources
        .iter()
        .filter(|one| one.group == group && one.version == version)
    {
        group_version = Some(one.api_version());
        let verbs = [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ];
        rows.push(json!({
            "name": one.plural, "singularName": one.singular, "namespaced": one.namespaced, "kind": one.kind, "verbs": verbs,
        }));
        if one.status {
            let name = format!("{}/status", one.plural);
            rows.push(json!({
                "name": name, "singularName": "", "namespaced": one.namespaced, "kind": one.kind,
                "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let group_version = group_version?;
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}))
}
