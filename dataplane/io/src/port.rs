//! Decides what every device promises to its worker. It never knows which device is behind the promise.

use crate::Burst;
use sluice_mem::Pools;
use std::os::fd::BorrowedFd;

/// A source and sink of frames that one worker thread owns: a queue of a port.
///
/// No call blocks or allocates, apart from [`Self::close`]. A frame is in one place only: a pool, a burst, or the
/// device; a device gives back every frame it took, at the latest in `close`.
pub trait PacketIo: Send {
    /// Appends received frames until there are `most` of them, `burst` is full or the device has no more.
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received;

    /// Takes frames from the front. What remains in `burst` was not accepted for want of room: the caller may try again,
    /// or counts `TxRingFull` and frees.
    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent;

    /// Returns finished transmissions to the pools and tops up the receive side. Called once per loop, also when idle.
    fn recycle(&mut self, pools: &mut Pools) -> Recycled;

    /// Descriptor that polls readable while there is something to receive; `None` where the device must be asked.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// False once the device is gone for good: close it, it will neither receive nor send again.
    fn alive(&self) -> bool {
        true
    }

    /// Whether [`Self::transmit`] runs the receiver's own code, so that a slow receiver takes the sender's time.
    fn runs_receiver(&self) -> bool {
        false
    }

    /// What frames the device takes.
    fn caps(&self) -> Caps;

    /// Counters since the device was opened. May make a system call: for the status page, not for the packet path.
    fn stats(&self) -> Stats;

    /// How full the rings shared with the kernel are, where the device has any. A few loads: for people who ask, not for the packet
    /// path.
    fn occupancy(&self) -> Option<Occupancy> {
        None
    }

    /// Detaches from the device and hands every frame it held to the pools. May wait a bounded time for hardware.
    fn close(self: Box<Self>, pools: &mut Pools);
}

/// What [`PacketIo::receive`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Frames appended to the burst.
    pub frames: u32,
    /// Frames that the device had, but that were unusable and are freed already (`DropReason::RxInvalid`).
    pub invalid: u32,
    /// The device probably has more: it stopped because of `most`, or for want of room in the burst or of frame memory.
    pub more: bool,
}

/// What [`PacketIo::transmit`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames that the device accepted.
    pub frames: u32,
    /// Bytes in them, from the Ethernet header on.
    pub bytes: u64,
    /// Frames taken from the burst and freed because this port can never send them (`DropReason::TxRefused`): a
    /// super-frame without the offload for it, contradictory metadata, a link that is down.
    pub refused: u32,
}

/// What [`PacketIo::recycle`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycled {
    /// Frames that came back from finished transmissions.
    pub returned: u32,
    /// Frames given to the device to receive into.
    pub supplied: u32,
    /// Frames that were accepted wait for another call of this: the device took no more, and nothing will say when it does.
    pub unsent: bool,
}

/// What frames a device takes in [`PacketIo::transmit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// `Checksum::Partial` is completed by the receiver of the frame.
    pub tx_checksum: bool,
    /// TCP over IPv4 super-frames.
    pub tso4: bool,
    /// TCP over IPv6 super-frames.
    pub tso6: bool,
    /// UDP super-frames, both families.
    pub uso: bool,
    /// Chains of segments are sent without a copy.
    pub chains: bool,
    /// Longest frame in bytes, from the Ethernet header on.
    pub max_frame: usize,
}

/// How full the rings of one queue are (AF_XDP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Number of the NIC's queue.
    pub queue: u32,
    /// Received frames that were not taken yet.
    pub rx: Level,
    /// Chunks that the kernel may receive into.
    pub fill: Level,
    /// Frames that the kernel has not begun to send.
    pub tx: Level,
    /// Sent frames that were not taken back yet.
    pub completion: Level,
}

/// Entries of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// In use now.
    pub used: u32,
    /// That there are.
    pub size: u32,
}

/// Counters of a device since it was opened. Zero where a device has no such event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames received into bursts.
    pub rx_frames: u64,
    /// Frames accepted for sending.
    pub tx_frames: u64,
    /// Received frames with metadata that contradicts them, or longer than a buffer.
    pub rx_invalid: u64,
    /// Times that receiving stopped because a pool had no frame.
    pub rx_no_memory: u64,
    /// Frames refused on the way out.
    pub tx_refused: u64,
    /// Received frames copied because they came in several pieces.
    pub rx_copied: u64,
    /// Transmissions copied because the frame lay in foreign memory or in several segments.
    pub tx_copied: u64,
    /// Frames that the kernel lost because we did not take them in time: ring or queue full.
    pub kernel_rx_full: u64,
    /// Frames that the kernel lost because the fill ring held no chunk (AF_XDP).
    pub kernel_fill_empty: u64,
    /// Frames that the kernel lost for other reasons.
    pub kernel_rx_dropped: u64,
    /// Descriptors that the kernel called invalid. Other than 0 is a defect of ours.
    pub kernel_invalid: u64,
}

impl Stats {
    /// Whether the kernel lost anything.
    pub fn has_losses(&self) -> bool {
        self.kernel_rx_full + self.kernel_fill_empty + self.kernel_rx_dropped + self.kernel_invalid > 0
    }
}

impl core::ops::AddAssign for Stats {
    fn add_assign(&mut self, more: Self) {
        self.rx_frames += more.rx_frames;
        self.tx_frames += more.tx_frames;
        self.rx_invalid += more.rx_invalid;
        self.rx_no_memory += more.rx_no_memory;
        self.tx_refused += more.tx_refused;
        self.rx_copied += more.rx_copied;
        self.tx_copied += more.tx_copied;
        self.kernel_rx_full += more.kernel_rx_full;
        self.kernel_fill_empty += more.kernel_fill_empty;
        self.kernel_rx_dropped += more.kernel_rx_dropped;
        self.kernel_invalid += more.kernel_invalid;
    }
}
