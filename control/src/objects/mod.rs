//! Decides what an API object means to this node: defaults filled in, everything checked. It never looks at another object than the one given.
//!
//! Only the fields in use are read, and wrong types are mistakes. Unknown fields are ignored, as there are many that are not used, but
//! for those of a NetworkPolicy and of a ClusterNetworkPolicy, all of which are. What comes
//! out is a [`Decoded`]: the object, or the mistakes, or both when the faulty part can safely be left out.

mod cluster_policy;
mod cluster_policy_fields;
mod cluster_rule;
mod fault;
mod kinds;
mod node;
mod parts;
mod pod;
mod policy;
mod policy_fields;
mod service;
mod service_cidr;
mod slice;

pub use fault::{Fault, FieldPath, Step};
pub(crate) use node::annotations;
pub(crate) use parts::{proto_name, shown};
pub(crate) use pod::NAME_LABEL;

use crate::model::{Key, Kind, Object};
use fault::Faults;
use kinds::Read;
use parts::check_names;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What an object was found to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Which object it is; `None` when not even that can be read.
    pub key: Option<Key>,
    /// The object: whole if `faults` is empty, else without the faulty parts, for use where no better version is known.
    /// `None` without faults: nothing that this node serves (a headless service, say).
    pub object: Option<Object>,
    /// What is wrong with it, in the order of its fields.
    pub faults: Vec<Fault>,
}

/// The kind with this `apiVersion` and `kind`, if it is followed.
pub fn kind_of(api: &str, kind: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|k| k.name() == kind).filter(|k| {
        let group = match k {
            Kind::EndpointSlice => "discovery.k8s.io/v1",
            Kind::NetworkPolicy | Kind::ServiceCidr => "networking.k8s.io/v1",
            Kind::ClusterNetworkPolicy => "policy.networking.k8s.io/v1alpha2",
            _ => "v1",
        };
        api == group
    })
}

/// Reads an object of this kind.
pub fn decode(kind: Kind, mut value: Value) -> Decoded {
    decode_in_place(kind, &mut value)
}

/// As [`decode`], and leaves the value, without its nulls.
pub(crate) fn decode_in_place(kind: Kind, value: &mut Value) -> Decoded {
    drop_nulls(value, false);
    let value: &Value = value;
    let key = key_of(kind, value);
    match kind {
        Kind::Node => decoded(kind, key, from_value::<node::Node>(value)),
        Kind::Namespace => decoded(kind, key, from_value::<pod::Namespace>(value)),
        Kind::Pod => decoded(kind, key, from_value::<pod::Pod>(value)),
        Kind::Service => decoded(kind, key, from_value::<service::Service>(value)),
        Kind::EndpointSlice => decoded(kind, key, from_value::<slice::Slice>(value)),
        Kind::ServiceCidr => decoded(kind, key, from_value::<service_cidr::ServiceCidr>(value)),
        Kind::NetworkPolicy => {
            let unknown = policy_fields::unknown(value);
            let read = from_value::<policy::NetworkPolicy>(value);
            decoded(kind, key, read.map(|policy| policy::Checked { policy, unknown }))
        }
        Kind::ClusterNetworkPolicy => {
            let unknown = cluster_policy_fields::unknown(value);
            let read = from_value::<cluster_policy::ClusterNetworkPolicy>(value);
            decoded(
                kind,
                key,
                read.map(|policy| cluster_policy::Checked { policy, unknown }),
            )
        }
    }
}

/// As [`decode`], of a text, and several times as fast where nothing is wrong with it. A text that is no JSON has no key.
pub(crate) fn decode_text(kind: Kind, text: &str) -> Decoded {
    let quick = match kind {
        Kind::Node => from_text::<node::Node>(kind, text),
        Kind::Namespace => from_text::<pod::Namespace>(kind, text),
        Kind::Pod => from_text::<pod::Pod>(kind, text),
        Kind::Service => from_text::<service::Service>(kind, text),
        Kind::EndpointSlice => from_text::<slice::Slice>(kind, text),
        Kind::ServiceCidr => from_text::<service_cidr::ServiceCidr>(kind, text),
        // Fields that nobody knows have to be seen.
        Kind::NetworkPolicy | Kind::ClusterNetworkPolicy => None,
    };
    quick.unwrap_or_else(|| decode(kind, serde_json::from_str(text).unwrap_or_default()))
}

