//! Decides which files of a directory are new, changed or gone, and when one is complete enough to be read. It never looks at what they mean.
//!
//! A file that changed a moment ago is looked at again before it is taken; one that was emptied gets longer, as a writer that
//! truncates first usually writes right after.

use super::Problem;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long a file must have been left alone.
const SETTLED: Duration = Duration::from_millis(40);
/// How long an emptied file must have been left alone.
const EMPTIED: Duration = Duration::from_secs(2);
/// After this long a file is read even if it changes all the time.
const PATIENCE: Duration = Duration::from_secs(3);

/// Same stamp, same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// How long ago the file was written or renamed; a stamp from the future counts as old.
    fn age(&self) -> Duration {
        let (secs, nanos) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1));
        let (Ok(secs), Ok(nanos)) = (secs, nanos) else {
            return Duration::MAX;
        };
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(secs, nanos));
        changed
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .unwrap_or(Duration::MAX)
    }
}

/// What happened to a file.
#[derive(Debug)]
pub(super) enum Finding {
    /// It holds this now.
    Text(String),
    /// It cannot be read.
    Refused(Problem),
    /// It is gone.
    Gone,
}

/// What one look at the directory gave.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Files, by name with directory.
    pub(super) files: Vec<(String, Finding)>,
    /// Look again this soon, because a file is still being written.
    pub(super) again: Option<Duration>,
}

/// Remembers a directory from one look to the next.
#[derive(Debug)]
pub(super) struct Scanner {
    dir: PathBuf,
    max_file: u64,
    max_files: usize,
    known: BTreeMap<String, Stamp>,
    waiting: BTreeMap<String, Instant>,
}

impl Scanner {
    pub(super) fn new(dir: &Path, max_file: u64, max_files: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            max_file,
            max_files,
            known: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Looks at the directory; the error is the directory's own.
    pub(super) fn look(&mut self) -> io::Result<Findings> {
        let mut findings = Findings::default();
        let mut present = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !is_manifest(&entry.file_name()) {
                continue;
            }
            let path = entry.path();
            present.insert(path.display().to_string(), path);
            if present.len() > self.max_files {
                let text = format!(
                    "more than {} manifests; put several objects into a file",
                    self.max_files
                );
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
        }
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|name| !present.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.known.remove(&name);
            findings.files.push((name, Finding::Gone));
        }
        self.waiting.retain(|name, _| present.contains_key(name));
        for (name, path) in present {
            match self.look_at(&name, &path) {
                Seen::Same => {}
                Seen::Wait(time) => findings.again = Some(findings.again.map_or(time, |t| t.min(time))),
                Seen::New(finding) => findings.files.push((name, finding)),
            }
        }
        Ok(findings)
    }

    fn look_at(&mut self, name: &str, path: &Path) -> Seen {
        let refused = |text: String| {
            Seen::New(Finding::Refused(Problem {
                origin: name.to_owned(),
                place: None,
                object: None,
                field: None,
                text,
            }))
        };
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            // Gone since it was listed, or a link to nowhere; the next look tells.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.known.contains_key(name) => return Seen::Same,
            Err(e) => return refused(format!("cannot be read: {e}")),
        };
        let stamp = Stamp::of(&meta);
        if self.known.get(name) == Some(&stamp) {
            self.waiting.remove(name);
            return Seen::Same;
        }
        let emptied = stamp.len == 0 && self.known.get(name).is_some_and(|before| before.len > 0);
        let wanted = if emptied { EMPTIED } else { SETTLED };
        let since = *self.waiting.entry(name.to_owned()).or_insert_with(Instant::now);
        let patient = since.elapsed() < PATIENCE;
        if let Some(rest) = wanted
            .checked_sub(stamp.age())
            .filter(|rest| patient && !rest.is_zero())
        {
            return Seen::Wait(rest.min(SETTLED));
        }
        let outcome = self.read(path);
        let after = std::fs::metadata(path).map(|meta| Stamp::of(&meta));
        if patient && !after.is_ok_and(|after| after == stamp) {
            return Seen::Wait(SETTLED);
        }
        self.waiting.remove(name);
        self.known.insert(name.to_owned(), stamp);
        match outcome {
            Ok(text) => Seen::New(Finding::Text(text)),
            Err(text) => refused(text),
        }
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        let failed = |e: io::Error| format!("cannot be read: {e}");
        // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err("not a regular file; only files are read, and no folders below this one".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(self.max_file + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > self.max_file {
            return Err(format!("larger than {} KiB; split it", self.max_file / 1024));
        }
        String::from_utf8(bytes).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            format!("line {line} is not UTF-8 text; save the file as UTF-8")
        })
    }
}

enum Seen {
    Same,
    Wait(Duration),
    New(Finding),
}

/// `*.yaml`, `*.yml` and `*.json`, but no hidden files: editors and atomic writers keep their temporary ones hidden.
fn is_manifest(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.starts_with(b".") && [&b".yaml"[..], b".yml", b".json"].iter().any(|end| name.ends_with(end))
}
