//! What packets tell their connection, and what it tells them: last use, counts, state. It never enters or removes one.

use super::ConnectionTable;
use super::record::{Direction, Life, RecordId};
use super::table::class_of;
use crate::sync::{ENDINGS, Ordering};
use sluice_lb::{ConnState, on_packet};
use sluice_wire::Proto;

/// Whether what was decided for a connection still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Holds,
    /// It was reset; its next packet says whether that was true.
    Reset,
    /// Another one may be in its place.
    Gone,
}

impl ConnectionTable {
    /// Whether this connection is still the one in its place.
    #[inline]
    pub fn is_current(&self, id: RecordId) -> bool {
        self.records
            .life(id.index)
            .is_some_and(|life| life.incarnation == id.incarnation)
    }

    /// What a packet that knows its connection must know of it: one read.
    #[inline]
    pub(crate) fn standing(&self, id: RecordId) -> Standing {
        match self.records.life(id.index) {
            Some(life) if life.incarnation != id.incarnation => Standing::Gone,
            Some(life) if life.state == Some(ConnState::Reset) => Standing::Reset,
            Some(_) => Standing::Holds,
            None => Standing::Gone,
        }
    }

    /// Whether [`Self::standing`] says that it holds. `seen` belongs to whoever asks, again and again: as long as no connection that
    /// shares a counter with this one ends, the answer is there, and the record, which lies far away, is left alone.
    #[inline(always)]
    pub(crate) fn holds_since(&self, id: RecordId, seen: &mut u32) -> bool {
        let now = self.endings[id.index as usize % ENDINGS].load(Ordering::Acquire);
        *seen == now || self.holds_now(id, now, seen)
    }

    /// `now` was read before the record is: an ending in between shows as another one next time.
    #[inline(never)]
    fn holds_now(&self, id: RecordId, now: u32, seen: &mut u32) -> bool {
        let holds = self.standing(id) == Standing::Holds;
        if holds {
            *seen = now;
        }
        holds
    }

    /// What [`Self::holds_since`] is asked with first: a value that says nothing.
    pub(crate) fn unseen(&self, id: RecordId) -> u32 {
        self.endings[id.index as usize % ENDINGS]
            .load(Ordering::Acquire)
            .wrapping_sub(1)
    }

    /// Notes that the connection in this place does not hold any more; after that is so.
    pub(super) fn note_ending(&self, index: u32) {
        self.endings[index as usize % ENDINGS].fetch_add(1, Ordering::Release);
    }

    /// Asks the processor for what [`Self::standing`] reads.
    #[inline]
    pub(crate) fn prefetch(&self, id: RecordId) {
        self.records.prefetch_life(id.index);
    }

    /// Asks the processor for what [`Self::touch`] writes.
    #[inline]
    pub(crate) fn prefetch_usage(&self, id: RecordId, direction: Direction) {
        if let Some(cell) = self.records.cell(id.index) {
            sluice_mem::prefetch(cell.usage(direction).packets);
        }
    }

    /// Reports packets of one direction; false when the connection is gone, so that the caller forgets it too.
    #[inline]
    pub fn touch(&self, id: RecordId, direction: Direction, now_ns: u64, packets: u32, bytes: u64) -> bool {
        let Some(cell) = self.records.cell(id.index) else {
            return false;
        };
        if cell.life().incarnation != id.incarnation {
            return false;
        }
        let usage = cell.usage(direction);
        usage.last_ns.store(now_ns, Ordering::Relaxed);
        usage.packets.fetch_add(u64::from(packets), Ordering::Relaxed);
        usage.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Moves the connection's state on for a packet of this direction that may pass, and returns the new state.
    pub fn advance(&self, id: RecordId, direction: Direction, proto: Proto, tcp_flags: u8) -> Option<ConnState> {
        let way = match direction {
            Direction::Original => sluice_lb::Direction::Original,
            Direction::Reply => sluice_lb::Direction::Reply,
        };
        let cell = self.records.cell(id.index)?;
        let (before, after) = cell.change_life(id.incarnation, |life| Life {
            state: life.state.map(|state| on_packet(state, way, proto, tcp_flags)),
            cut: false,
            ..life
        })?;
        if after.state == Some(ConnState::Reset) && before != after {
            self.note_ending(id.index);
        }
        if before.state.map(class_of) != after.state.map(class_of) {
            // Two packets may come here at once: the state that is there under the lock is what counts.
            self.seats.reclass(id.index, || self.state(id).map(class_of));
        }
        after.state
    }

    /// Notes that policy no longer allows the connection; true for the one caller that was first.
    pub(crate) fn cut(&self, id: RecordId) -> bool {
        let changed = self
            .records
            .cell(id.index)
            .and_then(|cell| cell.change_life(id.incarnation, |life| Life { cut: true, ..life }));
        changed.is_some_and(|(before, _)| !before.cut)
    }

    /// State of a connection; `None` when it is gone.
    pub fn state(&self, id: RecordId) -> Option<ConnState> {
        let life = self.records.cell(id.index)?.life();
        life.state.filter(|_| life.incarnation == id.incarnation)
    }
}
