//! Decides which request or event is spoilt, how, and how often. It never spoils anything itself.

use crate::status::Status;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// A request is answered with this code instead.
    Answer {
        /// HTTP status code.
        code: u16,
        /// Seconds for Retry-After.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// No byte is sent, neither of answers nor of events, until the rule is cleared.
    Stall,
    /// The stream ends, and its connection, in the middle of an event.
    Cut,
    /// A line that is no JSON comes before an event.
    Garbage,
    /// An event comes twice.
    Duplicate,
    /// An event comes after the next one of another object.
    Reorder,
    /// An ERROR event with code 410 comes instead of an event and ends the stream.
    Expired,
}

/// A fault and where it applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// Plural name, with the sub-resource if there is one (`nodes/status`); all if absent.
    #[serde(default)]
    pub resource: Option<String>,
    /// Verb as in authorisation; all if absent.
    #[serde(default)]
    pub verb: Option<String>,
    /// How often; until cleared if absent.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Rule {
    /// A fault everywhere, until cleared.
    pub fn of(fault: Fault) -> Self {
        Self {
            fault,
            resource: None,
            verb: None,
            times: None,
        }
    }

    /// Only for this resource.
    pub fn on(mut self, resource: &str) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Only for this verb.
    pub fn for_verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Only so often.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn covers(&self, resource: &str, verb: &str) -> bool {
        let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        is(&self.resource, resource) && is(&self.verb, verb) && self.times != Some(0)
    }
}

/// Handle of a rule.
pub type RuleId = u64;

/// The rules in force.
#[derive(Debug)]
pub struct Faults {
    rules: Mutex<Vec<Entry>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entry {
    id: RuleId,
    rule: Rule,
    struck: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rules: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }
}

impl Faults {
    /// Puts a rule in force.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut rules = self.rules();
        let id = rules.last().map_or(1, |last| last.id + 1);
        rules.push(Entry { id, rule, struck: 0 });
        drop(rules);
        self.changed.send_modify(|n| *n += 1);
        id
    }

    /// Ends all rules.
    pub fn clear(&self) {
        self.rules().iter_mut().for_each(|entry| entry.rule.times = Some(0));
        self.changed.send_modify(|n| *n += 1);
    }

    /// Ends one rule.
    pub fn clear_one(&self, id: RuleId) {
        self.rules()
            .iter_mut()
            .filter(|entry| entry.id == id)
            .for_each(|entry| entry.rule.times = Some(0));
        self.changed.send_modify(|n| *n += 1);
    }

    /// How often a rule struck.
    pub fn struck(&self, id: RuleId) -> u64 {
        self.rules()
            .iter()
            .find(|entry| entry.id == id)
            .map_or(0, |entry| entry.struck)
    }

    /// Signals rules that come and go.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What a request is answered with instead of the truth.
    pub fn answer(&self, resource: &str, verb: &str) -> Option<Status> {
        match self.strike(resource, verb, |fault| matches!(fault, Fault::Answer { .. }))? {
            Fault::Answer { code, retry_after } => Some(Status::plain(code, retry_after)),
            _ => None,
        }
    }

    /// What becomes of the next event of a stream.
    pub fn on_event(&self, resource: &str) -> Option<Fault> {
        self.strike(resource, "watch", |fault| {
            !matches!(fault, Fault::Answer { .. } | Fault::Stall)
        })
    }

    /// Returns once nothing stalls these.
    pub async fn stalled(&self, resource: &str, verb: &str) {
        let mut changed = self.subscribe();
        while self.strike(resource, verb, |fault| *fault == Fault::Stall).is_some() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn strike(&self, resource: &str, verb: &str, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut rules = self.rules();
        let entry = rules
            .iter_mut()
            .find(|entry| wanted(&entry.rule.fault) && entry.rule.covers(resource, verb))?;
        entry.struck += 1;
        // A stall lasts until it is cleared, however often it is asked about.
        if let Some(times) = entry.rule.times.as_mut().filter(|_| entry.rule.fault != Fault::Stall) {
            *times -= 1;
        }
        Some(entry.rule.fault)
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
