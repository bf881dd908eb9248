//! Decides when what is to be saved is written, and when the file is written anew without what is not true any more.

use super::line::{End, Line, Written};
use super::load::Restored;
use super::{Header, Op};
use crate::source::kubernetes::wants::Want;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is not true any more may take as much as what is, and this; bytes.
pub(super) const SLACK: u64 = 4 << 20;
/// Most bytes that wait for a disk that does not take them.
const WAITING: usize = 64 << 20;

/// The file as it is written.
pub(super) struct Journal {
    path: PathBuf,
    header: Vec<u8>,
    pub(super) file: File,
    /// Length up to the end of the last batch.
    good: u64,
    /// What will be the next batch.
    batch: Vec<u8>,
    versions: BTreeMap<Want, String>,
    changed: bool,
    /// Bytes of each object's line, by what it is about, and of all together.
    live: HashMap<u64, u32>,
    live_bytes: u64,
    slack: u64,
}

impl Journal {
    /// Goes on behind what was restored, or begins a new file.
    pub(super) fn open(path: &Path, header: &Header, restored: Option<&Restored>, slack: u64) -> io::Result<Self> {
        let mut text = serde_json::to_vec(header)?;
        text.push(b'\n');
        let mut journal = Self {
            path: path.to_owned(),
            file: owned(path, restored.is_none())?,
            good: 0,
            batch: Vec::new(),
            versions: BTreeMap::new(),
            changed: false,
            live: HashMap::new(),
            live_bytes: 0,
            slack,
            header: text,
        };
        match restored {
            Some(restored) => {
                journal.good = restored.good;
                journal.versions = restored.versions.clone();
                journal.live = restored.live();
                journal.live_bytes = journal.live.values().map(|length| u64::from(*length)).sum();
            }
            // Its checksum is part of the first batch's.
            None => journal.batch = journal.header.clone(),
        }
        Ok(journal)
    }

    pub(super) fn take(&mut self, op: Op) {
        self.changed = true;
        match &op {
            Op::Version { want, version } => _ = self.versions.insert(*want, version.clone()),
            // A list that was never complete is still not.
            Op::List { want } => _ = self.versions.get_mut(want).map(String::clear),
            Op::Unwanted { want } => _ = self.versions.remove(want),
            Op::Is { .. } | Op::Gone { .. } | Op::Move { .. } => {}
        }
        let Some(Written { which, is, text }) = Written::of(op) else {
            return;
        };
        let length = text.len() as u32;
        let before = if is {
            self.live.insert(which, length)
        } else {
            self.live.remove(&which)
        };
        let now = if is { length } else { 0 };
        self.live_bytes = self.live_bytes + u64::from(now) - u64::from(before.unwrap_or(0));
        self.batch.extend(text);
    }

    /// The file takes the place of the one of this name.
    pub(super) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Whether there is anything to write.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Writes the batch. After an error the file is as it was before, and the batch waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let begun = self.batch.len();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.batch);
        let end = self.end(crc);
        self.batch.extend(end);
        let done = self
            .file
            .set_len(self.good)
            .and_then(|()| write_at(&self.file, &self.batch, self.good));
        if let Err(err) = done {
            self.batch.truncate(begun);
            if begun > WAITING {
                // An old state is better than none, but one that says less than it promises is not.
                self.batch.clear();
                fs::remove_file(&self.path)?;
            }
            return Err(err);
        }
        self.good += self.batch.len() as u64;
        self.batch.clear();
        self.changed = false;
        if self.good > 2 * self.live_bytes + self.slack {
            self.compact()?;
        }
        Ok(())
    }

    fn end(&self, crc: crc32fast::Hasher) -> Vec<u8> {
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        End::new(crc, self.versions.clone(), at).text()
    }

    /// A new file with nothing but what is true takes the place of this one.
    fn compact(&mut self) -> io::Result<()> {
        // The last line about each object is the one that counts: seen from the end, the first.
        let mut wanted = HashSet::new();
        let mut seen = HashSet::new();
        let mut lines = Vec::new();
        for (at, line) in BufReader::new(File::open(&self.path)?).split(b'\n').enumerate() {
            if let Some(Line::Object(about)) = Line::read(line?.as_slice()) {
                lines.push((at, about.which(), about.is.is_some()));
            }
        }
        for (at, which, is) in lines.into_iter().rev() {
            if seen.insert(which) && is {
                wanted.insert(at);
            }
        }
        let new = self.path.with_extension("new");
        let mut crc = crc32fast::Hasher::new();
        let mut writer = BufWriter::new(owned(&new, true)?);
        let mut put = |bytes: &[u8]| {
            crc.update(bytes);
            writer.write_all(bytes)
        };
        put(&self.header)?;
        let mut length = self.header.len() as u64;
        for (at, line) in BufReader::new(File::open(&self.path)?).split(b'\n').enumerate() {
            let mut line = line?;
            if wanted.contains(&at) {
                line.push(b'\n');
                put(&line)?;
                length += line.len() as u64;
            }
        }
        let end = self.end(crc);
        writer.write_all(&end)?;
        length += end.len() as u64;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        (self.file, self.good) = (file, length);
        Ok(())
    }
}

fn owned(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(empty)
        .mode(0o600)
        .open(path)
}

fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}
