//! Decides which events a stream carries, in which order, and when it ends. It never changes the store.

use crate::list::fresh;
use crate::options::Options;
use crate::resources::Resource;
use crate::selector::Filter;
use crate::server::Inner;
use crate::spoil::{Over, Spoiler};
use crate::status::Status;
use crate::store::{Change, Kept, stamped};
use crate::view::{Shape, bookmark, shown};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// One event with the key of its object; bookmarks have none.
struct Event {
    kind: &'static str,
    key: String,
    object: Kept,
}

/// A stream of events.
pub(crate) struct Watch {
    /// The server.
    pub inner: Arc<Inner>,
    /// What is watched.
    pub resource: Arc<Resource>,
    /// Namespace of the path.
    pub namespace: Option<String>,
    /// What the query said.
    pub options: Options,
    /// Which objects are meant.
    pub filter: Filter,
    /// Their shape.
    pub shape: Shape,
    /// Where it goes.
    pub to: Spoiler,
}

impl Watch {
    /// Runs until the reader goes, the time is over, or a fault ends it.
    pub(crate) async fn run(mut self) {
        // Refusals after the start are events, as whoever watches has the answer's head already.
        match self.follow().await {
            Ok(()) | Err(None) => {}
            Err(Some(status)) => {
                let event = Event {
                    kind: "ERROR",
                    key: String::new(),
                    object: Arc::new(status.json()),
                };
                let _ = self.to.emit(line(&event)).await;
            }
        }
    }

    /// Refuses at once what the server is set to refuse with an HTTP status instead of an event.
    pub(crate) fn refused_early(inner: &Inner, options: &Options) -> Option<Status> {
        let version = options
            .version
            .filter(|version| *version > 0 && options.initial != Some(true))?;
        let store = inner.store();
        let early = inner.settings.expired_as_status && version < store.floor();
        early.then(|| too_old(version, store.floor()))
    }

    async fn follow(&mut self) -> Result<(), Option<Status>> {
        let wanted = self.options.version.unwrap_or(0);
        let begins_with_all = self.options.initial.unwrap_or(wanted == 0);
        if self.options.initial == Some(true) && wanted > 0 {
            fresh(&self.inner, wanted).await.map_err(Some)?;
        }
        let mut cursor = if begins_with_all {
            self.begin().await?
        } else {
            self.start(wanted)?
        };
        let seconds = self.options.timeout.unwrap_or(self.inner.settings.watch_seconds);
        let end = Instant::now() + Duration::from_secs(seconds);
        let every = self.inner.settings.bookmark_every;
        let mut next_bookmark = Instant::now() + every;
        let mut marked = cursor;
        let mut changed = self.inner.changed.subscribe();
        let mut nudged = self.inner.nudge.subscribe();
        let mut served = self.inner.served.subscribe();
        let mut faults = self.inner.faults.subscribe();
        loop {
            changed.borrow_and_update();
            let (changes, seen) = {
                let store = self.inner.store();
                let changes = store.since(&self.resource.storage, cursor);
                (
                    changes.ok_or_else(|| Some(too_old(cursor, store.floor())))?,
                    store.seen(),
                )
            };
            for change in changes {
                if let Some(event) = self.event(&change) {
                    self.pass(&event).await.map_err(|Over| None)?;
                }
            }
            cursor = cursor.max(seen);
            if !served
                .borrow_and_update()
                .iter()
                .any(|resource| **resource == *self.resource)
            {
                return Ok(());
            }
            let mark = tokio::select! {
                _ = changed.changed() => false,
                _ = served.changed() => false,
                // An event that still waits for another is not kept for longer than its fault.
                _ = faults.changed(), if self.to.holds() => {
                    self.to.flush().await.map_err(|Over| None)?;
                    false
                }
                _ = nudged.changed() => true,
                () = sleep_until(next_bookmark) => true,
                () = self.to.closed() => return Ok(()),
                () = sleep_until(end) => {
                    if self.options.bookmarks && marked < cursor {
                        self.mark(cursor, false).await.map_err(|Over| None)?;
                    }
                    return Ok(());
                }
            };
            if mark {
                next_bookmark = Instant::now() + every;
                if self.options.bookmarks {
                    self.mark(cursor, false).await.map_err(|Over| None)?;
                    marked = cursor;
                }
            }
        }
    }

    /// Where a stream without initial events starts.
    fn start(&self, wanted: u64) -> Result<u64, Option<Status>> {
        let store = self.inner.store();
        match wanted {
            0 => Ok(store.version()),
            _ if wanted < store.floor() => Err(Some(too_old(wanted, store.floor()))),
            _ => Ok(wanted),
        }
    }

    /// Sends what is there as ADDED, and the version where that ends.
    async fn begin(&mut self) -> Result<u64, Option<Status>> {
        let mut objects = Vec::new();
        let version = {
            let store = self.inner.store();
            // Without a version the newest is wanted, with any the cache's will do.
            let version = if self.options.version.is_none() {
                store.version()
            } else {
                store.seen()
            };
            let prefix = self
                .namespace
                .as_ref()
                .map(|namespace| format!("{namespace}/"))
                .unwrap_or_default();
            store.scan(&self.resource.storage, version, &prefix, "", &mut |key, object| {
                if self.filter.matches(object) {
                    objects.push((key.to_owned(), object.clone()));
                }
                true
            });
            version
        };
        for (key, object) in objects {
            let event = Event {
                kind: "ADDED",
                key,
                object: shown(&self.resource, &object, self.shape),
            };
            self.pass(&event).await.map_err(|Over| None)?;
        }
        if self.options.initial == Some(true) && self.options.bookmarks {
            self.mark(version, true).await.map_err(|Over| None)?;
        }
        Ok(version)
    }

    /// What a change is to whoever sees only the objects of the filter.
    fn event(&self, change: &Change) -> Option<Event> {
        let passes = |object: &Option<Kept>| object.clone().filter(|object| self.filter.matches(object));
        let (kind, object) = match (passes(&change.before), passes(&change.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", stamped(&before, change.version)),
        };
        Some(Event {
            kind,
            key: change.key.clone(),
            object: shown(&self.resource, &object, self.shape),
        })
    }

    async fn mark(&mut self, version: u64, end_of_initial: bool) -> Result<(), Over> {
        let object = bookmark(&self.resource, version, self.shape, end_of_initial);
        let event = Event {
            kind: "BOOKMARK",
            key: String::new(),
            object: Arc::new(object),
        };
        let faults = &self.inner.faults;
        self.to.mark(faults, &self.resource.plural, line(&event)).await
    }

    /// Sends an event, unless a fault has it that something else comes of it.
    async fn pass(&mut self, event: &Event) -> Result<(), Over> {
        let faults = &self.inner.faults;
        self.to
            .pass(faults, &self.resource.plural, line(event), &event.key)
            .await
    }
}

fn line(event: &Event) -> Bytes {
    let object: &Value = &event.object;
    let mut text = json!({"type": event.kind, "object": object}).to_string();
    text.push('\n');
    text.into()
}

fn too_old(version: u64, floor: u64) -> Status {
    Status::expired(format!("too old resource version: {version} ({floor})"))
}
