//! Decides what of a saved state can be used: all of it up to the last whole batch, or nothing.

use super::Header;
use super::line::{End, Line};
use crate::objects::{Decoded, decode_text};
use crate::source::kubernetes::wants::Want;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A state that was saved.
#[derive(Debug, Default)]
pub(in crate::source::kubernetes) struct Restored {
    bytes: Vec<u8>,
    /// Each object, by what it is about.
    lines: HashMap<u64, Saved>,
    /// Up to where each request's changes are in it; empty where it must list again.
    pub(in crate::source::kubernetes) versions: BTreeMap<Want, String>,
    /// How long ago it was true.
    pub(in crate::source::kubernetes) age: Duration,
    /// Bytes of the file that hold it.
    pub(super) good: u64,
}

/// Where an object is in the file.
#[derive(Debug)]
struct Saved {
    want: Want,
    object: Range<usize>,
    /// Bytes of the whole line.
    line: u32,
}

impl Restored {
    /// Objects of the requests that are wanted, each once, read.
    pub(in crate::source::kubernetes) fn objects(
        &self,
        wanted: impl Fn(Want) -> bool,
    ) -> impl Iterator<Item = (Want, Decoded)> {
        let saved = self.lines.values().filter(move |saved| wanted(saved.want));
        saved.filter_map(|saved| self.read(saved.want, saved.object.clone()))
    }

    /// The same of many: a second thread reads one half while the first is used.
    pub(in crate::source::kubernetes) fn objects_of_many<W: Fn(Want) -> bool>(
        self: &Arc<Self>,
        wanted: W,
    ) -> impl Iterator<Item = (Want, Decoded)> + use<W> {
        let saved = self.lines.values().filter(|saved| wanted(saved.want));
        let mut first: Vec<(Want, Range<usize>)> = saved.map(|saved| (saved.want, saved.object.clone())).collect();
        let second = first.split_off(first.len() / 2);
        let (here, there) = (Arc::clone(self), Arc::clone(self));
        let second = std::thread::spawn(move || {
            let read = second.into_iter().filter_map(|(want, at)| there.read(want, at));
            read.collect::<Vec<_>>()
        });
        let first = first.into_iter().filter_map(move |(want, at)| here.read(want, at));
        let second = move || second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        first.chain(std::iter::once_with(second).flatten())
    }

    fn read(&self, want: Want, at: Range<usize>) -> Option<(Want, Decoded)> {
        let text = str::from_utf8(&self.bytes[at]).ok()?;
        Some((want, decode_text(want.kind(), text)))
    }

    /// Those of one request whose text, as it is written, has this in it, read.
    pub(in crate::source::kubernetes) fn objects_with(
        &self,
        want: Want,
        part: &str,
    ) -> impl Iterator<Item = (Want, Decoded)> {
        let saved = self.lines.values().filter(move |saved| saved.want == want);
        let texts = saved.filter_map(|saved| self.text(saved));
        let texts = texts.filter(move |text| text.contains(part));
        texts.map(move |text| (want, decode_text(want.kind(), text)))
    }

    fn text(&self, saved: &Saved) -> Option<&str> {
        str::from_utf8(&self.bytes[saved.object.clone()]).ok()
    }

    /// Bytes of each object's line, by what it is about.
    pub(super) fn live(&self) -> HashMap<u64, u32> {
        self.lines.iter().map(|(which, saved)| (*which, saved.line)).collect()
    }
}

/// Reads a file; `None` if there is none, or it is another cluster's or node's.
///
/// # Errors
/// It is damaged; nothing of it is used. The text is for a person.
pub(in crate::source::kubernetes) fn load(path: &Path, header: &Header) -> Result<Option<Restored>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(format!("{} cannot be read: {err}", path.display())),
    };
    let damaged = |what: &str, at: usize| format!("{}, byte {at}: {what}", path.display());
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(found) = serde_json::from_slice::<Header>(&bytes[..first]) else {
        return Err(damaged("this is no saved state", 0));
    };
    if found != *header {
        tracing::info!(
            "{} is the state of another cluster, node or version; it is not used",
            path.display()
        );
        return Ok(None);
    }
    match batches(&bytes, first + 1) {
        Err((what, at)) => Err(damaged(what, at)),
        Ok(restored) if restored.good == 0 => Ok(None),
        Ok(restored) => Ok(Some(Restored { bytes, ..restored })),
    }
}

/// All whole batches. What an agent was writing when it was killed is left out; something wrong before that is damage.
fn batches(bytes: &[u8], begin: usize) -> Result<Restored, (&'static str, usize)> {
    let mut restored = Restored::default();
    let (mut at, mut checked) = (begin, 0);
    let mut batch = Vec::new();
    while at < bytes.len() {
        let end = bytes[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|length| at + length + 1);
        match end.and_then(|end| Some((Line::read(&bytes[at..end])?, end))) {
            Some((Line::Object(about), end)) => {
                let saved = about.is.zip(about.object).map(|(want, object)| {
                    let from = object.get().as_ptr().addr() - bytes.as_ptr().addr();
                    Saved {
                        want,
                        object: from..from + object.get().len(),
                        line: (end - at) as u32,
                    }
                });
                batch.push((about.which(), saved));
                at = end;
            }
            Some((Line::End(last), end)) => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&bytes[checked..at]);
                if End::new(hasher, last.until.clone(), last.at) != last {
                    return Err(("a checksum is wrong", at));
                }
                for (which, saved) in batch.drain(..) {
                    match saved {
                        Some(saved) => _ = restored.lines.insert(which, saved),
                        None => _ = restored.lines.remove(&which),
                    }
                }
                let then = UNIX_EPOCH + Duration::from_secs(last.at);
                restored.age = SystemTime::now().duration_since(then).unwrap_or_default();
                restored.versions = last.until;
                restored.good = end as u64;
                (at, checked) = (end, end);
            }
            None if ends(&bytes[at..]) => return Err(("a line is damaged", at)),
            None => break,
        }
    }
    Ok(restored)
}

/// Whether some batch ends in there.
fn ends(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.any(|line| matches!(Line::read(line), Some(Line::End(_))))
}
