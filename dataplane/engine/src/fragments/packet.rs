//! One fragmented packet: which parts of it came, and whether they agree. It never holds their bytes.

use sluice_wire::{Addr, DropReason, Fragment, Parsed, Proto, Scope};

/// Fragments of one packet: 64 KiB in pieces of the smallest path MTU there is, 552 bytes, are 124.
const MOST_PARTS: usize = 128;

/// What makes fragments one packet's, and where they came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FragmentKey {
    pub(super) scope: Scope,
    src: Addr,
    dst: Addr,
    /// Always 0 in IPv6, where only the first fragment's says what the packet is (RFC 8200 section 4.5).
    proto: Proto,
    id: u32,
}

impl FragmentKey {
    pub(crate) fn new(scope: Scope, p: &Parsed, id: u32) -> Self {
        Self {
            scope,
            src: p.tuple.src,
            dst: p.tuple.dst,
            proto: if p.v6 { Proto(0) } else { p.tuple.proto },
            id,
        }
    }
}

/// The bytes of a packet's payload that a fragment holds: `start..end`, the packet's last or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) last: bool,
}

impl Part {
    /// `None` for what can be no part: empty, or not a multiple of eight bytes though others follow.
    pub(crate) fn new(place: Fragment, len: usize) -> Option<Self> {
        let (start, len) = (u32::from(place.offset), u32::try_from(len).ok()?);
        (len > 0 && (!place.more || len.is_multiple_of(8))).then_some(Self {
            start,
            end: start + len,
            last: !place.more,
        })
    }
}

/// The parts that came so far. No two of them overlap.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    came: Vec<(u32, u32)>,
    bytes: u32,
    total: Option<u32>,
    contradicted: bool,
}

impl Parts {
    /// Notes a part. Once two contradict each other, all that follow are refused, too: nobody can tell which of the two the
    /// receiver would believe (RFC 5722 section 4). Only an exact repetition is refused by itself, since networks repeat.
    pub(crate) fn add(&mut self, part: Part) -> Result<(), DropReason> {
        if self.contradicted {
            return Err(DropReason::FragmentOverlap);
        }
        let range = (part.start, part.end);
        if self.came.contains(&range) && part.last == (self.total == Some(part.end)) {
            return Err(DropReason::FragmentOverlap);
        }
        let overlaps = self
            .came
            .iter()
            .any(|(start, end)| *start < part.end && part.start < *end);
        let beyond = match self.total {
            Some(total) if part.last => part.end != total,
            Some(total) => part.end >= total,
            None => part.last && self.came.iter().any(|(_, end)| *end > part.end),
        };
        if overlaps || beyond {
            self.contradicted = true;
            return Err(DropReason::FragmentOverlap);
        }
        if self.came.len() == MOST_PARTS {
            self.contradicted = true;
            return Err(DropReason::FragmentTableFull);
        }
        self.came.push(range);
        self.bytes += part.end - part.start;
        if part.last {
            self.total = Some(part.end);
        }
        Ok(())
    }

    /// Whether two of them contradicted each other, or there were too many.
    pub(crate) const fn is_contradicted(&self) -> bool {
        self.contradicted
    }

    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.total == Some(self.bytes) && !self.contradicted
    }
}
