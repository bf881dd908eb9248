//! What the engine's `sync` names, as loom has it. Few locks and counters, so that models stay small and every collision happens; a
//! hash that is the same in every run, because a model must not differ between its runs.

pub(crate) use foldhash::quality::FixedState as Keyed;
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use sluice_mem::SharedError;

pub(crate) const SHARDS: usize = 2;
pub(crate) const ERAS: usize = 2;
pub(crate) const ENDINGS: usize = 2;

/// Not shared with anybody.
#[derive(Debug)]
pub(crate) struct SharedWords(Box<[AtomicU64]>);

impl SharedWords {
    pub(crate) fn create(_: &std::ffi::CStr, words: usize) -> Result<Self, SharedError> {
        Ok(Self((0..words).map(|_| AtomicU64::new(0)).collect()))
    }
}

impl std::ops::Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}
