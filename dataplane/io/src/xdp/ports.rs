//! Decides which ports of the node's addresses are ours: bits in memory shared with the XDP program. It never makes a
//! system call after it was mapped, so a worker may own a port while it handles a packet.

use super::steering::SteeringError;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_wire::Proto;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Words of a table: one bit for each of 65536 ports.
const TABLE: usize = 1024;
/// Tables, in the order that the program knows them by.
const TABLES: usize = 11;
const NODE_PORTS_V4: usize = 5;
const NODE_PORTS_V6: usize = 8;

struct Mapping(NonNull<AtomicU64>);

// SAFETY: the mapping holds atomics only and is not tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped with this size in `OwnedPorts::map`; no reference outlives the `Arc` around us.
        unsafe { libc::munmap(self.0.as_ptr().cast(), TABLES * TABLE * 8) };
    }
}

/// The ports that the program sends to us because we masquerade behind them. Clones see the same bits; the program sees
/// a change with its next packet.
#[derive(Clone)]
pub struct OwnedPorts(Arc<Mapping>);

impl OwnedPorts {
    /// Maps the program's array.
    pub(super) fn map(array: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                TABLES * TABLE * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                array.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(base.cast()) {
            Some(words) if base != libc::MAP_FAILED => Ok(Self(Arc::new(Mapping(words)))),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that long, page-aligned, zeroed by the kernel, and lives as long as `self`.
        unsafe { core::slice::from_raw_parts(self.0.0.as_ptr(), TABLES * TABLE) }
    }

    fn bit(&self, table: usize, port: u16) -> (&AtomicU64, u64) {
        (&self.words()[table * TABLE + usize::from(port) / 64], 1 << (port % 64))
    }

    fn change(&self, table: usize, port: u16, on: bool) {
        let (word, mask) = self.bit(table, port);
        if on {
            word.fetch_or(mask, Ordering::Release);
        } else {
            word.fetch_and(!mask, Ordering::Release);
        }
    }

    /// Owns a port (host order; for ICMP and ICMPv6 an echo identifier), or gives it up. False, and no change, for a
    /// protocol without such a table.
    #[inline]
    pub fn own(&self, proto: Proto, port: u16, on: bool) -> bool {
        let Some(table) = owned_table(proto) else { return false };
        self.change(table, port, on);
        true
    }

    /// Whether a port is owned.
    pub fn owns(&self, proto: Proto, port: u16) -> bool {
        owned_table(proto).is_some_and(|table| {
            let (word, mask) = self.bit(table, port);
            word.load(Ordering::Acquire) & mask != 0
        })
    }

    /// Steers a node port of one family to us, or no longer.
    pub(super) fn node_port(&self, (proto, port, v4): (Proto, u16, bool), on: bool) -> Result<(), SteeringError> {
        let table = transport(proto).ok_or(SteeringError::Protocol { proto: proto.0 })?;
        let tables = if v4 { NODE_PORTS_V4 } else { NODE_PORTS_V6 };
        self.change(tables + table, port, on);
        Ok(())
    }
}

fn transport(proto: Proto) -> Option<usize> {
    match proto {
        Proto::TCP => Some(0),
        Proto::UDP => Some(1),
        Proto::SCTP => Some(2),
        _ => None,
    }
}

fn owned_table(proto: Proto) -> Option<usize> {
    match proto {
        Proto::ICMP => Some(3),
        Proto::ICMPV6 => Some(4),
        other => transport(other),
    }
}
