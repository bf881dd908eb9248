//! A worker's private flow cache: bounded, disposable, eight places for each hash. What every packet of a flow needs is in two cache
//! lines; what a decision depended on is kept apart, as only a change of the configuration asks for it.

use crate::action::{Action, Way};
use crate::connection::{ConnectionTable, Direction, RecordId};
use crate::counters::Events;
use crate::reach::{Reach, reach};
use core::num::NonZeroU32;
use sluice_mem::Table;
use sluice_snapshot::{Deps, Snapshot};
use sluice_wire::{FlowKey, FlowWords, Generation, Patch, Proto, Rewrite, Scope};

const WAYS: usize = 8;

/// The connection that an entry belongs to, and what is to be reported to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) record: RecordId,
    pub(crate) direction: Direction,
    /// Clock tick in which the record last heard of this entry.
    pub(crate) tick: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

impl Link {
    /// Tells the connection what was counted.
    pub(crate) fn report(self, connections: &ConnectionTable, now_ns: u64) {
        if self.packets > 0 {
            connections.touch(self.record, self.direction, now_ns, self.packets, self.bytes.into());
        }
    }
}

/// What an entry rests on besides the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Basis {
    /// A connection allows it.
    Connection(Link),
    /// Policy allows neither the connection that there is, nor one to begin. Holds while the table's era for the tuple does: another
    /// connection may come to which the same packets are replies, and with the one that is denied its backend goes.
    Denial { era: u32 },
}

/// One decided direction of one flow, as seen at one ingress.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Entry {
    /// See [`FlowWords`].
    ends: [u64; 4],
    ports: u32,
    scope: Scope,
    pub(crate) record: RecordId,
    what: u16,
    pub(crate) flags: Flags,
    pub(crate) direction: Direction,
    /// Outer source port, should it leave by a tunnel.
    pub(crate) tunnel_port: u16,
    pub(crate) generation: Generation,
    pub(crate) patch: Patch,
    pub(crate) way: Way,
    pub(crate) tick: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
    /// See [`ConnectionTable::holds_since`].
    pub(crate) seen: u32,
}

const _: () = assert!(size_of::<Entry>() == 128);

/// Yes-or-no facts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    const NONE: Self = Self(0);
    /// There is an entry.
    const PRESENT: Self = Self(1);
    /// See [`Action::hop`].
    pub(crate) const HOP: Self = Self(2);
    /// See [`Action::steady`].
    const STEADY: Self = Self(4);
    /// See [`Basis::Denial`].
    const DENIAL: Self = Self(8);
    /// The fast path may apply it to plain packets.
    pub(crate) const FAST: Self = Self(16);

    fn of(flags: impl IntoIterator<Item = (bool, Self)>) -> Self {
        Self(
            flags
                .into_iter()
                .filter(|(set, _)| *set)
                .fold(0, |sum, (_, flag)| sum | flag.0),
        )
    }

    #[inline(always)]
    pub(crate) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

impl Entry {
    const EMPTY: Self = Self {
        ends: [0; 4],
        ports: 0,
        scope: Scope::of(0),
        what: 0,
        record: RecordId {
            index: 0,
            incarnation: 0,
        },
        flags: Flags::NONE,
        direction: Direction::Original,
        tunnel_port: 0,
        generation: Generation(0),
        patch: Patch::NOTHING,
        way: Way::Drop(sluice_wire::DropReason::ALL[0]),
        tick: 0,
        packets: 0,
        bytes: 0,
        seen: 0,
    };

    pub(crate) fn new(
        key: FlowKey,
        generation: Generation,
        action: &Action,
        basis: Basis,
        connections: &ConnectionTable,
    ) -> Self {
        let (denial, link) = match basis {
            Basis::Connection(link) => (false, link),
            Basis::Denial { era } => (
                true,
                Link {
                    record: RecordId {
                        index: 0,
                        incarnation: era,
                    },
                    direction: Direction::Original,
                    tick: 0,
                    packets: 0,
                    bytes: 0,
                },
            ),
        };
        let (tuple, words) = (&key.tuple, FlowWords::from(&key));
        // Whether the host's link-local addresses are meant is asked of every packet.
        let everywhere = (reach(tuple.src), reach(tuple.dst)) == (Reach::Unicast, Reach::Unicast);
        let fast = !denial
            && action.steady
            && everywhere
            && !matches!(action.way, Way::Drop(_))
            && matches!(tuple.proto, Proto::TCP | Proto::UDP);
        Self {
            ends: words.ends,
            ports: words.ports,
            scope: words.scope,
            what: words.what,
            record: link.record,
            flags: Flags::of([
                (true, Flags::PRESENT),
                (action.hop, Flags::HOP),
                (action.steady, Flags::STEADY),
                (denial, Flags::DENIAL),
                (fast, Flags::FAST),
            ]),
            direction: link.direction,
            tunnel_port: action.tunnel_port,
            generation,
            patch: Patch::new(tuple, &action.rewrite),
            way: action.way,
            tick: link.tick,
            packets: link.packets,
            bytes: link.bytes,
            seen: connections.unseen(link.record),
        }
    }

