//! Decides how objects reach the model, and how mistakes in them are told. It never compiles anything from them.

mod claims;
mod faulty;
mod kubernetes;
mod manifests;
mod notice;
mod reading;
mod scalar;
mod scan;
mod yaml;

pub use claims::Claims;
pub use kubernetes::{Announcement, Cluster, Kubernetes, Servers};
pub use manifests::{Limits, Manifests};
pub use notice::{Notice, Regarding};
pub use reading::{Found, Ignored, Reading, read_text};
pub use yaml::{Node, Place, VALUE, YamlError, YamlLimits, documents};

use crate::model::{Change, Key};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where objects come from, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// A directory of manifests.
    Manifests(PathBuf),
    /// An API server.
    Kubernetes(Cluster),
}

/// What objects come from. All say the same way what there is.
pub enum Source {
    /// A directory of manifests.
    Manifests(Manifests),
    /// An API server.
    Kubernetes(Kubernetes),
}

impl Source {
    /// Begins to follow.
    ///
    /// # Errors
    /// It cannot be followed at all, for a person. A directory or server that is not there yet is no error.
    pub fn follow(settings: SourceSettings) -> Result<Self, String> {
        match settings {
            SourceSettings::Manifests(dir) => Manifests::follow(&dir, Limits::default())
                .map(Self::Manifests)
                .map_err(|err| format!("cannot follow {}: {err}", dir.display())),
            SourceSettings::Kubernetes(cluster) => Kubernetes::follow(cluster).map(Self::Kubernetes),
        }
    }

    /// The next event; `None` never comes while this value lives, unless its thread died.
    pub async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Manifests(manifests) => manifests.next().await,
            Self::Kubernetes(kubernetes) => kubernetes.next().await,
        }
    }

    /// The next event, if one is there.
    pub fn try_next(&mut self) -> Option<Event> {
        match self {
            Self::Manifests(manifests) => manifests.try_next(),
            Self::Kubernetes(kubernetes) => kubernetes.try_next(),
        }
    }

    /// `manifests` or `kubernetes`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Manifests(_) => "manifests",
            Self::Kubernetes(_) => "kubernetes",
        }
    }

    /// The directory, or the address that is asked now.
    pub fn place(&self) -> String {
        match self {
            Self::Manifests(manifests) => manifests.dir().display().to_string(),
            Self::Kubernetes(kubernetes) => kubernetes.server(),
        }
    }

    /// The addresses that are asked, where any are.
    pub fn servers(&self) -> Servers {
        match self {
            Self::Manifests(_) => Servers::default(),
            Self::Kubernetes(kubernetes) => kubernetes.servers(),
        }
    }

    /// When something was heard from there last, where that can be told.
    pub fn last_heard(&self) -> Option<Instant> {
        match self {
            Self::Manifests(_) => None,
            Self::Kubernetes(kubernetes) => kubernetes.last_heard(),
        }
    }

    /// How old a saved state is that is served while nothing newer is known.
    pub fn saved_age(&self) -> Option<Duration> {
        match self {
            Self::Manifests(_) => None,
            Self::Kubernetes(kubernetes) => kubernetes.saved_age(),
        }
    }

    /// What the own Node should say, until something else is; `None` leaves it as it is. Files are nobody's to write.
    pub fn announce(&self, announcement: Option<Announcement>) {
        if let Self::Kubernetes(kubernetes) = self {
            kubernetes.announce(announcement);
        }
    }

    /// Tells the cluster's users, if there is a way to. Never waits: what comes faster than it can be said is dropped and counted.
    pub fn notify(&self, notice: Notice) {
        if let Self::Kubernetes(kubernetes) = self {
            kubernetes.notify(notice);
        }
    }

    /// How many notices were said, and how many dropped.
    pub fn notices(&self) -> (u64, u64) {
        match self {
            Self::Manifests(_) => (0, 0),
            Self::Kubernetes(kubernetes) => kubernetes.notices(),
        }
    }

    /// What a first complete state lacks, for a person; asked before it is there.
    pub fn lacks(&self) -> String {
        match self {
            Self::Manifests(_) => format!("a complete first reading of {}", self.place()),
            Self::Kubernetes(kubernetes) => {
                format!("{} of the API server {}", kubernetes.missing().join(", "), self.place())
            }
        }
    }
}

/// What a source says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// About an object, or that the first complete state has been said.
    Change(Change),
    /// Something is wrong, until [`Event::Solved`] names its origin.
    Problem(Problem),
    /// Whatever was wrong there is not any more, or is said anew right after this.
    Solved {
        /// As in [`Problem::origin`].
        origin: String,
    },
    /// What a file holds of kinds that are not followed; holds until it is said anew.
    Ignored {
        /// The file, as in [`Problem::origin`].
        origin: String,
        /// How many of which kind.
        kinds: Ignored,
    },
}

/// A mistake that a person has to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it comes from: a file with its directory, an object of the API server, or the API server.
    pub origin: String,
    /// Where in the file.
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
        f.write_str(&self.origin)?;
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
