//! Decides how what is known of a cluster outlives the agent. It never decides what is served from it.
//!
//! A file of JSON lines that grows by batches: objects as the API has them, with the fields that are used, what is gone, and at the end of each batch the
//! versions up to which all of it is said, with a checksum. As objects are read again the way the API server's are, the next version of Sluice may
//! make more of them.

mod journal;
mod line;
mod load;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use load::{Restored, load};
pub(super) use writer::{Saver, Writer, start};

use super::wants::Want;
use crate::model::Name;
use serde_json::Value;
use std::path::PathBuf;

/// What is saved.
#[derive(Debug)]
pub(super) enum Op {
    /// The object is this; `whole` if nothing in it is faulty, so that fields without a use may go.
    Is { want: Want, object: Value, whole: bool },
    /// It is gone.
    Gone { want: Want, name: Name },
    /// All before this version has been said.
    Version { want: Want, version: String },
    /// What was said is not what there is any more, and there is no version to go on from.
    List { want: Want },
    /// Nobody asks any more.
    Unwanted { want: Want },
    /// From now on the file has this name.
    Move { path: PathBuf },
}

/// Whose state it is. Of another one nothing is used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Header {
    /// Of the file.
    format: u32,
    /// Which cluster, by its certificate authority.
    cluster: String,
    /// Which node's view of it.
    node: String,
}

impl Header {
    pub(super) fn new(cluster: String, node: String) -> Self {
        Self {
            format: 1,
            cluster,
            node,
        }
    }
}
