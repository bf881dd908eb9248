//! Decides how objects reach the model, and how mistakes in them are told. It never compiles anything from them.

mod claims;
mod manifests;
mod reading;
mod scalar;
mod scan;
mod yaml;

pub use claims::Claims;
pub use manifests::{Limits, Manifests};
pub use reading::{Found, Ignored, Reading, read_text};
pub use yaml::{Node, Place, VALUE, YamlError, YamlLimits, documents};

use crate::model::{Change, Key};
use std::fmt;

/// What a source says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// About an object, or that the first complete state has been said.
    Change(Change),
    /// Something is wrong in a file, until [`Event::Solved`] names that file.
    Problem(Problem),
    /// Whatever was wrong in this file is not any more, or is said anew right after this.
    Solved {
        /// The file, as in [`Problem::file`].
        file: String,
    },
    /// What a file holds of kinds that are not followed; holds until it is said anew.
    Ignored {
        /// The file, as in [`Problem::file`].
        file: String,
        /// How many of which kind.
        kinds: Ignored,
    },
}

/// A mistake that a person has to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, with its directory.
    pub file: String,
    /// Where in it.
    pub place: Option<Place>,
    /// In which object.
    pub object: Option<Key>,
    /// In which field of the object.
    pub field: Option<String>,
    /// What is wrong, what follows from it, what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = self.place {
            write!(f, ", line {}, column {}", place.line, place.column)?;
        }
        if let Some(object) = &self.object {
            write!(f, ", {object}")?;
        }
        if let Some(field) = self.field.as_ref().filter(|field| !field.is_empty()) {
            write!(f, ", {field}")?;
        }
        write!(f, ": {}", self.text)
    }
}
