//! Decides which file an object is taken from and what stays in force when a file goes wrong. It never reads a file.
//!
//! An object that is faulty keeps its last good version; one that never had a good version is served without the faulty parts,
//! if those can be left out. Of two files with one object the first by name has it.

use super::faulty::{Choice, choose, told};
use super::reading::{Found, Ignored, Reading};
use super::yaml::Place;
use super::{Event, Problem};
use crate::model::{Change, Key, Object};
use std::collections::{BTreeMap, BTreeSet};

/// What a file says about one object.
#[derive(Clone, Debug)]
struct Claim {
    object: Object,
    /// Nothing had to be left out.
    complete: bool,
    place: Place,
}

#[derive(Debug, Default)]
struct File {
    claims: BTreeMap<Key, Claim>,
    /// Problems of the file itself.
    problems: Vec<Problem>,
    /// Problems as they were told last, those with other files included.
    told: Vec<Problem>,
    /// What it holds that is not followed, as it was told last.
    ignored: Ignored,
}

/// All files and what they say.
#[derive(Debug, Default)]
pub struct Claims {
    files: BTreeMap<String, File>,
    claimants: BTreeMap<Key, BTreeSet<String>>,
    served: BTreeMap<Key, Object>,
}

impl Claims {
    /// The file has been read; gives what follows from it.
    pub fn update(&mut self, name: &str, reading: Result<Reading, Box<Problem>>) -> Vec<Event> {
        let file = self.files.entry(name.to_owned()).or_default();
        let old = std::mem::take(&mut file.claims);
        file.problems.clear();
        let mut ignored = None;
        match reading {
            Ok(reading) => {
                if file.ignored != reading.ignored {
                    file.ignored.clone_from(&reading.ignored);
                    ignored = Some(reading.ignored);
                }
                for found in reading.objects {
                    file.take(name, found, &old);
                }
            }
            Err(mut problem) => {
                if !old.is_empty() {
                    problem.text.push_str("; what the file said before stays in force");
                }
                file.problems.push(*problem);
                file.claims.clone_from(&old);
            }
        }
        let touched: BTreeSet<Key> = old.keys().chain(file.claims.keys()).cloned().collect();
        let mut events = self.settle(name, &touched);
        events.extend(ignored.map(|kinds| Event::Ignored {
            origin: name.to_owned(),
            kinds,
        }));
        events
    }

    /// The file is gone; gives what follows from it.
    pub fn remove(&mut self, name: &str) -> Vec<Event> {
        let Some(file) = self.files.get_mut(name) else {
            return Vec::new();
        };
        file.problems.clear();
        let touched: BTreeSet<Key> = std::mem::take(&mut file.claims).into_keys().collect();
        let mut events = self.settle(name, &touched);
        if self.files.remove(name).is_some_and(|file| !file.ignored.is_empty()) {
            events.push(Event::Ignored {
                origin: name.to_owned(),
                kinds: Ignored::new(),
            });
        }
        events
    }

    /// Serves the first claim of each of these objects, and tells the problems of all files that are concerned.
    fn settle(&mut self, name: &str, touched: &BTreeSet<Key>) -> Vec<Event> {
        let mut events = Vec::new();
        let mut concerned = BTreeSet::from([name.to_owned()]);
        for key in touched {
            let claimants = self.claimants.entry(key.clone()).or_default();
            if self.files.get(name).is_some_and(|file| file.claims.contains_key(key)) {
                claimants.insert(name.to_owned());
            } else {
                claimants.remove(name);
            }
            concerned.extend(claimants.iter().cloned());
            let winner = claimants.first().and_then(|file| self.files.get(file)?.claims.get(key));
            match winner.map(|claim| &claim.object) {
                Some(object) if self.served.get(key) != Some(object) => {
                    self.served.insert(key.clone(), object.clone());
                    events.push(Event::Change(Change::Upsert(object.clone())));
                }
                Some(_) => {}
                None => {
                    self.claimants.remove(key);
                    if self.served.remove(key).is_some() {
                        events.push(Event::Change(Change::Delete(key.clone())));
                    }
                }
            }
        }
        for file in concerned {
            self.tell(&file, &mut events);
        }
        events
    }

    fn tell(&mut self, name: &str, events: &mut Vec<Event>) {
        let Some(file) = self.files.get(name) else { return };
        let mut problems = file.problems.clone();
        for (key, claim) in &file.claims {
            let first = self.claimants.get(key).and_then(BTreeSet::first);
            if let Some(first) = first.filter(|first| *first != name) {
                problems.push(Problem {
                    origin: name.to_owned(),
                    place: Some(claim.place),
                    object: Some(key.clone()),
                    field: None,
                    text: format!("also in {first}, which comes first by name and is served; remove one of the two"),
                });
            }
        }
        problems.sort_by_key(|problem| problem.place);
        let Some(file) = self.files.get_mut(name) else { return };
        if file.told == problems {
            return;
        }
        if !file.told.is_empty() {
            events.push(Event::Solved {
                origin: name.to_owned(),
            });
        }
        events.extend(problems.iter().cloned().map(Event::Problem));
        file.told = problems;
    }
}

impl File {
    fn take(&mut self, name: &str, found: Found, old: &BTreeMap<Key, Claim>) {
        let Found {
            key,
            place,
            object,
            faults,
        } = found;
        if let Some(first) = self.claims.get(&key) {
            let text = format!(
                "given twice in this file; the one in line {} is served, remove one",
                first.place.line
            );
            self.problems.push(Problem {
                origin: name.to_owned(),
                place: Some(place),
                object: Some(key),
                field: None,
                text,
            });
            return;
        }
        let before = old.get(&key);
        let whole_before = before.map(|claim| claim.complete);
        for (place, fault) in &faults {
            self.problems.push(Problem {
                origin: name.to_owned(),
                place: Some(*place),
                object: Some(key.clone()),
                field: Some(fault.path.to_string()),
                text: told(fault, object.is_some(), whole_before),
            });
        }
        let claim = match (choose(object.is_some(), faults.is_empty(), whole_before), object) {
            (Choice::New { whole }, Some(object)) => Some(Claim {
                object,
                complete: whole,
                place,
            }),
            (Choice::Before, _) => before.cloned(),
            _ => None,
        };
        if let Some(claim) = claim {
            self.claims.insert(key, Claim { place, ..claim });
        }
    }
}
