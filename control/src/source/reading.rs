//! Decides which objects a file holds. It never decides what is served when one of them is faulty: that depends on what was there before.

use super::Problem;
use super::yaml::{Node, Place, YamlLimits, documents};
use crate::model::{Key, Object};
use crate::objects::{Fault, decode, kind_of};

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Reading {
    /// Objects of the kinds that are followed, in the order of the file.
    pub objects: Vec<Found>,
    /// How many objects of other kinds there are.
    pub ignored: usize,
}

/// One object of a file.
#[derive(Debug)]
pub struct Found {
    /// Which object.
    pub key: Key,
    /// Where it begins.
    pub place: Place,
    /// The object, see [`crate::objects::Decoded`].
    pub object: Option<Object>,
    /// What is wrong with it, and where.
    pub faults: Vec<(Place, Fault)>,
}

/// The objects in a text. The error is one that leaves open which objects the file has.
pub fn read_text(file: &str, text: &str, limits: YamlLimits) -> Result<Reading, Box<Problem>> {
    let refuse = |place, field: &str, text: String| {
        let (file, field) = (file.to_owned(), Some(field.to_owned()));
        Box::new(Problem {
            file,
            place: Some(place),
            object: None,
            field,
            text,
        })
    };
    let documents = documents(text, limits).map_err(|e| refuse(e.place, "", e.text))?;
    let mut reading = Reading::default();
    for document in &documents {
        let list = document.field("kind").map(Node::value).is_some_and(|k| k == "List");
        match document.field("items").filter(|_| list) {
            None => read_object(document, &mut reading).map_err(|(p, f, t)| refuse(p, f, t))?,
            Some(items) => {
                for item in items.items().unwrap_or_default() {
                    read_object(item, &mut reading).map_err(|(p, f, t)| refuse(p, f, t))?;
                }
            }
        }
    }
    Ok(reading)
}

fn read_object(node: &Node, reading: &mut Reading) -> Result<(), (Place, &'static str, String)> {
    let text = |field: &str| {
        node.field(field)
            .map(Node::value)
            .and_then(|v| v.as_str().map(str::to_owned))
    };
    let (Some(api), Some(kind)) = (text("apiVersion"), text("kind")) else {
        let why = "no Kubernetes object: apiVersion and kind must be given, as texts";
        return Err((node.place(), "", why.to_owned()));
    };
    let value = node.value();
    let Some(kind) = kind_of(&value) else {
        let group = api.split_once('/').map_or("", |(group, _)| group);
        let other_version = match kind.as_str() {
            "EndpointSlice" => (group == "discovery.k8s.io").then_some("discovery.k8s.io/v1"),
            "NetworkPolicy" => matches!(group, "networking.k8s.io" | "extensions").then_some("networking.k8s.io/v1"),
            _ => None,
        };
        if let Some(wanted) = other_version {
            let place = node.field("apiVersion").map_or(node.place(), Node::place);
            return Err((
                place,
                "apiVersion",
                format!("{kind} is not read in this version; want {wanted}"),
            ));
        }
        reading.ignored += 1;
        return Ok(());
    };
    let decoded = decode(kind, value);
    let Some(key) = decoded.key else {
        let meta = node.field("metadata");
        let place = meta.and_then(|m| m.field("name")).or(meta).unwrap_or(node).place();
        return Err((
            place,
            "metadata.name",
            format!("this {} has no name that can be read", kind.name()),
        ));
    };
    let faults = decoded
        .faults
        .into_iter()
        .map(|fault| (node.place_of(&fault.path), fault))
        .collect();
    reading.objects.push(Found {
        key,
        place: node.place(),
        object: decoded.object,
        faults,
    });
    Ok(())
}