    /// Whose it is.
    #[inline(always)]
    pub(crate) fn words(&self) -> FlowWords {
        FlowWords {
            ends: self.ends,
            ports: self.ports,
            scope: self.scope,
            what: self.what,
        }
    }

    /// What was decided.
    pub(crate) fn action(&self) -> Action {
        let tuple = self.words().key().tuple;
        Action {
            rewrite: Rewrite::between(&tuple, &self.patch.leaving(&tuple)),
            way: self.way,
            tunnel_port: self.tunnel_port,
            hop: self.flags.has(Flags::HOP),
            steady: self.flags.has(Flags::STEADY),
        }
    }

    /// What it rests on.
    pub(crate) fn basis(&self) -> Basis {
        match self.link() {
            Some(link) => Basis::Connection(link),
            None => Basis::Denial {
                era: self.record.incarnation,
            },
        }
    }

    /// The connection it belongs to, where it is a permitted one.
    #[inline(always)]
    pub(crate) fn link(&self) -> Option<Link> {
        let link = Link {
            record: self.record,
            direction: self.direction,
            tick: self.tick,
            packets: self.packets,
            bytes: self.bytes,
        };
        (!self.flags.has(Flags::DENIAL)).then_some(link)
    }

    /// Counts a packet.
    #[inline(always)]
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes as u32);
    }

    /// Whether its connection is to hear of what was counted: once in a clock tick, and before counters are full.
    #[inline(always)]
    pub(crate) fn is_due(&self, tick: u32) -> bool {
        const MUCH: u32 = 1 << 31;
        self.tick != tick || self.bytes >= MUCH
    }

    /// What was counted, which begins anew.
    pub(crate) fn take_counts(&mut self, tick: u32) -> Option<Link> {
        let link = self.link();
        (self.tick, self.packets, self.bytes) = (tick, 0, 0);
        link
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Set {
    // Sixteen bits each, 0 for an empty place.
    tags: [u64; WAYS / 4],
    age: [u8; WAYS],
}

impl Set {
    fn tag(&self, way: usize) -> u16 {
        (self.tags[way / 4] >> (16 * (way % 4))) as u16
    }

    fn set_tag(&mut self, way: usize, tag: u16) {
        let (word, shift) = (&mut self.tags[way / 4], 16 * (way % 4));
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }
}

const EMPTY: Set = Set {
    tags: [0; WAYS / 4],
    age: [0; WAYS],
};

/// Where an entry lies: one more than its number, so that none needs no space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    #[inline(always)]
    fn new(at: usize) -> Option<Self> {
        NonZeroU32::new(at as u32 + 1).map(Self)
    }

    #[inline(always)]
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

pub(crate) struct FlowCache {
    sets: Table<Set>,
    entries: Table<Entry>,
    deps: Table<Deps>,
    mask: u64,
}

impl FlowCache {
    /// Room for at least `flows` entries, a power of two.
    pub(crate) fn new(flows: usize) -> Self {
        let sets = (flows / WAYS).next_power_of_two().max(16);
        Self {
            sets: Table::new(sets, EMPTY),
            entries: Table::new(sets * WAYS, Entry::EMPTY),
            deps: Table::new(sets * WAYS, Deps::default()),
            mask: sets as u64 - 1,
        }
    }

    /// Asks the processor for the set that this hash belongs to.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        sluice_mem::prefetch(&self.sets[(hash & self.mask) as usize]);
    }

    /// Where the flow of this hash probably is; the processor is asked for the entry.
    #[inline(always)]
    pub(crate) fn candidate(&self, hash: u64) -> Option<Place> {
        let set = (hash & self.mask) as usize;
        let way = first(matches(&self.sets[set], hash))?;
        let at = set * WAYS + way;
        let entry = &self.entries[at];
        sluice_mem::prefetch(entry);
        sluice_mem::prefetch(&entry.patch);
        Place::new(at)
    }

    #[inline]
    pub(crate) fn find(&self, key: &FlowWords, hash: u64) -> Option<Place> {
        let set = (hash & self.mask) as usize;
        let mut left = matches(&self.sets[set], hash);
        while let Some(way) = first(left) {
            let at = set * WAYS + way;
            if self.entries[at].words() == *key {
                return Place::new(at);
            }
            left &= left - 1;
        }
        None
    }

    /// The entry there, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self, place: Place) -> Option<&Entry> {
        let entry = self.entries.get(place.index())?;
        entry.flags.has(Flags::PRESENT).then_some(entry)
    }

    /// Asks the processor for what the entry there depended on.
    #[inline(always)]
    pub(crate) fn prefetch_deps(&self, place: Place) {
        if let Some(deps) = self.deps.get(place.index()) {
            sluice_mem::prefetch(deps);
        }
    }

    /// An entry that is known to be there, if it still holds under this configuration, which is noted then.
    #[inline(always)]
    pub(crate) fn renewed(&mut self, place: Place, snapshot: &Snapshot, events: &Events) -> Option<&mut Entry> {
        let at = place.index();
        let entry = self.entries.get_mut(at)?;
        (entry.generation == snapshot.generation || renew(entry, self.deps.get(at)?, snapshot, events)).then_some(entry)
    }

    /// Puts an entry in, replacing the one of the same key, else an empty place, else the one that is longest there.
    /// The link of an entry that had to go is returned, so that what it counted is not lost.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry, deps: Deps) -> Option<Link> {
        let set = (hash & self.mask) as usize;
        let same = self.find(&entry.words(), hash).map(|p| p.index() - set * WAYS);
        let ways = &mut self.sets[set];
        let way = same.unwrap_or_else(|| {
            (0..WAYS)
                .find(|w| ways.tag(*w) == 0)
                .unwrap_or_else(|| (0..WAYS).max_by_key(|w| ways.age[*w]).unwrap_or(0))
        });
        for (w, age) in ways.age.iter_mut().enumerate() {
            *age = if w == way { 0 } else { age.saturating_add(1) };
        }
        ways.set_tag(way, tag(hash));
        let at = set * WAYS + way;
        self.deps[at] = deps;
        let old = core::mem::replace(&mut self.entries[at], entry);
        old.flags.has(Flags::PRESENT).then(|| old.link()).flatten()
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Link> {
        let at = place.index();
        self.sets[at / WAYS].set_tag(at % WAYS, 0);
        let old = core::mem::replace(self.entries.get_mut(at)?, Entry::EMPTY);
        old.flags.has(Flags::PRESENT).then(|| old.link()).flatten()
    }

    /// Takes out what the entries counted.
    pub(crate) fn take_counts(&mut self) -> impl Iterator<Item = Link> {
        let counted = self.entries.iter_mut().filter(|entry| entry.packets > 0);
        counted.filter_map(|entry| entry.take_counts(entry.tick))
    }
}

