//! Decides in which shape an object leaves the server: whole or as metadata only, and under which API version. It never
//! changes what is kept.

use crate::resources::Resource;
use crate::status::Status;
use crate::store::Kept;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use std::sync::Arc;

/// The shape a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The whole object.
    Whole,
    /// PartialObjectMetadata.
    Metadata,
}

/// The first alternative of an Accept header that is served.
pub(crate) fn accepted(header: Option<&str>) -> Result<Shape, Status> {
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
        return Ok(Shape::Whole);
    };
    for alternative in header.split(',') {
        let mut parts = alternative.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !["application/json", "application/*", "*/*"].contains(&media) {
            continue;
        }
        let value = |name: &str| {
            let mut parameters = alternative.split(';').map(str::trim);
            parameters.find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
        };
        match (value("as"), value("g"), value("v")) {
            (None, ..) => return Ok(Shape::Whole),
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
                return Ok(Shape::Metadata);
            }
            _ => {}
        }
    }
    let message = "only the following media types are accepted: application/json";
    Err(Status::new(406, "NotAcceptable", message))
}

/// An object as one of `resource`, in the wanted shape.
pub(crate) fn shown(resource: &Resource, object: &Kept, shape: Shape) -> Kept {
    if shape == Shape::Metadata {
        let kind = "PartialObjectMetadata";
        return Arc::new(json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]}));
    }
    let version = resource.api_version();
    if resource.group == "events.k8s.io" {
        return Arc::new(renamed(object, &version, false));
    }
    if object["apiVersion"] == version {
        return object.clone();
    }
    let mut copy = (**object).clone();
    copy["apiVersion"] = version.into();
    Arc::new(copy)
}

/// An object that came in, as it is kept.
pub(crate) fn kept(resource: &Resource, mut object: Value) -> Value {
    if resource.group == "events.k8s.io" {
        object = renamed(&object, "v1", true);
    }
    object
}

/// Names of an event's fields in core/v1 and in events.k8s.io/v1.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn renamed(object: &Value, version: &str, to_core: bool) -> Value {
    let mut copy = object.clone();
    copy["apiVersion"] = version.into();
    if let Some(fields) = copy.as_object_mut() {
        for (core, newer) in EVENT_FIELDS {
            let (from, to) = if to_core { (newer, core) } else { (core, newer) };
            if let Some(value) = fields.remove(from) {
                fields.insert(to.into(), value);
            }
        }
    }
    copy
}

/// An item of a list: built-in kinds leave out what the list says for all.
pub(crate) struct Item<'o>(pub &'o Value, pub bool);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.as_object().into_iter().flatten();
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in fields.filter(|(key, _)| self.1 || (*key != "kind" && *key != "apiVersion")) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The object of a bookmark: its version, and what the typed kinds cannot leave out.
pub(crate) fn bookmark(resource: &Resource, version: u64, shape: Shape, end_of_initial: bool) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if end_of_initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    if shape == Shape::Metadata {
        return json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    }
    let mut object = json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
    let blank = match &*resource.storage {
        "/pods" => json!({"spec": {"containers": null}, "status": {}}),
        "/services" => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        "/nodes" => json!({"spec": {}, "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
            "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
            "architecture": ""}}}),
        "/namespaces" | "networking.k8s.io/servicecidrs" => json!({"spec": {}, "status": {}}),
        "discovery.k8s.io/endpointslices" => json!({"addressType": "", "endpoints": null, "ports": null}),
        "networking.k8s.io/networkpolicies" => json!({"spec": {"podSelector": {}}}),
        _ => json!({}),
    };
    for (key, value) in blank.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}
