//! Decides what an API object means to this node: defaults filled in, everything checked. It never looks at another object than the one given.
//!
//! Only the fields in use are read, and wrong types are mistakes. Unknown fields are ignored, as there are many that are not used, but
//! for those of a NetworkPolicy, all of which are. What comes
//! out is a [`Decoded`]: the object, or the mistakes, or both when the faulty part can safely be left out.

mod fault;
mod node;
mod parts;
mod pod;
mod policy;
mod policy_fields;
mod service;
mod slice;

pub use fault::{Fault, FieldPath, Step};
pub(crate) use parts::{proto_name, shown};
pub(crate) use pod::NAME_LABEL;

use crate::model::{Key, Kind, Object};
use fault::Faults;
use parts::{Meta, check_names};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

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
            Kind::NetworkPolicy => "networking.k8s.io/v1",
            _ => "v1",
        };
        api == group
    })
}

/// Reads an object of this kind.
pub fn decode(kind: Kind, mut value: Value) -> Decoded {
    drop_nulls(&mut value, false);
    let key = key_of(kind, &value);
    let mut faults = Faults::default();
    let object = match kind {
        Kind::Node => read(value, kind, &mut faults, |o: &mut node::Node| &mut o.metadata)
            .map(|o| Object::Node(Arc::new(node::convert(o, &mut faults)))),
        Kind::Namespace => read(value, kind, &mut faults, |o: &mut pod::Namespace| &mut o.metadata)
            .map(|o| Object::Namespace(Arc::new(pod::convert_namespace(o)))),
        Kind::Pod => read(value, kind, &mut faults, |o: &mut pod::Pod| &mut o.metadata)
            .map(|o| Object::Pod(Arc::new(pod::convert(o, &mut faults)))),
        Kind::Service => read(value, kind, &mut faults, |o: &mut service::Service| &mut o.metadata)
            .and_then(|o| service::convert(o, &mut faults))
            .map(|record| Object::Service(Arc::new(record))),
        Kind::EndpointSlice => read(value, kind, &mut faults, |o: &mut slice::Slice| &mut o.metadata)
            .and_then(|o| slice::convert(o, &mut faults))
            .map(|record| Object::Slice(Arc::new(record))),
        Kind::NetworkPolicy => {
            let unknown = policy_fields::unknown(&value);
            read(value, kind, &mut faults, |o: &mut policy::NetworkPolicy| {
                &mut o.metadata
            })
            .map(|o| Object::Policy(Arc::new(policy::convert(o, unknown, &mut faults))))
        }
    };
    let usable = faults.0.iter().all(|fault| fault.left_out.is_some());
    Decoded {
        key,
        object: object.filter(|_| usable),
        faults: faults.0,
    }
}

fn read<T: DeserializeOwned>(
    value: Value,
    kind: Kind,
    faults: &mut Faults,
    meta: impl Fn(&mut T) -> &mut Meta,
) -> Option<T> {
    match serde_path_to_error::deserialize::<_, T>(value) {
        Ok(mut object) => {
            check_names(meta(&mut object), kind, faults);
            Some(object)
        }
        Err(e) => {
            let path = FieldPath::from(e.path());
            faults.whole(path, plain(&e.inner().to_string()));
            None
        }
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
