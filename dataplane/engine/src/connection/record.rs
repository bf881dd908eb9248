//! What is known of a connection, and whether one incarnation of a place is still the one that is meant.

use sluice_lb::{ConnState, EndpointSlot, ServiceSlot};
use sluice_wire::{Generation, Scope, Tuple};

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
    /// Where the first packet came in: whose share of the table it takes. Replies do not care.
    pub owner: Scope,
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

/// Incarnation and state of a place at one moment. In memory it is one word, so that no packet of an ended connection can move the
/// state of the next one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) incarnation: u32,
    /// `None` while the place is free.
    pub(crate) state: Option<ConnState>,
    /// Policy took its permission away; the record stays, so that neither side's next packet begins another connection.
    pub(crate) cut: bool,
}

/// The word of a place that was never used is 0, as fresh memory is.
const STATE: u64 = 0xff;
const CUT: u64 = 1 << 8;

impl Life {
    pub(crate) fn of(word: u64) -> Self {
        Self {
            incarnation: (word >> 32) as u32,
            state: ((word & STATE) as u8).checked_sub(1).and_then(ConnState::from_u8),
            cut: word & CUT != 0,
        }
    }

    pub(crate) fn word(self) -> u64 {
        let state = self.state.map_or(0, |s| u64::from(s.to_u8()) + 1);
        u64::from(self.incarnation) << 32 | if self.cut { CUT } else { 0 } | state
    }
}
