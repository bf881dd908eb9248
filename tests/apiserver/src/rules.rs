//! Decides what the server itself writes into objects that come in: identity, generation, which half of the object a
//! writer may touch, and the fields that every server fills. It never does what controllers do.

use crate::allocate;
use crate::resources::Resource;
use crate::status::Status;
use serde_json::{Value, json};

/// Completes an object that is new.
pub(crate) fn born(resource: &Resource, object: &mut Value) {
    let metadata = &mut object["metadata"];
    metadata["uid"] = uid().into();
    metadata["creationTimestamp"] = now().into();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        remove(metadata, field);
    }
    if resource.generation {
        metadata["generation"] = 1.into();
    }
    match &*resource.storage {
        "/namespaces" => {
            let name = metadata["name"].clone();
            metadata["labels"]["kubernetes.io/metadata.name"] = name;
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        "/pods" => object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"}),
        "/services" => object["status"] = json!({"loadBalancer": {}}),
        // A kubelet registers its node with a status.
        "/nodes" => {}
        _ if resource.status => remove(object, "status"),
        _ => {}
    }
    complete(resource, None, object);
}

/// Fields that a new or changed object gets from the server.
fn complete(resource: &Resource, old: Option<&Value>, object: &mut Value) {
    if &*resource.storage != "/services" {
        return;
    }
    default(&mut object["spec"], "type", || "ClusterIP".into());
    default(&mut object["spec"], "sessionAffinity", || "None".into());
    if object["spec"]["type"] != "ExternalName" {
        default(&mut object["spec"], "internalTrafficPolicy", || "Cluster".into());
    }
    for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
        default(port, "protocol", || "TCP".into());
        let same = port["port"].clone();
        default(port, "targetPort", || same);
    }
    allocate::complete(old, object);
}

fn default(object: &mut Value, field: &str, value: impl FnOnce() -> Value) {
    if object[field].is_null() {
        object[field] = value();
    }
}

/// Settles a change: what the writer may not touch stays, the generation counts. `status` if it came by the sub-resource.
pub(crate) fn changed(resource: &Resource, old: &Value, new: &mut Value, status: bool) {
    for field in [
        "uid",
        "creationTimestamp",
        "name",
        "namespace",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        restore(&old["metadata"], &mut new["metadata"], field);
    }
    new["kind"] = old["kind"].clone();
    new["apiVersion"] = old["apiVersion"].clone();
    if status {
        let untouched: Vec<String> = old
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect();
        for field in untouched
            .iter()
            .filter(|field| !["metadata", "status"].contains(&field.as_str()))
        {
            restore(old, new, field);
        }
        if resource.custom {
            let version = new["metadata"]["resourceVersion"].clone();
            new["metadata"] = old["metadata"].clone();
            new["metadata"]["resourceVersion"] = version;
        }
    } else if resource.status {
        restore(old, new, "status");
    }
    complete(resource, Some(old), new);
    if resource.generation && !status && body(old) != body(new) {
        new["metadata"]["generation"] = (old["metadata"]["generation"].as_u64().unwrap_or(0) + 1).into();
    }
}

/// All but metadata and status.
fn body(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| !["metadata", "status"].contains(&key.as_str()))
        .collect()
}

fn restore(old: &Value, new: &mut Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => remove(new, field),
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// Checks what a writer says of itself against the path, and gives an unnamed object a name. Says the name.
pub(crate) fn identify(
    resource: &Resource,
    object: &mut Value,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<String, Status> {
    let (kind, version) = (
        object["kind"].as_str().unwrap_or_default(),
        object["apiVersion"].as_str().unwrap_or_default(),
    );
    if !kind.is_empty() && kind != resource.kind || !version.is_empty() && version != resource.api_version() {
        let message = format!(
            "the API version in the data ({version}, Kind={kind}) does not match the expected API version ({}, Kind={})",
            resource.api_version(),
            resource.kind
        );
        return Err(Status::bad_request(message));
    }
    object["kind"] = resource.kind.clone().into();
    object["apiVersion"] = resource.api_version().into();
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let metadata = &mut object["metadata"];
    match (
        resource.namespaced,
        namespace,
        metadata["namespace"].as_str().filter(|own| !own.is_empty()),
    ) {
        (false, ..) => remove(metadata, "namespace"),
        (true, Some(namespace), Some(own)) if own != namespace => {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(message));
        }
        (true, Some(namespace), _) => metadata["namespace"] = namespace.into(),
        (true, None, _) => {}
    }
    let own = metadata["name"].as_str().unwrap_or_default().to_owned();
    match name {
        Some(name) if !own.is_empty() && own != name => {
            let message = format!("the name of the object ({own}) does not match the name on the URL ({name})");
            return Err(Status::bad_request(message));
        }
        Some(name) => metadata["name"] = name.into(),
        None if own.is_empty() => {
            let base = metadata["generateName"].as_str().unwrap_or_default();
            if base.is_empty() {
                let why = "Required value: name or generateName is required".into();
                return Err(Status::invalid(
                    &resource.kind,
                    &resource.group,
                    "",
                    &[("metadata.name", "FieldValueRequired", why)],
                ));
            }
            metadata["name"] = generated(base).into();
        }
        None => {}
    }
    let name = metadata["name"].as_str().unwrap_or_default().to_owned();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if !name.chars().all(good) || name.starts_with(['-', '.']) || name.ends_with(['-', '.']) || name.len() > 253 {
        let why = format!(
            "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        );
        return Err(Status::invalid(
            &resource.kind,
            &resource.group,
            &name,
            &[("metadata.name", "FieldValueInvalid", why)],
        ));
    }
    Ok(name)
}

/// A name out of a base: five characters that spell nothing.
fn generated(base: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = || char::from(LETTERS[fastrand::usize(..LETTERS.len())]);
    let end: String = (0..5).map(|_| letter()).collect();
    format!("{base}{end}")
}

fn uid() -> String {
    let (a, b) = (fastrand::u64(..), fastrand::u64(..));
    let (version, variant) = (
        a >> 12 & 0xf_ffff_ffff_ffff,
        b & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000,
    );
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        version >> 20,
        version >> 4 & 0xffff,
        a & 0xfff,
        variant >> 48,
        variant & 0xffff_ffff_ffff
    )
}

/// The time as objects have it.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
