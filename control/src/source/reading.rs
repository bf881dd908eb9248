//! Decides which objects a file holds. It never decides what is served when one of them is faulty: that depends on what was there
//! before. What an object is must be known before it is built, so that what nobody wants costs nothing.

use super::Problem;
use super::yaml::{Node, Place, YamlLimits, documents};
use crate::model::{Key, Object};
use crate::objects::{Fault, decode, kind_of, shown};
use std::collections::BTreeMap;

/// Kinds that are told apart among those that are not followed.
const KINDS: usize = 16;

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Reading {
    /// Objects of the kinds that are followed, in the order of the file.
    pub objects: Vec<Found>,
    /// How many objects of which other kinds there are.
    pub ignored: Ignored,
}

/// Objects that are not followed, counted by kind.
pub type Ignored = BTreeMap<String, u64>;

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
        let (origin, field) = (file.to_owned(), Some(field.to_owned()));
        Box::new(Problem {
            origin,
            place: Some(place),
            object: None,
            field,
            text,
        })
    };
    let documents = documents(text, limits).map_err(|e| refuse(e.place, "", e.text))?;
    let mut reading = Reading::default();
    for document in &documents {
        let own = TypeMeta::of(document);
        let Some((items, of)) = own.and_then(|own| Some((document.field("items")?, own.listed()?))) else {
            read_object(document, own, &mut reading).map_err(|(p, f, t)| refuse(p, f, t))?;
            continue;
        };
        for item in items.items().unwrap_or_default() {
            let own = TypeMeta::of(item).or(of);
            read_object(item, own, &mut reading).map_err(|(p, f, t)| refuse(p, f, t))?;
        }
    }
    Ok(reading)
}

/// `apiVersion` and `kind`.
#[derive(Clone, Copy)]
struct TypeMeta<'n> {
    api: &'n str,
    kind: &'n str,
}

impl<'n> TypeMeta<'n> {
    fn of(node: &'n Node) -> Option<Self> {
        let text = |field| node.field(field).and_then(Node::text);
        Some(Self {
            api: text("apiVersion")?,
            kind: text("kind")?,
        })
    }

    /// What the items of a list are that do not say it themselves, as in a `PodList`; `Some(None)` of a plain `List`, whose items do.
    fn listed(self) -> Option<Option<Self>> {
        let kind = self.kind.strip_suffix("List")?;
        if kind.is_empty() {
            return Some(None);
        }
        kind_of(self.api, kind).map(|_| Some(Self { kind, ..self }))
    }
}

fn read_object(
    node: &Node,
    own: Option<TypeMeta<'_>>,
    reading: &mut Reading,
) -> Result<(), (Place, &'static str, String)> {
    let Some(TypeMeta { api, kind }) = own else {
        let why = "no Kubernetes object: apiVersion and kind must be given, as texts";
        return Err((node.place(), "", why.to_owned()));
    };
    let Some(kind) = kind_of(api, kind) else {
        let group = api.split_once('/').map_or("", |(group, _)| group);
        let other_version = match kind.strip_suffix("List").unwrap_or(kind) {
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
        let known = reading.ignored.len() < KINDS || reading.ignored.contains_key(kind);
        let name = if known { shown(kind) } else { "others".to_owned() };
        *reading.ignored.entry(name).or_default() += 1;
        return Ok(());
    };
    let value = node.value();
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