/// The object with nothing but what is read of it: read again it says the same, if nothing in it is faulty. `None` if it cannot be read.
pub(crate) fn trimmed(kind: Kind, value: &Value) -> Option<Value> {
    fn again<T: DeserializeOwned + Serialize>(value: &Value) -> Option<Value> {
        let mut less = serde_json::to_value(T::deserialize(value).ok()?).ok()?;
        drop_nulls(&mut less, false);
        Some(less)
    }
    let mut less = match kind {
        Kind::Node => again::<node::Node>(value),
        Kind::Namespace => again::<pod::Namespace>(value),
        Kind::Pod => again::<pod::Pod>(value),
        Kind::Service => again::<service::Service>(value),
        Kind::EndpointSlice => again::<slice::Slice>(value),
        Kind::NetworkPolicy => again::<policy::NetworkPolicy>(value),
        Kind::ClusterNetworkPolicy => again::<cluster_policy::ClusterNetworkPolicy>(value),
        Kind::ServiceCidr => again::<service_cidr::ServiceCidr>(value),
    };
    // Only of pods is it used.
    if let Some(meta) = less.as_mut().and_then(|less| less["metadata"].as_object_mut())
        && kind != Kind::Pod
    {
        meta.remove("uid");
    }
    less
}

fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize::<_, T>(value).map_err(|e| Fault {
        path: FieldPath::from(e.path()),
        text: plain(&e.inner().to_string()),
        left_out: None,
    })
}

/// `None` where a closer look is needed.
fn from_text<T: DeserializeOwned + Read>(kind: Kind, text: &str) -> Option<Decoded> {
    let mut object: T = serde_json::from_str(text).ok()?;
    let meta = object.meta();
    let key = Key {
        kind,
        namespace: match (kind.namespaced(), meta.namespace.as_str()) {
            (false, _) => String::new(),
            (true, "") => "default".to_owned(),
            (true, given) => given.to_owned(),
        },
        name: meta.name.clone(),
    };
    (!key.name.is_empty()).then(|| decoded(kind, Some(key), Ok(object)))
}

fn decoded<T: Read>(kind: Kind, key: Option<Key>, read: Result<T, Fault>) -> Decoded {
    let mut faults = Faults::default();
    let object = match read {
        Ok(mut object) => {
            check_names(object.meta(), kind, &mut faults);
            object.object(&mut faults)
        }
        Err(fault) => {
            faults.0.push(fault);
            None
        }
    };
    let usable = faults.0.iter().all(|fault| fault.left_out.is_some());
    Decoded {
        key,
        object: object.filter(|_| usable),
        faults: faults.0,
    }
}

/// The key straight from the metadata, so that a mistake elsewhere does not hide which object it is in.
fn key_of(kind: Kind, value: &Value) -> Option<Key> {
    let meta = value.get("metadata")?;
    let name = meta.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
    let namespace = match meta.get("namespace") {
        _ if !kind.namespaced() => String::new(),
        None => "default".to_owned(),
        Some(namespace) => match namespace.as_str()? {
            "" => "default".to_owned(),
            given => given.to_owned(),
        },
    };
    Some(Key { kind, namespace, name })
}

