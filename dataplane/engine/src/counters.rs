//! What one worker counted. Written by that worker alone, read by anybody.

use crate::{Frame, Samples};
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_wire::{DropReason, PortSlot};

/// Ports that are counted one by one; those in higher slots only appear in the sums.
pub const COUNTED_PORTS: usize = 1024;

/// Frames and bytes.
#[derive(Debug, Default)]
pub struct Volume {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Volume {
    /// Adds one frame. Only the owning worker calls this, so a load and a store are enough.
    #[inline]
    pub fn add(&self, frames: u64, bytes: u64) {
        self.frames
            .store(self.frames.load(Ordering::Relaxed) + frames, Ordering::Relaxed);
        self.bytes
            .store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Frames and bytes so far.
    pub fn get(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Traffic of one port.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Taken from the port.
    pub received: Volume,
    /// Accepted by the port.
    pub sent: Volume,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Events of one worker that are no frames.
        #[derive(Debug, Default)]
        pub struct Events { $($(#[$doc])* pub $name: Event,)* }

        impl Events {
            /// Name and value of each.
            pub fn list(&self) -> Vec<(&'static str, u64)> { vec![$((stringify!($name), self.$name.get()),)*] }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Event(AtomicU64);

impl Event {
    /// Adds `n`; only the owning worker calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

events! {
    /// Packets that an entry of the flow cache decided.
    cache_hits,
    /// Packets that took the slow path.
    cache_misses,
    /// Entries whose stamp was renewed because nothing they depend on had changed.
    renewed,
    /// Entries that were decided again because something they depend on had changed.
    decided_again,
    /// Connections created by this worker.
    connections_created,
    /// Creation races lost to another worker, whose decision was adopted.
    races_lost,
    /// Connections cut because policy no longer allows them.
    connections_cut,
    /// Connections taken out before their time, so that another one found room.
    connections_evicted,
    /// Super-frames made of packets that came one by one.
    super_frames,
    /// Bursts that held at least one frame.
    bursts,
    /// Rounds of the worker's loop.
    rounds,
    /// Rounds that found nothing to do.
    idle_rounds,
    /// Times the worker slept.
    sleeps,
}

/// Everything one worker counts. Frames balance, and bytes do:
/// received + generated + split = sent + to_host + answered + dropped + held + merged, and for bytes
/// received + generated + split + pushed = sent + to_host + answered + dropped + pulled + held + merged.
/// Fragments that wait for their first are the node's, not a worker's: see [`crate::FragmentTable::held`].
#[derive(Debug)]
pub struct Counters {
    /// Taken from ports.
    pub received: Volume,
    /// Made here: ICMP errors, resets.
    pub generated: Volume,
    /// Additional frames (and header bytes) that cutting super-frames made.
    pub split: Volume,
    /// Frames that became a part of one before them, and the header bytes that went with that.
    pub merged: Volume,
    /// Accepted by pod ports and the uplink.
    pub sent: Volume,
    /// Accepted by the host's port.
    pub to_host: Volume,
    /// Turned into an answer, which is counted as generated (ARP, neighbour discovery).
    pub answered: Volume,
    /// Tunnel headers put in front (frames that got them, bytes).
    pub pushed: Volume,
    /// Tunnel headers and Ethernet padding taken off.
    pub pulled: Volume,
    /// Waiting for a neighbour now (not a sum: frames and bytes present).
    pub held: Held,
    /// Ended without delivery, by reason.
    pub dropped: Box<[Volume]>,
    /// Some of those.
    pub samples: Samples,
    /// By port.
    pub ports: Box<[PortCounters]>,
    /// Everything else.
    pub events: Events,
}

/// Frames and bytes that wait now.
#[derive(Debug, Default)]
pub struct Held {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Held {
    pub(crate) fn set(&self, frames: u64, bytes: u64) {
        self.frames.store(frames, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Frames and bytes that wait now.
    pub fn get(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received: Volume::default(),
            generated: Volume::default(),
            split: Volume::default(),
            merged: Volume::default(),
            sent: Volume::default(),
            to_host: Volume::default(),
            answered: Volume::default(),
            pushed: Volume::default(),
            pulled: Volume::default(),
            held: Held::default(),
            dropped: DropReason::ALL.iter().map(|_| Volume::default()).collect(),
            samples: Samples::default(),
            ports: (0..COUNTED_PORTS).map(|_| PortCounters::default()).collect(),
            events: Events::default(),
        }
    }
}

impl Counters {
    /// Counts a frame that its owner is about to free for this reason, and keeps a sample of it now and then. `egress` is the port that it
    /// was to leave by, once that is decided.
    #[inline]
    pub fn refuse(&self, reason: DropReason, frame: &Frame, egress: Option<PortSlot>) {
        if let Some(volume) = self.dropped.get(reason.index()) {
            volume.add(1, frame.buf.total_len() as u64);
        }
        self.samples.take(reason, frame, egress);
    }

    /// Counts frames that the device behind `egress` dropped by itself.
    pub fn refuse_unseen(&self, reason: DropReason, frames: u64, bytes: u64, egress: PortSlot) {
        if let Some(volume) = self.dropped.get(reason.index()) {
            volume.add(frames, bytes);
        }
        self.samples.take_unseen(reason, (None, Some(egress)));
    }

    /// Counts frames that the device behind `ingress` had, and freed because they were unusable: received, and dropped.
    pub fn refuse_unusable(&self, frames: u64, ingress: PortSlot) {
        self.received.add(frames, 0);
        if let Some(port) = self.ports.get(ingress.index()) {
            port.received.add(frames, 0);
        }
        if let Some(volume) = self.dropped.get(DropReason::RxInvalid.index()) {
            volume.add(frames, 0);
        }
        self.samples.take_unseen(DropReason::RxInvalid, (Some(ingress), None));
    }

    /// Counts frames that came in. Those of one port mostly come together, and are counted so.
    #[inline]
    pub fn receive_all(&self, frames: &[Frame]) {
        for run in frames.chunk_by(|a, b| a.meta.ingress == b.meta.ingress) {
            let bytes = run.iter().map(|frame| frame.buf.total_len() as u64).sum();
            if let Some(first) = run.first() {
                self.receive(first.meta.ingress, run.len() as u64, bytes);
            }
        }
    }

    /// Counts frames that came in by `port`.
    #[inline]
    pub(crate) fn receive(&self, port: PortSlot, frames: u64, bytes: u64) {
        self.received.add(frames, bytes);
        if let Some(port) = self.ports.get(port.index()) {
            port.received.add(frames, bytes);
        }
    }

    /// Counts frames that `port` took.
    #[inline]
    pub fn transmit(&self, port: PortSlot, to_host: bool, frames: u64, bytes: u64) {
        let sum = if to_host { &self.to_host } else { &self.sent };
        sum.add(frames, bytes);
        if let Some(port) = self.ports.get(port.index()) {
            port.sent.add(frames, bytes);
        }
    }

    /// Frames and bytes by which the books do not balance; (0, 0) unless something is wrong.
    pub fn imbalance(&self) -> (i128, i128) {
        let get = |v: &Volume| {
            let (frames, bytes) = v.get();
            (i128::from(frames), i128::from(bytes))
        };
        let mut sum = (0i128, 0i128);
        for volume in [&self.received, &self.generated, &self.split] {
            let (f, b) = get(volume);
            sum = (sum.0 + f, sum.1 + b);
        }
        for volume in [&self.sent, &self.to_host, &self.answered, &self.merged]
            .into_iter()
            .chain(self.dropped.iter())
        {
            let (f, b) = get(volume);
            sum = (sum.0 - f, sum.1 - b);
        }
        let (held_frames, held_bytes) = self.held.get();
        (
            sum.0 - i128::from(held_frames),
            sum.1 + get(&self.pushed).1 - get(&self.pulled).1 - i128::from(held_bytes),
        )
    }
}
