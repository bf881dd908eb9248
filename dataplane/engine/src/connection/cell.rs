//! A record in memory: [`CELL_WORDS`] words, no pointer in them, so that they can be handed to another process as they are.
//!
//! | word | what |
//! |---|---|
//! | 0 to 4, 5 to 9 | original and reply tuple: source, destination, `sport << 32 \| dport << 16 \| protocol` |
//! | 10 | service slot in the upper half, endpoint slot in the lower one; all ones for none |
//! | 11 | generation that decided |
//! | 12 | owner |
//! | 13 | life: incarnation in the upper half, cut in bit 8, state plus 1 in the low octet, 0 for free |
//! | 14 | when it began, nanoseconds of CLOCK_MONOTONIC |
//! | 16 to 18, 24 to 26 | original and reply direction: last packet (the same clock), packets, bytes |
//!
//! Words are written before their keys are entered and read after they were found, under the same shard's lock, which orders them.

use super::record::{Direction, Life, Record};
use crate::sync::{AtomicU64, Ordering};
use sluice_lb::{EndpointSlot, ServiceSlot};
use sluice_wire::{Addr, Generation, Proto, Scope, Tuple};

/// Words of a record: 256 bytes, four cache lines. A direction's usage has a line of its own, so that two workers share none.
pub(crate) const CELL_WORDS: usize = 32;
const RECORD_WORDS: usize = 13;
pub(super) const LIFE: usize = 13;
const CREATED: usize = 14;
const USAGE: [usize; 2] = [16, 24];

/// What the direction's packets wrote last.
pub(crate) struct Usage<'a> {
    pub(crate) last_ns: &'a AtomicU64,
    pub(crate) packets: &'a AtomicU64,
    pub(crate) bytes: &'a AtomicU64,
}

#[derive(Clone, Copy)]
pub(crate) struct Cell<'a>(pub(super) &'a [AtomicU64; CELL_WORDS]);

impl<'a> Cell<'a> {
    /// Acquires what was written before the life was set.
    #[inline]
    pub(crate) fn life(self) -> Life {
        Life::of(self.0[LIFE].load(Ordering::Acquire))
    }

    /// For whoever owns the place: it is free, or both its shards are locked.
    pub(crate) fn set_life(self, life: Life) {
        self.0[LIFE].store(life.word(), Ordering::Release);
    }

    /// Changes the life of one incarnation: what it was and what it became, or `None` when that incarnation is over.
    pub(crate) fn change_life(self, incarnation: u32, change: impl Fn(Life) -> Life) -> Option<(Life, Life)> {
        let mut word = self.0[LIFE].load(Ordering::Acquire);
        loop {
            let before = Life::of(word);
            if before.incarnation != incarnation || before.state.is_none() {
                return None;
            }
            let after = change(before);
            if after == before {
                return Some((before, after));
            }
            match self.0[LIFE].compare_exchange(word, after.word(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some((before, after)),
                Err(seen) => word = seen,
            }
        }
    }

    /// When the first packet came.
    pub(crate) fn created_ns(self) -> u64 {
        self.0[CREATED].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn usage(self, direction: Direction) -> Usage<'a> {
        let at = USAGE[direction.index()];
        Usage {
            last_ns: &self.0[at],
            packets: &self.0[at + 1],
            bytes: &self.0[at + 2],
        }
    }

    /// Packets and bytes of both directions.
    pub(crate) fn volumes(self) -> ([u64; 2], [u64; 2]) {
        let usages = [Direction::Original, Direction::Reply].map(|d| self.usage(d));
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        (
            core::array::from_fn(|i| read(usages[i].packets)),
            core::array::from_fn(|i| read(usages[i].bytes)),
        )
    }

    /// When a packet of either direction was last reported.
    pub(crate) fn last_ns(self) -> u64 {
        let last = |d| self.usage(d).last_ns.load(Ordering::Relaxed);
        last(Direction::Original).max(last(Direction::Reply))
    }

    /// Everything but the life, for a connection that begins now.
    pub(crate) fn store(self, record: &Record, now_ns: u64) {
        let [a, b, c, d, e] = tuple_words(&record.original);
        let [f, g, h, i, j] = tuple_words(&record.reply);
        let slots = u64::from(record.service.map_or(u32::MAX, |s| s.0)) << 32
            | u64::from(record.endpoint.map_or(u32::MAX, |s| s.0));
        let owner = u64::from(record.owner.get());
        let values = [a, b, c, d, e, f, g, h, i, j, slots, record.decided_in.0, owner];
        for (word, value) in self.0.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        self.0[CREATED].store(now_ns, Ordering::Relaxed);
        for usage in [Direction::Original, Direction::Reply].map(|d| self.usage(d)) {
            usage.last_ns.store(now_ns, Ordering::Relaxed);
            usage.packets.store(0, Ordering::Relaxed);
            usage.bytes.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(self) -> Record {
        let mut w = [0u64; RECORD_WORDS];
        for (value, word) in w.iter_mut().zip(self.0) {
            *value = word.load(Ordering::Relaxed);
        }
        let slot = |v: u32| (v != u32::MAX).then_some(v);
        Record {
            original: tuple_of([w[0], w[1], w[2], w[3], w[4]]),
            reply: tuple_of([w[5], w[6], w[7], w[8], w[9]]),
            service: slot((w[10] >> 32) as u32).map(ServiceSlot),
            endpoint: slot(w[10] as u32).map(EndpointSlot),
            decided_in: Generation(w[11]),
            owner: Scope::of(w[12] as u32),
        }
    }

    /// One direction's key, without the rest.
    pub(crate) fn arriving(self, direction: Direction) -> Tuple {
        let at = 5 * direction.index();
        let mut w = [0u64; 5];
        for (value, word) in w.iter_mut().zip(&self.0[at..at + 5]) {
            *value = word.load(Ordering::Relaxed);
        }
        tuple_of(w)
    }
}

fn tuple_words(t: &Tuple) -> [u64; 5] {
    let (s, d) = (t.src.bits(), t.dst.bits());
    let ports = u64::from(t.sport) << 32 | u64::from(t.dport) << 16 | u64::from(t.proto.0);
    [(s >> 64) as u64, s as u64, (d >> 64) as u64, d as u64, ports]
}

fn tuple_of([a, b, c, d, ports]: [u64; 5]) -> Tuple {
    let addr = |high: u64, low: u64| Addr::v6((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
    Tuple {
        src: addr(a, b),
        dst: addr(c, d),
        sport: (ports >> 32) as u16,
        dport: (ports >> 16) as u16,
        proto: Proto(ports as u8),
    }
}
