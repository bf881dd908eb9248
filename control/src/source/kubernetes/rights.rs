//! What the agent may ask by `deploy/rbac.yaml`, beside what it asks.

use super::wants::{Made, Want};
use super::{Announcement, events};
use k8s_openapi::api::rbac::v1::ClusterRole;
use std::collections::BTreeSet;

/// Group, resource and verb, as rules have them.
type Right = (String, String, String);

/// What a request needs, by the URL of API requests: `/api/v1/RESOURCE[/NAME[/PART]]` or `/apis/GROUP/VERSION/...`.
fn needs(made: Made) -> Right {
    let asked = made.unwrap();
    let path: Vec<&str> = asked.uri().path().trim_start_matches('/').split('/').collect();
    let (group, rest) = match path.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        other => panic!("{other:?}"),
    };
    let rest = match rest {
        ["namespaces", _, inside @ ..] if !inside.is_empty() => inside,
        other => other,
    };
    let resource = match rest {
        [resource] | [resource, _] => (*resource).to_owned(),
        [resource, _, part] => format!("{resource}/{part}"),
        other => panic!("{other:?}"),
    };
    let watch = asked.uri().query().is_some_and(|query| query.contains("watch=true"));
    let verb = match (asked.method().as_str(), watch) {
        ("GET", true) => "watch",
        ("GET", false) => "list",
        ("PATCH", _) => "patch",
        ("POST", _) => "create",
        other => panic!("{other:?}"),
    };
    (group.to_owned(), resource, verb.to_owned())
}

fn asked() -> BTreeSet<Right> {
    let wants = Want::FIRST.into_iter().chain([Want::OtherPods, Want::ServiceCidrs]);
    let followed = wants.flat_map(|want| [want.list("n", None, false), want.watch("n", None, 300)]);
    let announcement = Announcement {
        node: "n".to_owned(),
        annotations: [].into(),
        available: true,
    };
    let written = [announcement.patch()].into_iter().chain(events::requests());
    followed.chain(written).map(needs).collect()
}

fn granted() -> BTreeSet<Right> {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(include_str!("../../../../deploy/rbac.yaml")).unwrap();
    let roles = documents
        .into_iter()
        .filter(|document| document["kind"] == "ClusterRole");
    let roles: Vec<ClusterRole> = roles.map(|role| serde_json::from_value(role).unwrap()).collect();
    let mut granted = BTreeSet::new();
    for rule in roles.into_iter().flat_map(|role| role.rules.unwrap_or_default()) {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    granted.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    granted
}

#[test]
fn what_is_granted_is_what_is_asked() {
    assert_eq!(granted(), asked());
}
