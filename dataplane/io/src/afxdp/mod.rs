//! Decides how an uplink's frames reach the workers: one AF_XDP socket a queue over one shared frame memory.
//! It never decides which frames those are; that is [`crate::xdp`]'s.
//!
//! The kernel's interface is used directly (Documentation/networking/af_xdp.rst), because no library fits: xsk-rs cannot
//! send from a moved start, so no header could be pushed in place, and libxdp keeps a queue bound after its socket was
//! deleted as long as another one shares the frame memory. The rings are four words and an array each; written here they
//! also run in tests without a device.

mod held;
mod holder;
mod jumbo;
mod kick;
mod queue;
mod ring;
mod setup;
mod sys;
#[cfg(test)]
mod tests;

pub use queue::XskQueue;
pub use setup::{COPY_RING_SIZE, QueueSpec, RING_SIZE, SetupError, Umem, Uplink, max_packet, open, queue_count};

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// In the driver.
    Native,
    /// In the kernel's generic path, after a socket buffer was made.
    Generic,
}

/// How frames get in and out of our memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// The NIC writes there.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

/// The mode obtained; the best one is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Where the program runs.
    pub attach: Attach,
    /// How frames move.
    pub copying: Copying,
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match (self.attach, self.copying) {
            (Attach::Native, Copying::ZeroCopy) => "AF_XDP native, zero-copy",
            (Attach::Native, Copying::Copy) => "AF_XDP native, copy (driver has no zero-copy)",
            (Attach::Generic, Copying::ZeroCopy) => "AF_XDP generic, zero-copy",
            (Attach::Generic, Copying::Copy) => "AF_XDP generic, copy (driver has no XDP)",
        })
    }
}
