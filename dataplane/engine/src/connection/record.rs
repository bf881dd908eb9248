//! One connection in a fixed number of words: no pointer in it, so that it can be handed to another process as it is.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sluice_lb::{EndpointSlot, ServiceSlot};
use sluice_wire::{Addr, Generation, Proto, Tuple};

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet.
    Original,
    /// Back.
    Reply,
}

impl Direction {
    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A record's place and incarnation: a place that was freed and taken again is another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId {
    pub(crate) index: u32,
    pub(crate) incarnation: u32,
}

/// What was decided for a connection.
///
/// Both tuples are as they arrive: `original` from the client, `reply` from whoever serves. All rewriting follows from
/// them: a packet of the original direction leaves as `reply` reversed, a reply leaves as `original` reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// As packets of the client arrive.
    pub original: Tuple,
    /// As replies arrive.
    pub reply: Tuple,
    /// The service that was addressed.
    pub service: Option<ServiceSlot>,
    /// The endpoint that was chosen.
    pub endpoint: Option<EndpointSlot>,
    /// Under which configuration.
    pub decided_in: Generation,
}

impl Record {
    /// The tuple that packets of this direction arrive with.
    pub fn arriving(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }

    /// The tuple that packets of this direction leave with.
    pub fn leaving(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.reply.reversed(),
            Direction::Reply => self.original.reversed(),
        }
    }
}

const WORDS: usize = 12;

/// What the direction's packets wrote last; a cache line each, so that two workers do not share one.
#[repr(align(64))]
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) last_ns: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A record in memory. The words are written before its keys are entered and read after they were found, under the same
/// shard's lock, which orders them.
#[derive(Default)]
pub(crate) struct Cell {
    words: [AtomicU64; WORDS],
    pub(crate) incarnation: AtomicU32,
    pub(crate) state: AtomicU32,
    pub(crate) created_ns: AtomicU64,
    pub(crate) usage: [Usage; 2],
}

impl Cell {
    pub(crate) fn store(&self, record: &Record) {
        let [a, b, c, d, e] = tuple_words(&record.original);
        let [f, g, h, i, j] = tuple_words(&record.reply);
        let slots = u64::from(record.service.map_or(u32::MAX, |s| s.0)) << 32
            | u64::from(record.endpoint.map_or(u32::MAX, |s| s.0));
        for (word, value) in self
            .words
            .iter()
            .zip([a, b, c, d, e, f, g, h, i, j, slots, record.decided_in.0])
        {
            word.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> Record {
        let mut w = [0u64; WORDS];
        for (value, word) in w.iter_mut().zip(&self.words) {
            *value = word.load(Ordering::Relaxed);
        }
        let slot = |v: u32| (v != u32::MAX).then_some(v);
        Record {
            original: tuple_of([w[0], w[1], w[2], w[3], w[4]]),
            reply: tuple_of([w[5], w[6], w[7], w[8], w[9]]),
            service: slot((w[10] >> 32) as u32).map(ServiceSlot),
            endpoint: slot(w[10] as u32).map(EndpointSlot),
            decided_in: Generation(w[11]),
        }
    }

    /// One direction's key, without the rest.
    pub(crate) fn arriving(&self, direction: Direction) -> Tuple {
        let at = 5 * direction.index();
        let mut w = [0u64; 5];
        for (value, word) in w.iter_mut().zip(&self.words[at..at + 5]) {
            *value = word.load(Ordering::Relaxed);
        }
        tuple_of(w)
    }
}

fn tuple_words(t: &Tuple) -> [u64; 5] {
    let (s, d) = (
        u128::from_be_bytes(*t.src.octets()),
        u128::from_be_bytes(*t.dst.octets()),
    );
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
