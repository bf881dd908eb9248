//! Decides how a line of the file looks.

use super::Op;
use crate::objects::trimmed;
use crate::source::kubernetes::wants::Want;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A line behind the header: about an object, or the end of a batch. Nothing of it is copied.
#[derive(Debug)]
pub(super) enum Line<'t> {
    /// About an object.
    Object(About<'t>),
    /// The end of a batch.
    End(End),
}

/// What a line says about an object.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct About<'t> {
    /// Which request said that it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is: Option<Want>,
    /// Which request said that it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<Want>,
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'t, str>,
    #[serde(borrow)]
    pub(super) name: Cow<'t, str>,
    /// As in the API.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<&'t RawValue>,
}

/// The end of a batch.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct End {
    /// Version by request; empty where one must list again.
    pub(super) until: BTreeMap<Want, String>,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// CRC-32 of all bytes since the end before, and of the above.
    pub(super) crc: u32,
}

impl End {
    /// The end of a batch with this checksum before it.
    pub(super) fn new(mut hasher: crc32fast::Hasher, until: BTreeMap<Want, String>, at: u64) -> Self {
        hasher.update(&serde_json::to_vec(&until).unwrap_or_default());
        hasher.update(&at.to_le_bytes());
        let crc = hasher.finalize();
        Self { until, at, crc }
    }
}

impl End {
    /// The line with its end.
    pub(super) fn text(&self) -> Vec<u8> {
        line_of(self)
    }
}

impl<'t> Line<'t> {
    /// Reads a line; `None` if it is none.
    pub(super) fn read(text: &'t [u8]) -> Option<Self> {
        let about = serde_json::from_slice::<About<'t>>(text)
            .ok()
            .filter(|about| match (about.is, about.gone) {
                (Some(_), None) => about.object.is_some(),
                (None, gone) => gone.is_some(),
                _ => false,
            });
        about
            .map(Self::Object)
            .or_else(|| serde_json::from_slice(text).ok().map(Self::End))
    }
}

impl About<'_> {
    /// Which object of which request, in few bytes.
    pub(super) fn which(&self) -> u64 {
        // The same for the life of a process, which is as long as it is kept.
        let mut hasher = DefaultHasher::new();
        (self.is.or(self.gone), &self.namespace, &self.name).hash(&mut hasher);
        hasher.finish()
    }
}

/// A line about an object, as it is written.
pub(super) struct Written {
    /// As [`About::which`].
    pub(super) which: u64,
    /// Whether the object is there.
    pub(super) is: bool,
    pub(super) text: Vec<u8>,
}

impl Written {
    /// What is written of an object or its end; `None` of what is no line.
    pub(super) fn of(op: Op) -> Option<Self> {
        match op {
            Op::Is {
                want,
                mut object,
                whole,
            } => {
                if whole && let Some(less) = trimmed(want.kind(), &object) {
                    object = less;
                } else if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    meta.remove("managedFields");
                }
                let text = |field: &str| Cow::Borrowed(object["metadata"][field].as_str().unwrap_or_default());
                let raw = to_raw_value(&object).ok()?;
                Some(Self::line(&About {
                    is: Some(want),
                    namespace: text("namespace"),
                    name: text("name"),
                    object: Some(&raw),
                    ..About::default()
                }))
            }
            Op::Gone { want, name } => Some(Self::line(&About {
                gone: Some(want),
                namespace: name.0.into(),
                name: name.1.into(),
                ..About::default()
            })),
            Op::Version { .. } | Op::List { .. } | Op::Unwanted { .. } | Op::Move { .. } => None,
        }
    }

    fn line(about: &About<'_>) -> Self {
        Self {
            which: about.which(),
            is: about.is.is_some(),
            text: line_of(about),
        }
    }
}

fn line_of<T: Serialize>(what: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    text.push(b'\n');
    text
}
