//! How often a faulty device does what, as it is written and as it is counted. It never touches a frame.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Faults in parts per million: of frames, each way, and for `stall` of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The frame is lost.
    pub drop: u32,
    /// A copy of the frame goes before it.
    pub duplicate: u32,
    /// The frame lets the next one pass.
    pub reorder: u32,
    /// The frame loses its end.
    pub truncate: u32,
    /// One bit of the frame changes, where a checksum can tell.
    pub corrupt: u32,
    /// The device does nothing for some calls.
    pub stall: u32,
    /// What decides which: the same calls with the same seed meet the same faults.
    pub seed: u64,
}

/// All of a million.
pub const ALWAYS: u32 = 1_000_000;

impl FromStr for Faults {
    type Err = String;

    /// `drop=2000,stall=100,seed=7`: what is not named does not happen.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in text.split(',') {
            let wrong = || {
                format!(
                    "`{part}` is no fault; want one of drop, duplicate, reorder, truncate, corrupt, stall with a rate in parts per million, or a seed, such as drop=2000"
                )
            };
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            if name == "seed" {
                faults.seed = value.parse().map_err(|_| wrong())?;
                continue;
            }
            let rate = value.parse().ok().filter(|rate| *rate <= ALWAYS).ok_or_else(wrong)?;
            *match name {
                "drop" => &mut faults.drop,
                "duplicate" => &mut faults.duplicate,
                "reorder" => &mut faults.reorder,
                "truncate" => &mut faults.truncate,
                "corrupt" => &mut faults.corrupt,
                "stall" => &mut faults.stall,
                _ => return Err(wrong()),
            } = rate;
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            drop,
            duplicate,
            reorder,
            truncate,
            corrupt,
            stall,
            seed,
        } = self;
        write!(
            f,
            "drop={drop},duplicate={duplicate},reorder={reorder},truncate={truncate},corrupt={corrupt},stall={stall},seed={seed}"
        )
    }
}

/// What has been done so far, by all devices that share it.
#[derive(Debug, Default)]
pub struct FaultCounts {
    pub(super) dropped: AtomicU64,
    pub(super) duplicated: AtomicU64,
    pub(super) reordered: AtomicU64,
    pub(super) truncated: AtomicU64,
    pub(super) corrupted: AtomicU64,
    pub(super) stalled: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl FaultCounts {
    /// Each count with its name.
    pub fn list(&self) -> [(&'static str, u64); 7] {
        [
            ("fault_dropped", &self.dropped),
            ("fault_duplicated", &self.duplicated),
            ("fault_reordered", &self.reordered),
            ("fault_truncated", &self.truncated),
            ("fault_corrupted", &self.corrupted),
            ("fault_stalled", &self.stalled),
            ("fault_refused", &self.refused),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

pub(super) fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}
