//! Decides what has to be known before anything is touched: an agent that is to take over from another one knows all that it will serve
//! before it asks for the node. It never serves anything.

use super::problems::Problems;
use crate::model::Store;
use crate::source::{Event, Source, SourceSettings};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A source that is followed, and what it has said.
pub struct Followed {
    pub(super) source: Source,
    pub(super) store: Store,
    pub(super) problems: Problems,
    aside: Option<Aside>,
}

/// What is saved beside the file of an agent that still runs.
struct Aside {
    file: PathBuf,
    next: PathBuf,
    taken: bool,
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.taken {
            let _ = std::fs::remove_file(&self.next);
        }
    }
}

impl Followed {
    /// Begins to follow.
    ///
    /// # Errors
    /// As [`Source::follow`].
    pub(super) fn begin(settings: SourceSettings) -> Result<Self, String> {
        Ok(Self {
            source: Source::follow(settings)?,
            store: Store::default(),
            problems: Problems::default(),
            aside: None,
        })
    }

    /// Begins to follow while another agent, whose saved state is begun with, still runs and saves.
    ///
    /// # Errors
    /// As [`Source::follow`].
    pub fn beside(mut settings: SourceSettings) -> Result<Self, String> {
        let mut aside = None;
        if let SourceSettings::Kubernetes(cluster) = &mut settings
            && let Some(file) = cluster.state.take()
        {
            let next = file.with_extension("next");
            // Without one all is asked for. A batch that is only half there is not used.
            let _ = std::fs::copy(&file, &next);
            cluster.state = Some(next.clone());
            aside = Some(Aside {
                file,
                next,
                taken: false,
            });
        }
        let begun = Self::begin(settings)?;
        Ok(Self { aside, ..begun })
    }

    /// Takes in what is said, for so long at most; whether a complete state is known.
    pub fn wait(&mut self, patience: Duration) -> Result<bool, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|err| format!("cannot wait for the cluster's objects: {err}"))?;
        let deadline = Instant::now() + patience;
        while !self.store.synced() {
            let left = deadline.saturating_duration_since(Instant::now());
            let next = runtime.block_on(async { tokio::time::timeout(left, self.source.next()).await });
            match next {
                Ok(Some(event)) => self.take(event),
                Ok(None) => return Err("the thread that follows the cluster ended; please report this".to_owned()),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// What is missing, for a person.
    pub fn lacks(&self) -> String {
        self.source.lacks()
    }

    /// The other agent is gone: what is saved is this one's.
    pub(super) fn alone(&mut self) {
        if let (Some(aside), Source::Kubernetes(kubernetes)) = (&mut self.aside, &self.source) {
            kubernetes.save_as(aside.file.clone());
            aside.taken = true;
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Change(change) => _ = self.store.apply(change),
            Event::Problem(problem) => self.problems.add(problem),
            Event::Solved { origin } => self.problems.solved(&origin),
            Event::Ignored { origin, kinds } => self.problems.ignored(origin, kinds),
        }
    }
}
