//! All records in one piece of memory, which another process can map: a header that says how they are laid out, then the records.
//! It never decides which place is taken.

use super::cell::{CELL_WORDS, Cell, LIFE};
use super::record::{Life, Record, RecordId};
use crate::sync::{Ordering, SharedError, SharedWords};
use sluice_lb::ConnState;

/// The header has one cache line.
const HEADER_WORDS: usize = 8;
/// `SLUICECT`.
const MAGIC: u64 = 0x534c_5549_4345_4354;
/// Grows with every change of what the words mean, see `cell.rs`.
const LAYOUT: u64 = 1;
/// The number that Linux gives CLOCK_MONOTONIC, which all times are of: the same for every process of one boot and one time
/// namespace.
const CLOCK: u64 = 1;

/// Why memory holds no records that this version can read.
#[derive(Debug)]
pub enum RecordsError {
    /// The memory itself.
    Memory(SharedError),
    /// A field of the header is not what this version writes.
    Header {
        /// Which.
        field: &'static str,
        /// What is there.
        got: u64,
        /// What this version writes.
        want: u64,
    },
    /// The file is shorter or longer than its header says, in words.
    Length {
        /// Words there are.
        got: u64,
        /// Words there should be.
        want: u64,
    },
}

impl core::fmt::Display for RecordsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Memory(err) => write!(f, "connection records: {err}"),
            Self::Header { field, got, want } => write!(
                f,
                "connection records of another version: {field} is {got}, this version has {want}"
            ),
            Self::Length { got, want } => write!(f, "connection records: {got} words, the header says {want}"),
        }
    }
}

impl core::error::Error for RecordsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Memory(err) => Some(err),
            Self::Header { .. } | Self::Length { .. } => None,
        }
    }
}

impl From<SharedError> for RecordsError {
    fn from(err: SharedError) -> Self {
        Self::Memory(err)
    }
}

/// A connection as its record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its id.
    pub id: RecordId,
    /// What was decided.
    pub record: Record,
    /// How far it is.
    pub state: ConnState,
    /// When its first packet came.
    pub created_ns: u64,
    /// When its last one did.
    pub last_ns: u64,
    /// Packets of the original and the reply direction.
    pub packets: [u64; 2],
    /// Bytes of them.
    pub bytes: [u64; 2],
}

/// Memory with a header and `count` records.
#[derive(Debug)]
pub struct Records {
    words: SharedWords,
    count: u32,
}

impl Records {
    /// Fresh memory for this many connections, all places free.
    ///
    /// # Errors
    /// The kernel has no such memory.
    pub fn create(count: u32) -> Result<Self, RecordsError> {
        let words = SharedWords::create(c"sluice-connections", words_for(u64::from(count)) as usize)?;
        for (word, (_, value)) in words.iter().zip(header(count)) {
            word.store(value, Ordering::Relaxed);
        }
        Ok(Self { words, count })
    }

    /// Records that a process of this version laid out.
    ///
    /// # Errors
    /// They are another version's, or not all there.
    pub fn read_from(words: SharedWords) -> Result<Self, RecordsError> {
        let got = words.len() as u64;
        if words.len() < HEADER_WORDS {
            let want = HEADER_WORDS as u64;
            return Err(RecordsError::Length { got, want });
        }
        let count = words[HEADER_FIELDS - 1].load(Ordering::Relaxed);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        for (word, (field, want)) in words.iter().zip(header(count)) {
            let got = word.load(Ordering::Relaxed);
            if got != want {
                return Err(RecordsError::Header { field, got, want });
            }
        }
        let want = words_for(u64::from(count));
        if got != want {
            return Err(RecordsError::Length { got, want });
        }
        Ok(Self { words, count })
    }

    /// Places there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The memory, to hand it on.
    pub fn memory(&self) -> &SharedWords {
        &self.words
    }

    /// The connection in this place; `None` when there is none, or when it changed while it was read.
    pub fn get(&self, index: u32) -> Option<Live> {
        let cell = self.cell(index)?;
        let life = cell.life();
        let (packets, bytes) = cell.volumes();
        let live = Live {
            id: RecordId {
                index,
                incarnation: life.incarnation,
            },
            record: cell.load(),
            state: life.state?,
            created_ns: cell.created_ns(),
            last_ns: cell.last_ns(),
            packets,
            bytes,
        };
        (cell.life() == life).then_some(live)
    }

    #[inline]
    pub(crate) fn cell(&self, index: u32) -> Option<Cell<'_>> {
        let at = HEADER_WORDS + index as usize * CELL_WORDS;
        self.words.get(at..)?.first_chunk().map(Cell)
    }

    /// The life alone: all that a known flow asks of its record.
    #[inline]
    pub(crate) fn life(&self, index: u32) -> Option<Life> {
        let word = self.words.get(HEADER_WORDS + index as usize * CELL_WORDS + LIFE)?;
        Some(Life::of(word.load(Ordering::Acquire)))
    }

    /// Asks the processor for the line that [`Self::life`] reads.
    #[inline]
    pub(crate) fn prefetch_life(&self, index: u32) {
        if let Some(word) = self.words.get(HEADER_WORDS + index as usize * CELL_WORDS + LIFE) {
            sluice_mem::prefetch(word);
        }
    }
}

const HEADER_FIELDS: usize = 5;

fn header(count: u32) -> [(&'static str, u64); HEADER_FIELDS] {
    [
        ("magic", MAGIC),
        ("layout version", LAYOUT),
        ("clock", CLOCK),
        ("record size, bytes", (CELL_WORDS * 8) as u64),
        ("number of records", u64::from(count)),
    ]
}

fn words_for(count: u64) -> u64 {
    HEADER_WORDS as u64 + count * CELL_WORDS as u64
}
