//! Walks over the table: which connections were silent for too long, and what a person sees of the rest. It never stops the
//! workers: no lock is held longer than for one shard's worth of reading.

use super::record::{Direction, Record, RecordId};
use super::{ConnectionTable, table::lock};
use crate::sync::Ordering;
use sluice_lb::{ConnState, timeout_ns};

/// A connection for display.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// What was decided.
    pub record: Record,
    /// How far it is.
    pub state: ConnState,
    /// Nanoseconds since the first packet.
    pub age_ns: u64,
    /// Nanoseconds since the last packet.
    pub idle_ns: u64,
    /// Packets seen, original and reply.
    pub packets: [u64; 2],
    /// Bytes seen, original and reply.
    pub bytes: [u64; 2],
}

impl ConnectionTable {
    /// Looks at the next `budget` places and takes out what has been silent for too long; each one taken is given to `ended`.
    pub fn sweep(&self, now_ns: u64, budget: usize, mut ended: impl FnMut(&Record)) {
        let count = self.capacity();
        if self.is_empty() || count == 0 {
            return;
        }
        let start = self.sweep_at.fetch_add(budget, Ordering::Relaxed);
        for step in 0..budget.min(count) {
            let index = (start.wrapping_add(step)) % count;
            let Some(cell) = self.records.cell(index as u32) else {
                continue;
            };
            let life = cell.life();
            let Some(state) = life.state else { continue };
            let id = RecordId {
                index: index as u32,
                incarnation: life.incarnation,
            };
            if now_ns.saturating_sub(cell.last_ns()) > timeout_ns(state, &self.timeouts)
                && let Some(record) = self.remove(id)
            {
                self.expired.fetch_add(1, Ordering::Relaxed);
                ended(&record);
            }
        }
    }

    /// Shows every connection to `look`, which must not ask the table anything: a shard is locked meanwhile.
    pub fn each(&self, mut look: impl FnMut(&Record)) {
        for shard in &self.shards {
            let shard = lock(shard);
            for key in shard.iter().filter(|k| k.direction == Direction::Original) {
                if let Some(cell) = self.records.cell(key.index) {
                    look(&cell.load());
                }
            }
        }
    }

    /// Up to `limit` connections, for display. Takes each shard's lock for a moment; never all at once.
    pub fn rows(&self, now_ns: u64, limit: usize) -> Vec<ConnectionRow> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            for key in shard.iter().filter(|k| k.direction == Direction::Original) {
                if rows.len() == limit {
                    return rows;
                }
                let Some(cell) = self.records.cell(key.index) else {
                    continue;
                };
                let Some(state) = cell.life().state else { continue };
                let (packets, bytes) = cell.volumes();
                rows.push(ConnectionRow {
                    record: cell.load(),
                    state,
                    age_ns: now_ns.saturating_sub(cell.created_ns()),
                    idle_ns: now_ns.saturating_sub(cell.last_ns()),
                    packets,
                    bytes,
                });
            }
        }
        rows
    }
}
