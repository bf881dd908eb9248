//! Decides which notices become Events, which only count, and when either is said. Time is an argument; it never says anything itself.
//!
//! The same of the same object within ten minutes is one Event with a count. A count is said once a minute at most. All of it is limited, for
//! each object and together, so that thousands of agents with one trouble do not become a trouble of the API server's.

use super::bucket::{Bucket, Rate};
use crate::source::{Notice, Regarding};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What comes again within this time counts.
pub(super) const SERIES: Duration = Duration::from_secs(600);
/// A count is said again after this.
const COUNT: Duration = Duration::from_secs(60);
/// Writes, all together and about one object.
const ALL: Rate = Rate {
    burst: 20,
    every: Duration::from_secs(10),
};
const OBJECT: Rate = Rate {
    burst: 4,
    every: Duration::from_secs(120),
};
/// Events that were not said yet, and all that are remembered.
const WAITING: usize = 64;
const REMEMBERED: usize = 256;

/// One Event: what it is about, and why.
type Key = (Regarding, &'static str);

/// All that is known of what was said and what is to be.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Key, Entry>,
    all: Bucket,
    objects: HashMap<Regarding, Bucket>,
    order: u64,
}

#[derive(Debug)]
struct Entry {
    notice: Notice,
    name: String,
    first: Timestamp,
    last: Timestamp,
    last_at: Duration,
    count: u32,
    /// The count that was said; 0: nothing was.
    written: u32,
    written_at: Duration,
    order: u64,
}

/// Something to be said now.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// What happened, as it was said first.
    pub(super) notice: Notice,
    /// Name of the Event.
    pub(super) name: String,
    /// It is not there yet.
    pub(super) first: bool,
    /// When it happened first and last, and how often.
    pub(super) since: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u32,
}

impl Word {
    fn key(&self) -> Key {
        (self.notice.regarding.clone(), self.notice.reason)
    }
}

impl Ledger {
    /// Something happened, so long after the beginning. Gives how many notices are lost for it.
    pub(super) fn observe(&mut self, notice: Notice, now: Duration, wall: Timestamp) -> u64 {
        let key = (notice.regarding.clone(), notice.reason);
        if let Some(entry) = self.entries.get_mut(&key)
            && (entry.written == 0 || now.saturating_sub(entry.last_at) < SERIES)
        {
            entry.count = entry.count.saturating_add(1);
            (entry.last, entry.last_at) = (wall, now);
            return 0;
        }
        if self.entries.values().filter(|entry| entry.written == 0).count() >= WAITING {
            return 1;
        }
        let mut lost = self
            .entries
            .remove(&key)
            .map_or(0, |old| u64::from(old.count - old.written));
        if self.entries.len() >= REMEMBERED {
            let said = self.entries.iter().filter(|(_, entry)| entry.written > 0);
            let oldest = said.min_by_key(|(_, entry)| entry.last_at).map(|(key, _)| key.clone());
            let gone = oldest.and_then(|key| self.entries.remove(&key));
            lost += gone.map_or(0, |old| u64::from(old.count - old.written));
        }
        self.order += 1;
        let entry = Entry {
            name: name_of(&notice.regarding, wall, self.order),
            notice,
            first: wall,
            last: wall,
            last_at: now,
            count: 1,
            written: 0,
            written_at: now,
            order: self.order,
        };
        self.entries.insert(key, entry);
        lost
    }

    /// Whether anything is to be said, now or later.
    pub(super) fn has_work(&self) -> bool {
        self.entries.values().any(|entry| entry.count > entry.written)
    }

    /// What to say now, if anything may be.
    pub(super) fn next(&self, now: Duration) -> Option<Word> {
        if !self.all.has(ALL, now) {
            return None;
        }
        let due = |entry: &&Entry| {
            let bucket = self.objects.get(&entry.notice.regarding).copied().unwrap_or_default();
            let counted = entry.written == 0 || now.saturating_sub(entry.written_at) >= COUNT;
            entry.count > entry.written && counted && bucket.has(OBJECT, now)
        };
        let entry = self.entries.values().filter(due).min_by_key(|entry| entry.order)?;
        Some(Word {
            notice: entry.notice.clone(),
            name: entry.name.clone(),
            first: entry.written == 0,
            since: entry.first,
            last: entry.last,
            count: entry.count,
        })
    }

    /// It was said.
    pub(super) fn written(&mut self, word: &Word, now: Duration) {
        self.take(word, now);
        if let Some(entry) = self.entries.get_mut(&word.key()) {
            (entry.written, entry.written_at) = (word.count, now);
        }
    }

    /// The Event is gone, and is to be made anew; or, where it never was, what it would be in is. Gives how many notices are lost for that.
    pub(super) fn lost(&mut self, word: &Word, now: Duration) -> u64 {
        if word.first {
            return self.refused(word, now);
        }
        self.take(word, now);
        if let Some(entry) = self.entries.get_mut(&word.key()) {
            entry.written = 0;
        }
        0
    }

    /// It cannot be said, not even later. Gives how many notices are lost.
    pub(super) fn refused(&mut self, word: &Word, now: Duration) -> u64 {
        self.take(word, now);
        let gone = self.entries.remove(&word.key());
        gone.map_or(0, |entry| u64::from(entry.count - entry.written))
    }

    fn take(&mut self, word: &Word, now: Duration) {
        self.all.take(ALL, now);
        self.objects.retain(|_, bucket| !bucket.is_full(now));
        let bucket = self.objects.entry(word.notice.regarding.clone()).or_default();
        bucket.take(OBJECT, now);
    }
}

/// Unlike that of any other Event of the object: names of Events are theirs for an hour only, but those of objects come back.
fn name_of(regarding: &Regarding, wall: Timestamp, order: u64) -> String {
    /// With what follows it, a name of 253 bytes.
    const LONGEST: usize = 220;
    let object = match regarding {
        Regarding::Node => "sluice",
        Regarding::Pod { name, .. } => name,
    };
    let object = object.get(..LONGEST).unwrap_or(object).trim_end_matches(['-', '.']);
    let micros = wall.as_microsecond().unsigned_abs();
    format!("{object}.{micros:x}{:03x}", order & 0xfff)
}
