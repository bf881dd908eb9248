//! Decides which dropped frames of a worker are kept for people to look at: the first few of each reason in each second, the latest of them
//! in a ring for each reason, so that no flood hides another reason. It never waits: a sample that would meet a reader is left out.

use crate::Frame;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sluice_wire::{DropReason, PortSlot};
use std::sync::{Mutex, PoisonError};

/// Bytes kept of a frame: enough for a tunnel's headers and the ones inside, both of IPv6, up to the ports.
pub const SAMPLE_BYTES: usize = 128;
/// Samples kept of one reason.
const KEPT: usize = 32;
/// Samples taken of one reason in one second of 2^30 ns.
const PER_SECOND: u32 = 4;

/// A dropped frame, as far as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropSample {
    /// Counts the samples of this worker and reason, from 0.
    pub sequence: u64,
    /// When: the time of its burst.
    pub at_ns: u64,
    /// Why.
    pub reason: DropReason,
    /// The port it came in by; unknown where a device dropped it.
    pub ingress: Option<PortSlot>,
    /// The port it was to leave by, once that was decided.
    pub egress: Option<PortSlot>,
    /// Bytes of the whole frame, as it was when it was dropped.
    pub length: u32,
    kept: u8,
    bytes: [u8; SAMPLE_BYTES],
}

const _: () = assert!(SAMPLE_BYTES <= u8::MAX as usize);

impl DropSample {
    /// The frame's first bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.kept)]
    }
}

/// The samples of one reason.
struct Kind {
    /// The second that `taken` counts in. Only the worker writes these two.
    second: AtomicU64,
    taken: AtomicU32,
    ring: Mutex<Ring>,
}

struct Ring {
    places: Box<[Option<DropSample>]>,
    written: u64,
}

/// The latest dropped frames of one worker. Written by that worker alone, read by anybody.
pub struct Samples {
    now_ns: AtomicU64,
    kinds: Box<[Kind]>,
}

impl Default for Samples {
    fn default() -> Self {
        let kind = |_: &DropReason| Kind {
            second: AtomicU64::new(0),
            taken: AtomicU32::new(0),
            ring: Mutex::new(Ring {
                places: vec![None; KEPT].into(),
                written: 0,
            }),
        };
        Self {
            now_ns: AtomicU64::new(0),
            kinds: DropReason::ALL.iter().map(kind).collect(),
        }
    }
}

impl core::fmt::Debug for Samples {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Samples").finish_non_exhaustive()
    }
}

impl Samples {
    /// Sets the time of what follows. Only the owning worker calls this, as the others that write.
    #[inline]
    pub fn set_now(&self, now_ns: u64) {
        self.now_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Keeps a frame that is about to be dropped, if it is one of the few.
    #[inline]
    pub(crate) fn take(&self, reason: DropReason, frame: &Frame, egress: Option<PortSlot>) {
        if let Some((kind, at_ns)) = self.due(reason) {
            let (ingress, length) = (Some(frame.meta.ingress), frame.buf.total_len() as u32);
            kind.keep(at_ns, reason, (ingress, egress), length, frame.buf.bytes());
        }
    }

    /// Notes that the device behind one of these ports, where it came in or was to leave, dropped a frame, of which nothing is left.
    pub(crate) fn take_unseen(&self, reason: DropReason, ports: (Option<PortSlot>, Option<PortSlot>)) {
        if let Some((kind, at_ns)) = self.due(reason) {
            kind.keep(at_ns, reason, ports, 0, &[]);
        }
    }

    /// Whether a sample of this reason may be taken now, and if so, counts it.
    #[inline]
    fn due(&self, reason: DropReason) -> Option<(&Kind, u64)> {
        let kind = self.kinds.get(reason.index())?;
        let now_ns = self.now_ns.load(Ordering::Relaxed);
        let second = now_ns >> 30;
        let mut taken = kind.taken.load(Ordering::Relaxed);
        if kind.second.load(Ordering::Relaxed) != second {
            kind.second.store(second, Ordering::Relaxed);
            taken = 0;
        } else if taken >= PER_SECOND {
            return None;
        }
        kind.taken.store(taken + 1, Ordering::Relaxed);
        Some((kind, now_ns))
    }

    /// All samples that are kept, in no order.
    pub fn all(&self) -> Vec<DropSample> {
        let mut all = Vec::new();
        for kind in &self.kinds {
            // Room is made before the ring is locked: what a worker wants to write meanwhile is lost.
            all.reserve(KEPT);
            let ring = kind.ring.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(ring.places.iter().flatten());
        }
        all
    }
}

impl Kind {
    #[cold]
    fn keep(
        &self,
        at_ns: u64,
        reason: DropReason,
        (ingress, egress): (Option<PortSlot>, Option<PortSlot>),
        length: u32,
        frame: &[u8],
    ) {
        let Ok(mut ring) = self.ring.try_lock() else { return };
        let kept = frame.len().min(SAMPLE_BYTES);
        let mut bytes = [0; SAMPLE_BYTES];
        bytes[..kept].copy_from_slice(&frame[..kept]);
        let sequence = ring.written;
        ring.written += 1;
        ring.places[sequence as usize % KEPT] = Some(DropSample {
            sequence,
            at_ns,
            reason,
            ingress,
            egress,
            length,
            kept: kept as u8,
            bytes,
        });
    }
}
