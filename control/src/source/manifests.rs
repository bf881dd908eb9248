//! Decides when a directory of manifests is read again, and hands on what came of it. It never blocks its consumer: it works on a thread of its own.

use super::claims::Claims;
use super::scan::{Finding, Scanner};
use super::{Event, Problem, YamlLimits, read_text};
use crate::model::Change;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The directory is read this often even if nothing is heard of it.
const SAFETY: Duration = Duration::from_secs(10);
/// The same where changes cannot be watched.
const POLL: Duration = Duration::from_millis(500);
/// Changes that follow each other within this time are read together,
const DEBOUNCE: Duration = Duration::from_millis(15);
/// but no longer than this.
const DEBOUNCE_MOST: Duration = Duration::from_millis(150);

/// What a directory may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of a file, bytes.
    pub file_bytes: u64,
    /// Files.
    pub files: usize,
    /// Of a file's YAML.
    pub yaml: YamlLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            files: 10_000,
            yaml: YamlLimits {
                nodes: 2_000_000,
                depth: 64,
                // No file without aliases comes near: its texts are part of it.
                bytes: 64 << 20,
                // A file of a few KiB must not take hundreds of MiB; real ones use aliases for a few labels, if at all.
                aliased: 4 << 20,
            },
        }
    }
}

/// A directory of plain Kubernetes manifests that is followed. Dropping it ends that.
#[derive(Debug)]
pub struct Manifests {
    dir: PathBuf,
    events: mpsc::Receiver<Event>,
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Manifests {
    /// Begins to follow the `*.yaml`, `*.yml` and `*.json` files of `dir`, without folders below it and hidden files. A
    /// directory that does not exist yet is a problem until it does. The error is of the thread that could not be started.
    pub fn follow(dir: &Path, limits: Limits) -> std::io::Result<Self> {
        let (sender, events) = mpsc::channel(1024);
        // One pending wake-up says all: the whole directory is looked at after it.
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let mut follower = Follower {
            watch: Watch {
                dir: dir.to_owned(),
                wake: wake.clone(),
                watcher: None,
                inode: None,
            },
            scanner: Scanner::new(dir, limits.file_bytes, limits.files),
            claims: Claims::default(),
            limits,
            sender,
            woken,
            stop: stop.clone(),
            synced: false,
            complaint: None,
        };
        let thread = std::thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(move || follower.run())?;
        Ok(Self {
            dir: dir.to_owned(),
            events,
            wake,
            stop,
            thread: Some(thread),
        })
    }

    /// The next event; `None` never comes while this value lives, unless the thread died.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The next event, if one is there.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.events.close();
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The receiver is gone.
struct Closed;

struct Follower {
    watch: Watch,
    scanner: Scanner,
    claims: Claims,
    limits: Limits,
    sender: mpsc::Sender<Event>,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
    synced: bool,
    /// What is wrong with the directory itself, as told last.
    complaint: Option<Problem>,
}

impl Follower {
    fn run(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(again) = self.turn() else { return };
            match self.woken.recv_timeout(again) {
                Ok(()) => self.debounce(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn debounce(&self) {
        let first = Instant::now();
        while first.elapsed() < DEBOUNCE_MOST && !self.stop.load(Ordering::Relaxed) {
            if self.woken.recv_timeout(DEBOUNCE).is_err() {
                return;
            }
        }
    }

    /// Looks at the directory once; gives the time until the next look.
    fn turn(&mut self) -> Result<Duration, Closed> {
        // Watched before it is listed, so that no change falls between the two.
        let blind = self.watch.renew().err();
        let findings = match self.scanner.look() {
            Ok(findings) => findings,
            Err(e) => {
                let text = format!("the manifests cannot be listed: {e}; what was read before stays in force");
                self.complain(Some(text))?;
                return Ok(POLL);
            }
        };
        for (name, finding) in findings.files {
            let events = match finding {
                Finding::Gone => self.claims.remove(&name),
                Finding::Refused(problem) => self.claims.update(&name, Err(Box::new(problem))),
                Finding::Text(text) => self.claims.update(&name, read_text(&name, &text, self.limits.yaml)),
            };
            for event in events {
                self.send(event)?;
            }
        }
        self.complain(
            blind
                .as_ref()
                .map(|e| format!("changes cannot be watched ({e}); it is read twice a second instead")),
        )?;
        if let Some(again) = findings.again {
            return Ok(again);
        }
        if !self.synced {
            self.synced = true;
            self.send(Event::Change(Change::Synced))?;
        }
        Ok(if blind.is_some() { POLL } else { SAFETY })
    }

    fn complain(&mut self, text: Option<String>) -> Result<(), Closed> {
        let origin = self.watch.dir.display().to_string();
        let complaint = text.map(|text| Problem {
            origin: origin.clone(),
            place: None,
            object: None,
            field: None,
            text,
        });
        if complaint == self.complaint {
            return Ok(());
        }
        if self.complaint.is_some() {
            self.send(Event::Solved { origin })?;
        }
        if let Some(problem) = complaint.clone() {
            self.send(Event::Problem(problem))?;
        }
        self.complaint = complaint;
        Ok(())
    }

    fn send(&self, event: Event) -> Result<(), Closed> {
        self.sender.blocking_send(event).map_err(|_| Closed)
    }
}

/// Keeps the directory watched, also when another one takes its place.
struct Watch {
    dir: PathBuf,
    wake: SyncSender<()>,
    watcher: Option<RecommendedWatcher>,
    inode: Option<(u64, u64)>,
}

impl Watch {
    fn renew(&mut self) -> notify::Result<()> {
        let meta = std::fs::metadata(&self.dir)?;
        let inode = Some((meta.dev(), meta.ino()));
        if self.watcher.is_some() && self.inode == inode {
            return Ok(());
        }
        self.watcher = None;
        let wake = self.wake.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event, too; answering it with a look would never end.
            let written =
                |kind: &EventKind| !matches!(kind, EventKind::Access(a) if *a != AccessKind::Close(AccessMode::Write));
            if event.as_ref().map_or(true, |event| written(&event.kind)) {
                let _ = wake.try_send(());
            }
        })?;
        watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
        self.watcher = Some(watcher);
        self.inode = inode;
        Ok(())
    }
}
