//! What the connection table is built of between threads. The model checker builds the same table from types of the same names
//! that it can follow (`tests/loom`).

pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use foldhash::quality::RandomState as Keyed;
pub(crate) use sluice_mem::{SharedError, SharedWords};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks over the keys.
pub(crate) const SHARDS: usize = 64;
/// Counters of keys that came and went, see `ConnectionTable::era`.
pub(crate) const ERAS: usize = 1024;
/// Counters of connections that ended, see `ConnectionTable::holds_since`: few enough to stay in a near cache.
pub(crate) const ENDINGS: usize = 1 << 14;
