//! Decides how a line of the file looks.

use super::Op;
use crate::objects::trimmed;
use crate::source::kubernetes::wants::Want;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A line behind the header: about an object, or the end of a batch.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// About an object.
    Object(About),
    /// The end of a batch.
    End(End),
}

/// What a line says about an object.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct About {
    /// Which request said that it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is: Option<Want>,
    /// Which request said that it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<Want>,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) name: String,
    /// As in the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Box<RawValue>>,
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

impl Line {
    /// Reads a line; `None` if it is none.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let about = serde_json::from_slice::<About>(text)
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

    /// The line with its end.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl About {
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
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
                Some(Self {
                    is: Some(want),
                    namespace: text("namespace"),
                    name: text("name"),
                    object: to_raw_value(&object).ok(),
                    ..Self::default()
                })
            }
            Op::Gone { want, name } => Some(Self {
                gone: Some(want),
                namespace: name.0,
                name: name.1,
                ..Self::default()
            }),
            Op::Version { .. } | Op::List { .. } | Op::Unwanted { .. } | Op::Move { .. } => None,
        }
    }

    /// Which object of which request, in few bytes.
    pub(super) fn which(&self) -> u64 {
        // The same for the life of a process, which is as long as it is kept.
        let mut hasher = DefaultHasher::new();
        (self.is.or(self.gone), &self.namespace, &self.name).hash(&mut hasher);
        hasher.finish()
    }
}
