//! One connection in a fixed number of words: no pointer in it, so that it can be handed to another process as it is.

use core::sync::atomic::{AtomicU64, Ordering};
use sluice_lb::{ConnState, EndpointSlot, ServiceSlot};
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
pub(crate) struct Cell {
    words: [AtomicU64; WORDS],
    /// A [`Life`]. One word, so that no packet of an ended connection can move the state of the next one in its place.
    life: AtomicU64,
    pub(crate) created_ns: AtomicU64,
    pub(crate) usage: [Usage; 2],
}

/// Incarnation and state of a cell at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) incarnation: u32,
    /// `None` while the cell is free.
    pub(crate) state: Option<ConnState>,
    /// Policy took its permission away; the record stays, so that neither side's next packet begins another connection.
    pub(crate) cut: bool,
}

const NO_STATE: u64 = 0xff;
const CUT: u64 = 1 << 8;

impl Life {
    fn of(word: u64) -> Self {
        Self {
            incarnation: (word >> 32) as u32,
            state: ConnState::from_u8(word as u8),
            cut: word & CUT != 0,
        }
    }

    fn word(self) -> u64 {
        let state = self.state.map_or(NO_STATE, |s| u64::from(s.to_u8()));
        u64::from(self.incarnation) << 32 | if self.cut { CUT } else { 0 } | state
    }
}

impl Default for Cell {
    fn default() -> Self {
        let free = Life {
            incarnation: 0,
            state: None,
            cut: false,
        };
        Self {
            words: Default::default(),
            life: AtomicU64::new(free.word()),
            created_ns: AtomicU64::new(0),
            usage: Default::default(),
        }
    }
}

impl Cell {
    /// Acquires what was written before the life was set.
    #[inline]
    pub(crate) fn life(&self) -> Life {
        Life::of(self.life.load(Ordering::Acquire))
    }

    /// For whoever owns the cell: it is free, or both its shards are locked.
    pub(crate) fn set_life(&self, life: Life) {
        self.life.store(life.word(), Ordering::Release);
    }

    /// Changes the life of one incarnation: what it was and what it became, or `None` when that incarnation is over.
    pub(crate) fn change_life(&self, incarnation: u32, change: impl Fn(Life) -> Life) -> Option<(Life, Life)> {
        let mut word = self.life.load(Ordering::Acquire);
        loop {
            let before = Life::of(word);
            if before.incarnation != incarnation || before.state.is_none() {
                return None;
            }
            let after = change(before);
            if after == before {
                return Some((before, after));
            }
            match self
                .life
                .compare_exchange(word, after.word(), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some((before, after)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Asks the processor for the line that [`Self::life`] reads.
    #[inline]
    pub(crate) fn prefetch_life(&self) {
        sluice_mem::prefetch(&self.life);
    }

    /// When a packet of either direction was last reported.
    pub(crate) fn last_ns(&self) -> u64 {
        let [a, b] = &self.usage;
        a.last_ns.load(Ordering::Relaxed).max(b.last_ns.load(Ordering::Relaxed))
    }

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
