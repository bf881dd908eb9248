//! Somebody who follows an API server, and what he knows.

use super::folder::Folder;
use sluice_control::model::{Change, Key, Object, Store};
use sluice_control::source::{Cluster, Event, Kubernetes, Problem};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// After which a condition counts as never met.
const PATIENCE: Duration = Duration::from_secs(60);

/// How `kubeconfig` is followed by a node.
pub(crate) fn cluster(kubeconfig: &Path, node: String) -> Cluster {
    Cluster {
        kubeconfig: Some(kubeconfig.to_owned()),
        servers: Vec::new(),
        node,
        state: None,
        silence: Cluster::SILENCE,
    }
}

pub(crate) struct Follower {
    pub(crate) source: Kubernetes,
    pub(crate) store: Store,
    /// Objects of the test's own; those of others are in the store alone.
    pub(crate) objects: BTreeMap<Key, Object>,
    /// What is told now, by origin.
    pub(crate) problems: BTreeMap<String, Vec<Problem>>,
    /// Changes of own objects, of which each made a difference.
    pub(crate) changes: u64,
    own: Box<dyn Fn(&Key) -> bool>,
    _folder: Folder,
}

impl Follower {
    /// Of the server that `kubeconfig` is about; `own` says which objects are the test's.
    pub(crate) fn begin(
        kubeconfig: &str,
        node: String,
        own: impl Fn(&Key) -> bool + 'static,
        change: impl FnOnce(&mut Cluster),
    ) -> Self {
        let folder = Folder::new();
        let mut cluster = cluster(&folder.write("kubeconfig", kubeconfig), node);
        change(&mut cluster);
        Self {
            source: Kubernetes::follow(cluster).unwrap(),
            store: Store::default(),
            objects: BTreeMap::new(),
            problems: BTreeMap::new(),
            changes: 0,
            own: Box::new(own),
            _folder: folder,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Change(change) => {
                assert!(self.store.apply(change.clone()), "{change:?} changes nothing");
                match change {
                    Change::Upsert(object) if (self.own)(&object.key()) => {
                        self.objects.insert(object.key(), object);
                    }
                    Change::Delete(key) if (self.own)(&key) => {
                        self.objects.remove(&key);
                    }
                    _ => return,
                }
                self.changes += 1;
            }
            Event::Problem(problem) => self.problems.entry(problem.origin.clone()).or_default().push(problem),
            Event::Solved { origin } => _ = self.problems.remove(&origin),
            Event::Ignored { .. } => panic!("only files are told to hold more"),
        }
    }

    /// Takes in what has come.
    pub(crate) fn listen(&mut self) {
        while let Some(event) = self.source.try_next() {
            self.take(event);
        }
    }

    /// Takes in what comes until the condition holds.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.listen();
            if met(self) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {what}; {:?}",
                self.problems
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Texts of all problems.
    pub(crate) fn told(&self) -> String {
        let all: Vec<String> = self.problems.values().flatten().map(Problem::to_string).collect();
        all.join("\n")
    }
}
