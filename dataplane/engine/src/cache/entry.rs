//! What the cache knows of one direction of one flow, in two cache lines: whose it is, and what is done to its packets.

use super::grounds::GroundId;
use crate::action::{Action, Way};
use crate::connection::{ConnectionTable, Direction, RecordId};
use crate::reach::{Reach, reach};
use core::mem::offset_of;
use sluice_snapshot::AdjacencyIndex;
use sluice_wire::{DropReason, FlowKey, FlowWords, Generation, Patch, PortSlot, Proto, Rewrite, Scope};

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
    /// What it rests on.
    pub(super) ground: GroundId,
    exit_at: u32,
    what: u16,
    /// Outer source port, should it leave by a tunnel.
    pub(crate) tunnel_port: u16,
    pub(crate) flags: Flags,
    pub(crate) direction: Direction,
    exit: Exit,
    // The second line: whatever a packet may write is here.
    pub(crate) patch: Patch,
    pub(crate) generation: Generation,
    pub(crate) tick: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
    /// See [`ConnectionTable::holds_since`].
    pub(crate) seen: u32,
}

const _: () = assert!(size_of::<Entry>() == 128 && offset_of!(Entry, patch) == 64);

/// Kind of a [`Way`], which as such would leave bytes empty that are wanted.
#[derive(Clone, Copy, Debug)]
enum Exit {
    Port,
    Adjacency,
    Drop,
}

/// Yes-or-no facts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    const NONE: Self = Self(0);
    /// There is an entry.
    pub(super) const PRESENT: Self = Self(1);
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
    pub(super) const EMPTY: Self = Self {
        ends: [0; 4],
        ports: 0,
        scope: Scope::of(0),
        what: 0,
        record: RecordId {
            index: 0,
            incarnation: 0,
        },
        ground: GroundId::NONE,
        exit_at: 0,
        tunnel_port: 0,
        flags: Flags::NONE,
        direction: Direction::Original,
        exit: Exit::Drop,
        patch: Patch::NOTHING,
        generation: Generation(0),
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
        let (exit, exit_at) = match action.way {
            Way::Port(slot) => (Exit::Port, slot.0.into()),
            Way::Adjacency(at) => (Exit::Adjacency, at.0),
            Way::Drop(reason) => (Exit::Drop, reason.index() as u32),
        };
        Self {
            ends: words.ends,
            ports: words.ports,
            scope: words.scope,
            what: words.what,
            record: link.record,
            ground: GroundId::NONE,
            exit_at,
            flags: Flags::of([
                (true, Flags::PRESENT),
                (action.hop, Flags::HOP),
                (action.steady, Flags::STEADY),
                (denial, Flags::DENIAL),
                (fast, Flags::FAST),
            ]),
            direction: link.direction,
            exit,
            tunnel_port: action.tunnel_port,
            patch: Patch::new(tuple, &action.rewrite),
            generation,
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

    /// Where its packets leave.
    #[inline(always)]
    pub(crate) fn way(&self) -> Way {
        match self.exit {
            Exit::Port => Way::Port(PortSlot(self.exit_at as u16)),
            Exit::Adjacency => Way::Adjacency(AdjacencyIndex(self.exit_at)),
            Exit::Drop => Way::Drop(DropReason::ALL[self.exit_at as usize % DropReason::ALL.len()]),
        }
    }

    /// What was decided.
    pub(crate) fn action(&self) -> Action {
        let tuple = self.words().key().tuple;
        Action {
            rewrite: Rewrite::between(&tuple, &self.patch.leaving(&tuple)),
            way: self.way(),
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
