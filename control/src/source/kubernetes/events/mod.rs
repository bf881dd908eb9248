//! Decides how notices become Events of `events.k8s.io/v1`. It never decides what is worth one, and never makes anybody wait.
//!
//! A notice goes into a short queue, from there into the [`ledger`], which decides what is said when, and one at a time to the API server.
//! Where the queue is full, or the server refuses for good, notices are dropped and counted.

mod bucket;
mod ledger;
mod object;
#[cfg(test)]
mod tests;

use super::answer::{self, Failure};
use super::pace::Pace;
use super::shared::{Closed, Shared};
use crate::source::{Event, Notice, Problem};
use jiff::Timestamp;
use ledger::{Ledger, Word};
use object::{create, patch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

/// Notices that wait to be looked at.
const QUEUE: usize = 64;
/// How often is looked whether something may be said.
const LOOK: Duration = Duration::from_secs(1);
/// Answers other than yes after which an Event is not tried again.
const TRIES: u32 = 5;
/// An Event is written within this time, or tried again.
const PATIENCE: Duration = Duration::from_secs(25);
const ORIGIN: &str = "API server, events";

/// How to tell the cluster's users something.
pub(super) struct Teller {
    queue: mpsc::Sender<Notice>,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Teller {
    /// And where it comes out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (queue, notices) = mpsc::channel(QUEUE);
        let teller = Self {
            queue,
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        (teller, notices)
    }

    /// Never waits.
    pub(super) fn tell(&self, notice: Notice) {
        if self.queue.try_send(notice).is_err() {
            self.drop(1);
        }
    }

    /// How many were written and how many dropped.
    pub(super) fn counts(&self) -> (u64, u64) {
        (
            self.written.load(Ordering::Relaxed),
            self.dropped.load(Ordering::Relaxed),
        )
    }

    fn drop(&self, notices: u64) {
        self.dropped.fetch_add(notices, Ordering::Relaxed);
    }
}

/// What became of an Event.
enum Done {
    Written,
    /// It is not there any more, or its namespace is not.
    Lost,
    /// Not this time; when the server wants to be asked again, and whether it has answered at all.
    Later(Option<Duration>, bool),
    /// Never; why, and whether it is worth telling.
    Refused(Option<String>),
}

/// Says what is to be said, until nobody listens.
pub(super) async fn tell(shared: Arc<Shared>, mut notices: mpsc::Receiver<Notice>) {
    let began = Instant::now();
    let mut ledger = Ledger::default();
    let mut pace = Pace::default();
    let mut next = tokio::time::Instant::now();
    let mut told = false;
    loop {
        tokio::select! {
            notice = notices.recv() => {
                let Some(notice) = notice else { return };
                shared.teller.drop(ledger.observe(notice, began.elapsed(), Timestamp::now()));
                continue;
            }
            () = sleep_until(next), if ledger.has_work() => {}
        }
        next = tokio::time::Instant::now() + LOOK;
        let Some(word) = ledger.next(began.elapsed()) else {
            continue;
        };
        let done = write(&shared, &word).await;
        let well = matches!(done, Done::Written | Done::Lost);
        match done {
            Done::Written => {
                ledger.written(&word, began.elapsed());
                shared.teller.written.fetch_add(1, Ordering::Relaxed);
                pace.reset();
                next = tokio::time::Instant::now();
            }
            Done::Lost => shared.teller.drop(ledger.lost(&word, began.elapsed())),
            Done::Later(after, answered) => {
                next = tokio::time::Instant::now() + pace.failed(after);
                if answered && pace.failures() >= TRIES {
                    shared.teller.drop(ledger.refused(&word, began.elapsed()));
                    pace.reset();
                }
            }
            Done::Refused(why) => {
                shared.teller.drop(ledger.refused(&word, began.elapsed()));
                if let Some(why) = why.filter(|_| !told) {
                    told = true;
                    if problem(&shared, why).await.is_err() {
                        return;
                    }
                }
            }
        }
        if well && std::mem::take(&mut told) {
            let origin = ORIGIN.to_owned();
            if shared.send(Event::Solved { origin }).await.is_err() {
                return;
            }
        }
    }
}

async fn write(shared: &Shared, word: &Word) -> Done {
    let way = shared.reach.way();
    let made = match word.first {
        true => create(&shared.node, word),
        false => patch(word),
    };
    let Ok(asked) = made else { return Done::Refused(None) };
    let Ok(done) = timeout(PATIENCE, answer::done(&way.client, asked)).await else {
        return Done::Later(None, false);
    };
    match done {
        // An earlier answer was lost on its way.
        Ok(()) | Err(Failure::Exists(_)) => Done::Written,
        Err(Failure::NotServed) => Done::Lost,
        Err(Failure::Forbidden(text)) => Done::Refused(Some(format!(
            "{text}. Grant it with a ClusterRole's rule {{apiGroups: [\"events.k8s.io\"], resources: [events], verbs: [create, patch]}}"
        ))),
        Err(Failure::NotUnderstood(text)) => Done::Refused(Some(text)),
        Err(Failure::Other { after, unreachable, .. }) => Done::Later(after, !unreachable),
        Err(Failure::Garbage(_) | Failure::Broken(_) | Failure::Gone | Failure::Silent) => Done::Later(None, true),
    }
}

/// One of each.
#[cfg(test)]
pub(super) fn requests() -> [super::wants::Made; 2] {
    let notice = Notice {
        regarding: crate::source::Regarding::Node,
        reason: "NetworkReady",
        action: "Serve",
        warning: false,
        note: String::new(),
    };
    let mut ledger = Ledger::default();
    ledger.observe(notice, Duration::ZERO, Timestamp::UNIX_EPOCH);
    let word = ledger.next(Duration::ZERO);
    let word = word.as_ref().expect("it is the first");
    [create("n", word), patch(word)]
}

async fn problem(shared: &Shared, why: String) -> Result<(), Closed> {
    let problem = Problem {
        origin: ORIGIN.to_owned(),
        place: None,
        object: None,
        field: None,
        text: format!("what is wrong cannot be told beside the objects it is about: {why}"),
    };
    shared.send(Event::Problem(problem)).await
}
