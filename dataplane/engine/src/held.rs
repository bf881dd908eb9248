//! Packets that wait until a next hop has told its MAC: few, and not for long.

use crate::classify::Item;
use crate::engine::Context;
use crate::{Egress, Engine};
use arrayvec::ArrayVec;
use sluice_mem::Pools;
use sluice_wire::{BURST, DropReason, Generation};
use std::collections::VecDeque;

/// Most packets a worker holds.
const MOST: usize = 64;
/// Most of them from one port or peer.
const MOST_OF_ONE: usize = 16;
/// Longest wait. The kernel asks three times, a second apart; who has not answered by then does not live.
const LONGEST_NS: u64 = 3_000_000_000;

struct Waiting {
    item: Item,
    since_ns: u64,
    /// The configuration under which it could not go. It is tried again only under another.
    generation: Generation,
}

pub(crate) struct Held {
    queue: VecDeque<Waiting>,
    bytes: u64,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            queue: VecDeque::with_capacity(MOST),
            bytes: 0,
        }
    }
}

impl Engine {
    /// Keeps a packet (as it came, tunnel headers off) until the neighbour is known.
    pub(crate) fn hold(&mut self, cx: Context<'_>, pools: &mut Pools, item: Item) {
        let same = |waiting: &&Waiting| waiting.item.key.scope == item.key.scope;
        if self.held.queue.len() == MOST || self.held.queue.iter().filter(same).count() == MOST_OF_ONE {
            return self.drop_frame(pools, item.frame, DropReason::HeldTooMany);
        }
        self.held.bytes += item.frame.buf.total_len() as u64;
        let since_ns = item.held_since_ns.unwrap_or(cx.now_ns);
        self.held.queue.push_back(Waiting {
            item,
            since_ns,
            generation: cx.snapshot.generation,
        });
        self.note_held();
    }

    pub(crate) fn retry_held<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, out: &mut E) {
        if self.held.queue.is_empty() {
            return;
        }
        let mut again: ArrayVec<Item, BURST> = ArrayVec::new();
        for _ in 0..self.held.queue.len() {
            let Some(mut waiting) = self.held.queue.pop_front() else {
                break;
            };
            let bytes = waiting.item.frame.buf.total_len() as u64;
            if cx.now_ns.saturating_sub(waiting.since_ns) > LONGEST_NS {
                self.held.bytes -= bytes;
                self.drop_frame(pools, waiting.item.frame, DropReason::NeighbourUnresolved);
            } else if waiting.generation != cx.snapshot.generation && !again.is_full() {
                self.held.bytes -= bytes;
                waiting.item.held_since_ns = Some(waiting.since_ns);
                again.push(waiting.item);
            } else {
                self.held.queue.push_back(waiting);
            }
        }
        for item in again {
            self.slow(cx, pools, item, out);
        }
        self.note_held();
    }

    /// Gives up everything that waits.
    pub(crate) fn drop_held(&mut self, pools: &mut Pools) {
        while let Some(waiting) = self.held.queue.pop_front() {
            self.drop_frame(pools, waiting.item.frame, DropReason::NeighbourUnresolved);
        }
        self.held.bytes = 0;
        self.note_held();
    }

    fn note_held(&self) {
        self.counters.held.set(self.held.queue.len() as u64, self.held.bytes);
    }
}