/// `null` means absent in the API; in a map of labels it means the empty text.
fn drop_nulls(value: &mut Value, texts: bool) {
    match value {
        Value::Object(map) => {
            if texts {
                map.values_mut()
                    .filter(|v| v.is_null())
                    .for_each(|v| *v = Value::String(String::new()));
            } else {
                map.retain(|_, v| !v.is_null());
            }
            for (key, inner) in map.iter_mut() {
                drop_nulls(inner, matches!(key.as_str(), "labels" | "annotations" | "matchLabels"));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| drop_nulls(inner, false)),
        _ => {}
    }
}

/// A deserializer's words, for people who do not know Rust's types.
fn plain(message: &str) -> String {
    let Some(rest) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
    else {
        return message.to_owned();
    };
    let Some((found, wanted)) = rest.split_once(", expected ") else {
        return message.to_owned();
    };
    let found = found
        .replace("integer ", "the number ")
        .replace("floating point ", "the number ");
    let found = match found.as_str() {
        "map" => "a map".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => found,
    };
    let wanted = match wanted {
        "i64" | "u32" => "a whole number",
        "a string" => "a text (put it in quotes)",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other if other.starts_with("struct ") || other == "a map" => "a map of fields",
        other => other,
    };
    format!("found {found}, want {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{YamlLimits, documents};
    use serde_json::json;
    use std::path::{Path, PathBuf};

    fn yaml_files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                yaml_files(&path, found);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                found.push(path);
            }
        }
    }

    #[test]
    fn an_object_without_what_is_not_read_says_the_same() {
        let mut files = Vec::new();
        yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut files);
        let limits = YamlLimits {
            nodes: 1 << 20,
            depth: 64,
            bytes: 8 << 20,
            aliased: 1 << 20,
        };
        let others = "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {b: c}}}\n---\n\
            {apiVersion: v1, kind: Node, metadata: {name: a, annotations: {flannel.alpha.coreos.com/backend-type: vxlan, b: c}}, \
            spec: {podCIDR: 10.0.0.0/24}, status: {conditions: [{type: NetworkUnavailable, status: 'True', reason: x}], \
            addresses: [{type: InternalIP, address: 192.0.2.1}]}}\n---\n\
            {apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: a}, spec: {cidrs: [10.96.0.0/16]}}\n";
        let read = |file: &PathBuf| (file.clone(), std::fs::read_to_string(file).unwrap());
        let mut texts: Vec<(PathBuf, String)> = files.iter().map(read).collect();
        texts.push(("nodes and namespaces".into(), others.to_owned()));
        let mut checked = std::collections::BTreeMap::new();
        for (file, text) in texts {
            for document in documents(&text, limits).unwrap_or_default() {
                let text = |field: &str| document.field(field).and_then(|node| node.text().map(str::to_owned));
                let kind = text("apiVersion")
                    .zip(text("kind"))
                    .and_then(|(api, kind)| kind_of(&api, &kind));
                let Some(kind) = kind else { continue };
                let mut value = document.value();
                value["metadata"]["managedFields"] = serde_json::json!([{"manager": "kubectl"}]);
                let whole = decode_in_place(kind, &mut value);
                let Some(less) = trimmed(kind, &value).filter(|_| whole.faults.is_empty()) else {
                    continue;
                };
                assert!(value.to_string().contains("managedFields") && !less.to_string().contains("managedFields"));
                for text in [value.to_string(), less.to_string()] {
                    assert_eq!(decode_text(kind, &text), whole, "{}", file.display());
                }
                assert_eq!(decode(kind, less), whole, "{}", file.display());
                *checked.entry(kind).or_insert(0) += 1;
            }
        }
        assert_eq!(checked.len(), Kind::ALL.len(), "{checked:?}");
    }

    /// Values of all kinds in all places: what a text says is what its value says.
    #[test]
    fn a_text_is_read_as_its_value_is() {
        let strange = [
            json!(null),
            json!(7),
            json!(""),
            json!("-x.y"),
            json!([]),
            json!([null]),
            json!({}),
            json!({"a": null}),
            json!(true),
        ];
        for (kind, whole) in [
            (
                Kind::Node,
                json!({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": "a"}]}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
            ),
            (
                Kind::Namespace,
                json!({"metadata": {"name": "a", "labels": {"b": "c"}}}),
            ),
            (
                Kind::Pod,
                json!({"metadata": {"name": "a", "namespace": "b", "labels": {"c": "d"}}, "spec": {"nodeName": "e"}, "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}]}}),
            ),
            (
                Kind::Service,
                json!({"metadata": {"name": "a", "annotations": {"b": "c"}}, "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}}),
            ),
            (
                Kind::EndpointSlice,
                json!({"metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "b"}}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.3"]}], "ports": [{"port": 80}]}),
            ),
            (
                Kind::NetworkPolicy,
                json!({"metadata": {"name": "a"}, "spec": {"podSelector": {}, "ingress": [{"frm": []}]}}),
            ),
            (
                Kind::ClusterNetworkPolicy,
                json!({"metadata": {"name": "a"}, "spec": {"tier": "Admin", "priority": 7, "subject": {"namespaces": {}}, "egress": [{"action": "Deny", "to": [{"networks": ["10.0.0.0/8"]}]}]}}),
            ),
        ] {
            let mut paths = Vec::new();
            every_path(&whole, &mut String::new(), &mut paths);
            for path in paths {
                for value in &strange {
                    let mut odd = whole.clone();
                    *odd.pointer_mut(&path).unwrap() = value.clone();
                    let text = odd.to_string();
                    assert_eq!(decode_text(kind, &text), decode(kind, odd), "{text}");
                }
            }
        }
        assert_eq!(decode_text(Kind::Pod, "{").key, None);
    }

    fn every_path(value: &Value, at: &mut String, paths: &mut Vec<String>) {
        paths.push(at.clone());
        let mut inside = |key: &str, value: &Value| {
            let length = at.len();
            at.push('/');
            at.push_str(&key.replace('~', "~0").replace('/', "~1"));
            every_path(value, at, paths);
            at.truncate(length);
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| inside(key, value)),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(at, value)| inside(&at.to_string(), value)),
            _ => {}
        }
    }
}
