//! Decides what follows from what the API server says about objects of a kind. It never asks the server.
//!
//! A faulty object keeps its last good version; what is said again without a difference is not handed on. Two requests may be about
//! objects of one kind (pods of this node, and others): what either said last is in force, and when it takes that back, what the other says.

use crate::model::{Change, Key, Kind, Name, Object};
use crate::objects::{Decoded, decode_in_place};
use crate::source::faulty::{Choice, choose, told};
use crate::source::{Event, Problem};
use serde_json::Value;
use std::collections::HashMap;

/// Requests about one kind.
const SPEAKERS: usize = 2;

/// What follows from something that was said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// To be handed on.
    pub(super) events: Vec<Event>,
    /// What is to be saved of the object: it, without faults or not, or that it is gone.
    pub(super) keep: Option<Keep>,
}

/// What is to be saved of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The object, which is served; whether without faults.
    Object { whole: bool },
    /// That it is gone, or nothing that is served.
    Nothing,
}

/// All objects of a kind.
#[derive(Debug)]
pub(super) struct Known {
    kind: Kind,
    names: HashMap<Name, Entry>,
    listings: [u32; SPEAKERS],
}

#[derive(Debug, Default)]
struct Entry {
    said: [Option<Held>; SPEAKERS],
    last: usize,
    served: Option<Object>,
    told: Vec<Problem>,
}

#[derive(Debug)]
struct Held {
    /// `None`: it exists and nothing of it can or need be served.
    object: Option<Object>,
    whole: bool,
    listing: u32,
}

impl Known {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            names: HashMap::new(),
            listings: [0; SPEAKERS],
        }
    }

    /// A list begins that says all there is.
    pub(super) fn begin(&mut self, by: usize) {
        self.listings[by] = self.listings[by].wrapping_add(1);
    }

    /// The list is complete: what it did not say is gone. Gives the names, too.
    pub(super) fn complete(&mut self, by: usize) -> (Vec<Event>, Vec<Name>) {
        let listing = self.listings[by];
        let gone = |entry: &Entry| entry.said[by].as_ref().is_some_and(|said| said.listing != listing);
        let gone: Vec<Name> = self
            .names
            .iter()
            .filter(|(_, entry)| gone(entry))
            .map(|(name, _)| name.clone())
            .collect();
        let mut events = Vec::new();
        for name in &gone {
            self.take_back(by, name, &mut events);
        }
        (events, gone)
    }

    /// The object is there; nothing if it has no name that can be read.
    pub(super) fn is(&mut self, by: usize, object: &mut Value) -> Option<Heard> {
        let decoded = decode_in_place(self.kind, object);
        self.decoded(by, decoded)
    }

    /// As [`Self::is`], of an object that was read already.
    pub(super) fn decoded(&mut self, by: usize, decoded: Decoded) -> Option<Heard> {
        let key = decoded.key?;
        let entry = self.names.entry(name_of(&key)).or_default();
        let before = entry.said[by].take();
        let served_before = before.as_ref().and_then(|said| said.object.clone());
        let changed = |now: &Option<Object>| *now != served_before;
        let whole_before = before
            .as_ref()
            .filter(|said| said.object.is_some())
            .map(|said| said.whole);
        let usable = decoded.object.is_some();
        let problem = |fault: &crate::objects::Fault| Problem {
            origin: key.to_string(),
            place: None,
            object: None,
            field: Some(fault.path.to_string()),
            text: told(fault, usable, whole_before),
        };
        let problems = decoded.faults.iter().map(problem).collect();
        let (object, whole) = match choose(usable, decoded.faults.is_empty(), whole_before) {
            Choice::New { whole } => (decoded.object, whole),
            Choice::Before => before.map_or((None, false), |said| (said.object, said.whole)),
            Choice::Nothing => (None, true),
        };
        let listing = self.listings[by];
        let keep = match (&object, changed(&object)) {
            (_, false) => None,
            (Some(_), true) => Some(Keep::Object { whole }),
            (None, true) => Some(Keep::Nothing),
        };
        entry.said[by] = Some(Held { object, whole, listing });
        entry.last = by;
        let mut events = Vec::new();
        entry.settle(&key, problems, &mut events);
        Some(Heard { events, keep })
    }

    /// The object is gone.
    pub(super) fn gone(&mut self, by: usize, object: &Value) -> Heard {
        let mut heard = Heard::default();
        if self.take_back(by, &name(object), &mut heard.events) {
            heard.keep = Some(Keep::Nothing);
        }
        heard
    }

    /// All that are served.
    pub(super) fn served(&self) -> impl Iterator<Item = &Object> {
        self.names.values().filter_map(|entry| entry.served.as_ref())
    }

    fn take_back(&mut self, by: usize, name: &Name, events: &mut Vec<Event>) -> bool {
        let Some(entry) = self.names.get_mut(name) else {
            return false;
        };
        if entry.said[by].take().is_none() {
            return false;
        }
        entry.last = SPEAKERS - 1 - by;
        let key = Key {
            kind: self.kind,
            namespace: name.0.clone(),
            name: name.1.clone(),
        };
        entry.settle(&key, Vec::new(), events);
        if entry.said.iter().all(Option::is_none) {
            self.names.remove(name);
        }
        true
    }
}

