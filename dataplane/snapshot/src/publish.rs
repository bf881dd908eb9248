//! One pointer, swapped by the publisher, read once per burst by each worker; old snapshots are freed by the publisher.

use crate::Snapshot;
use arc_swap::{ArcSwap, Cache};
use std::sync::Arc;

type Shared = Arc<ArcSwap<Snapshot>>;

/// The side that replaces snapshots.
pub struct Publisher {
    shared: Shared,
    retired: Vec<Arc<Snapshot>>,
}

impl Publisher {
    /// Starts with this snapshot.
    pub fn new(first: Snapshot) -> Self {
        Self {
            shared: Arc::new(ArcSwap::from_pointee(first)),
            retired: Vec::new(),
        }
    }

    /// The snapshot that is served now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.load_full()
    }

    /// Serves `next` from now on and frees those older ones that no worker holds any more.
    pub fn publish(&mut self, next: Snapshot) {
        let old = self.shared.swap(Arc::new(next));
        self.retired.push(old);
        self.collect();
    }

    /// Frees old snapshots that no worker holds; returns how many are still held.
    pub fn collect(&mut self) -> usize {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
        self.retired.len()
    }

    /// A worker's view.
    pub fn subscribe(&self) -> Subscriber {
        Subscriber(Cache::new(self.shared.clone()))
    }
}

/// A worker's view: the newest snapshot at each [`Self::refresh`], without waiting and, when nothing is new, with one load.
pub struct Subscriber(Cache<Shared, Arc<Snapshot>>);

impl Subscriber {
    /// The newest snapshot. What the last call returned is let go here, so call it at a point where nothing of it is borrowed.
    #[inline]
    pub fn refresh(&mut self) -> &Arc<Snapshot> {
        self.0.load()
    }
}
