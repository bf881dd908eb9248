//! Decides what is there, and what was there at an earlier version: objects, one version counter for all, and a bounded
//! history of changes. It never knows what an object means.

use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// An object as it is kept.
pub(crate) type Kept = Arc<Value>;

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Version that the change made.
    pub version: u64,
    /// What the object is kept under.
    pub storage: Arc<str>,
    /// Key of the object there.
    pub key: String,
    /// The object before; none if it is new.
    pub before: Option<Kept>,
    /// The object after; none if it is gone.
    pub after: Option<Kept>,
}

/// Objects and their past.
#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Arc<str>, BTreeMap<String, Kept>>,
    version: u64,
    history: VecDeque<Change>,
    bound: usize,
    /// Versions below this one were compacted away: nobody may start there.
    floor: u64,
    /// The version this server has heard of, if it is behind the others.
    lag: Option<u64>,
}

impl Store {
    /// Empty, remembering `bound` changes.
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 1,
            history: VecDeque::new(),
            bound,
            floor: 1,
            lag: None,
        }
    }

    /// The newest version of all.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The newest version that this server's cache has.
    pub(crate) fn seen(&self) -> u64 {
        self.lag.unwrap_or(self.version).min(self.version)
    }

    /// The oldest version at which a list or watch may begin.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The object under a key.
    pub(crate) fn get(&self, storage: &str, key: &str) -> Option<&Kept> {
        self.objects.get(storage)?.get(key)
    }

    /// Keeps an object under a new version, which it is stamped with.
    pub(crate) fn put(&mut self, storage: &Arc<str>, key: &str, mut object: Value) -> Kept {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let room = self.objects.entry(storage.clone()).or_default();
        let before = room.insert(key.to_owned(), object.clone());
        self.remember(storage, key, before, Some(object.clone()));
        object
    }

    /// Forgets an object under a new version; what is returned bears it.
    pub(crate) fn remove(&mut self, storage: &Arc<str>, key: &str) -> Option<Kept> {
        let before = self.objects.get_mut(storage)?.remove(key)?;
        self.version += 1;
        self.remember(storage, key, Some(before.clone()), None);
        Some(stamped(&before, self.version))
    }

    fn remember(&mut self, storage: &Arc<str>, key: &str, before: Option<Kept>, after: Option<Kept>) {
        let (storage, key, version) = (storage.clone(), key.to_owned(), self.version);
        self.history.push_back(Change {
            version,
            storage,
            key,
            before,
            after,
        });
        while self.history.len() > self.bound {
            if let Some(gone) = self.history.pop_front() {
                self.floor = self.floor.max(gone.version);
            }
        }
    }

    /// Makes all versions before the newest unknown to whoever starts; streams that are open go on.
    pub(crate) fn compact(&mut self) {
        self.floor = self.version;
    }

    /// Lets this server's cache stay at a version, as after a fail-over to one that is behind; `None` ends it.
    pub(crate) fn lag(&mut self, version: Option<u64>) {
        self.lag = version;
    }

    /// Goes back to a version, as a store restored from an older copy does: later versions will be given out again.
    pub(crate) fn restore(&mut self, version: u64) {
        while self.history.back().is_some_and(|change| change.version > version) {
            let Some(change) = self.history.pop_back() else { break };
            let room = self.objects.entry(change.storage).or_default();
            match change.before {
                Some(before) => room.insert(change.key, before),
                None => room.remove(&change.key),
            };
            self.version = change.version - 1;
        }
        self.floor = self.floor.min(self.version);
    }

    /// Visits objects in the order of their keys as they were at `version`, from `from` on, while `visit` says so.
    pub(crate) fn scan(
        &self,
        storage: &str,
        version: u64,
        prefix: &str,
        from: &str,
        visit: &mut dyn FnMut(&str, &Kept) -> bool,
    ) {
        // What later changes overwrote; the earliest of them knows best.
        let mut earlier: BTreeMap<&str, Option<&Kept>> = BTreeMap::new();
        for change in self.history.iter().rev().take_while(|change| change.version > version) {
            if &*change.storage == storage {
                earlier.insert(&change.key, change.before.as_ref());
            }
        }
        let start = if from > prefix { from } else { prefix };
        let room = self.objects.get(storage);
        let current = room.into_iter().flat_map(|room| room.range(start.to_owned()..));
        let mut current = current.map(|(key, object)| (key.as_str(), object)).peekable();
        let mut old = earlier.range(start..).map(|(key, object)| (*key, *object)).peekable();
        loop {
            let (here, there) = (current.peek().copied(), old.peek().copied());
            let (key, object) = match (here, there) {
                (None, None) => return,
                (Some((key, object)), other) if other.is_none_or(|(old, _)| key < old) => (key, Some(object)),
                (_, Some(earlier)) => earlier,
                (Some((key, object)), None) => (key, Some(object)),
            };
            current.next_if(|(here, _)| *here == key);
            old.next_if(|(there, _)| *there == key);
            if !key.starts_with(prefix) || object.is_some_and(|object| !visit(key, object)) {
                return;
            }
        }
    }

    /// Changes after `cursor` that this server has heard of, or `None` if some are forgotten.
    pub(crate) fn since(&self, storage: &str, cursor: u64) -> Option<Vec<Change>> {
        let kept_from = self.history.front().map_or(self.version, |change| change.version - 1);
        if cursor < kept_from && cursor < self.floor {
            return None;
        }
        let first = self.history.partition_point(|change| change.version <= cursor);
        let seen = self.seen();
        let later = self.history.range(first..).take_while(|change| change.version <= seen);
        Some(later.filter(|change| &*change.storage == storage).cloned().collect())
    }
}