/// Namespace and name of an object.
pub(super) fn name(object: &Value) -> Name {
    let text = |field: &str| {
        object
            .pointer(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (text("/metadata/namespace"), text("/metadata/name"))
}

impl Entry {
    fn settle(&mut self, key: &Key, problems: Vec<Problem>, events: &mut Vec<Event>) {
        let wanted = self.said[self.last].as_ref().and_then(|said| said.object.clone());
        if wanted != self.served {
            events.push(Event::Change(match &wanted {
                Some(object) => Change::Upsert(object.clone()),
                None => Change::Delete(key.clone()),
            }));
            self.served = wanted;
        }
        if problems != self.told {
            if !self.told.is_empty() {
                events.push(Event::Solved {
                    origin: key.to_string(),
                });
            }
            events.extend(problems.iter().cloned().map(Event::Problem));
            self.told = problems;
        }
    }
}

fn name_of(key: &Key) -> Name {
    (key.namespace.clone(), key.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn pod(name: &str, ip: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"nodeName": "n"}, "status": {"podIP": ip, "phase": "Running"}})
    }

    fn service(port: &Value) -> Value {
        json!({"metadata": {"name": "web", "namespace": "d"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": port}]}})
    }

    /// What a store would hold.
    fn served(known: &Known) -> Vec<Key> {
        let mut keys: Vec<Key> = known.served().map(Object::key).collect();
        keys.sort();
        keys
    }

    #[test]
    fn a_faulty_object_keeps_its_good_version_and_is_told_once() {
        let mut known = Known::new(Kind::Service);
        let events = known.is(0, &mut service(&json!(80))).unwrap().events;
        assert!(matches!(&events[..], [Event::Change(Change::Upsert(_))]), "{events:?}");
        assert_eq!(
            known.is(0, &mut service(&json!(80))).unwrap().events,
            [],
            "the same is no news"
        );
        let events = known.is(0, &mut service(&json!(0))).unwrap().events;
        let [Event::Problem(problem)] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(
            problem.to_string().starts_with("Service d/web, spec.ports[0].port: "),
            "{problem}"
        );
        assert!(
            problem.text.ends_with("; the last good version stays in force"),
            "{problem}"
        );
        assert_eq!(known.is(0, &mut service(&json!(0))).unwrap().events, []);
        let events = known.is(0, &mut service(&json!(81))).unwrap().events;
        assert!(
            matches!(&events[..], [Event::Change(Change::Upsert(_)), Event::Solved { .. }]),
            "{events:?}"
        );
        known.is(0, &mut service(&json!("x"))).unwrap();
        let events = known.gone(0, &service(&json!("x"))).events;
        assert!(
            matches!(&events[..], [Event::Change(Change::Delete(_)), Event::Solved { .. }]),
            "{events:?}"
        );
        let events = known.is(0, &mut service(&json!("x"))).unwrap().events;
        let [Event::Problem(problem)] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(
            problem.text.ends_with("is not served until this is mended"),
            "{problem}"
        );
        assert!(
            known.is(0, &mut json!({"metadata": {}})).is_none(),
            "nobody knows what this is"
        );
    }

    #[test]
    fn a_list_ends_what_it_does_not_say_and_only_what_its_own_request_said() {
        let mut known = Known::new(Kind::Pod);
        known.begin(0);
        for name in ["a", "b"] {
            known.is(0, &mut pod(name, "10.0.0.1")).unwrap();
        }
        known.is(1, &mut pod("c", "10.0.0.2")).unwrap();
        assert_eq!(known.complete(0).0, []);
        known.begin(0);
        known.is(0, &mut pod("b", "10.0.0.1")).unwrap();
        let (events, gone) = known.complete(0);
        assert_eq!(gone, [("d".to_owned(), "a".to_owned())]);
        assert!(
            matches!(&events[..], [Event::Change(Change::Delete(key))] if key.name == "a"),
            "{events:?}"
        );
        known.begin(1);
        assert_eq!(known.complete(1).0.len(), 1);
        assert_eq!(served(&known).len(), 1);
    }

    #[test]
    fn a_pod_that_comes_back_on_another_node_outlives_the_end_of_the_first() {
        let mut known = Known::new(Kind::Pod);
        known.is(0, &mut pod("db-0", "10.0.0.1")).unwrap();
        known.is(1, &mut pod("db-0", "10.0.9.9")).unwrap();
        known.is(0, &mut pod("db-0", "10.0.0.1")).unwrap();
        let events = known.gone(0, &pod("db-0", "")).events;
        let [Event::Change(Change::Upsert(Object::Pod(record)))] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(record.identity.addrs.len(), 1);
        assert_eq!(record.identity.addrs[0].to_string(), "10.0.9.9");
        assert_eq!(known.gone(1, &pod("db-0", "")).events.len(), 1);
        assert!(known.names.is_empty());
    }

    proptest! {
        /// Whatever is said, in whatever order: handing the events on gives what is served, and that is what was said last.
        #[test]
        fn events_add_up_to_what_is_served(steps in prop::collection::vec((0usize..2, 0u8..3, 0u8..3, 0u8..4), 0..40)) {
            let mut known = Known::new(Kind::Pod);
            let mut store: BTreeMap<Key, Object> = BTreeMap::new();
            let mut said: [BTreeMap<String, String>; 2] = Default::default();
            for (by, what, name, ip) in steps {
                let (name, ip) = (format!("p{name}"), format!("10.0.0.{ip}"));
                let events = match what {
                    0 => {
                        said[by].remove(&name);
                        known.gone(by, &pod(&name, &ip)).events
                    }
                    1 => {
                        said[by].insert(name.clone(), ip.clone());
                        known.is(by, &mut pod(&name, &ip)).unwrap().events
                    }
                    _ => {
                        known.begin(by);
                        said[by] = [(name.clone(), ip.clone())].into();
                        let mut events = known.is(by, &mut pod(&name, &ip)).unwrap().events;
                        events.extend(known.complete(by).0);
                        events
                    }
                };
                for event in events {
                    match event {
                        Event::Change(Change::Upsert(object)) => prop_assert!(store.insert(object.key(), object.clone()) != Some(object)),
                        Event::Change(Change::Delete(key)) => prop_assert!(store.remove(&key).is_some()),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            let names: std::collections::BTreeSet<&String> = said.iter().flat_map(BTreeMap::keys).collect();
            prop_assert_eq!(store.len(), names.len());
            for (key, object) in &store {
                let Object::Pod(pod) = object else { panic!() };
                let addr = pod.identity.addrs[0].to_string();
                prop_assert!(said.iter().any(|said| said.get(&key.name) == Some(&addr)), "{} {}", key, addr);
            }
            prop_assert_eq!(served(&known), store.into_keys().collect::<Vec<_>>());
        }
    }
}