#[cold]
fn renew(entry: &mut Entry, deps: &Deps, snapshot: &Snapshot, events: &Events) -> bool {
    let holds = snapshot.stamps.unchanged(deps, entry.generation);
    if holds {
        entry.generation = snapshot.generation;
        events.renewed.add(1);
    }
    holds
}

/// The ways whose tags may be this hash's, a bit for each (its tag's highest); the lowest one is right.
///
/// Four tags at a time: what is zero after the exclusive or borrows from its highest bit. A tag above a right one may seem right by that
/// borrow, if it differs in the lowest bit alone; keys are compared anyway.
#[inline(always)]
fn matches(set: &Set, hash: u64) -> u128 {
    const LOWEST: u64 = 0x0001_0001_0001_0001;
    const HIGHEST: u64 = LOWEST << 15;
    let tag = u64::from(tag(hash)) * LOWEST;
    let zeros = |tags: u64| {
        let differ = tags ^ tag;
        differ.wrapping_sub(LOWEST) & !differ & HIGHEST
    };
    let [low, high] = set.tags;
    u128::from(zeros(high)) << 64 | u128::from(zeros(low))
}

#[inline(always)]
fn first(ways: u128) -> Option<usize> {
    (ways != 0).then(|| ways.trailing_zeros() as usize / 16)
}

/// Never 0, which marks an empty place.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16 | 1
}