/// A copy that bears another version.
pub(crate) fn stamped(object: &Value, version: u64) -> Kept {
    let mut copy = object.clone();
    copy["metadata"]["resourceVersion"] = version.to_string().into();
    Arc::new(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every version's content, kept whole, agrees with what the history gives back.
    #[test]
    fn any_version_within_the_history_is_as_it_was() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut store, storage) = (Store::new(1000), Arc::<str>::from("/pods"));
        let mut versions: Vec<(u64, BTreeMap<String, i64>)> = Vec::new();
        let mut model = BTreeMap::new();
        for n in 0..400 {
            let key = format!("{}/{}", ["a", "b"][random.usize(..2)], random.u8(..20));
            if random.u8(..3) == 0 {
                model.remove(&key);
                store.remove(&storage, &key);
            } else {
                model.insert(key.clone(), n);
                store.put(&storage, &key, json!({"n": n, "metadata": {}}));
            }
            versions.push((store.version(), model.clone()));
        }
        for (version, model) in &versions {
            let from = format!("a/{}", random.u8(..20));
            let mut found = BTreeMap::new();
            store.scan("/pods", *version, "a/", &from, &mut |key, object| {
                found.insert(key.to_owned(), object["n"].as_i64().unwrap());
                true
            });
            let mut expected = model.clone();
            expected.retain(|key, _| key.starts_with("a/") && *key >= from);
            assert_eq!(found, expected, "version {version}");
        }
        let (back, model) = &versions[200];
        store.restore(*back);
        let mut found = BTreeMap::new();
        store.scan("/pods", store.version(), "", "", &mut |key, object| {
            found.insert(key.to_owned(), object["n"].as_i64().unwrap());
            true
        });
        assert_eq!((store.version(), &found), (*back, model));
    }

    #[test]
    fn what_the_history_lost_is_known_to_be_lost() {
        let (mut store, storage) = (Store::new(3), Arc::<str>::from("/pods"));
        for n in 0..5 {
            store.put(&storage, &n.to_string(), json!({"metadata": {}}));
        }
        assert_eq!((store.version(), store.floor()), (6, 3));
        assert!(store.since("/pods", 2).is_none());
        assert_eq!(store.since("/pods", 3).unwrap().len(), 3);
        store.compact();
        assert_eq!(store.since("/pods", 4).unwrap().len(), 2, "an open stream goes on");
        assert_eq!(store.floor(), 6);
    }
}
