//! Decides whether what the flow cache says of a packet still holds. It never decides anew: that is the slow path.

use crate::Engine;
use crate::action::Action;
use crate::cache::{Basis, Entry, Link};
use crate::classify::Item;
use crate::connection::Standing;
use crate::engine::Context;
use sluice_snapshot::Deps;
use sluice_wire::FlowWords;

impl Engine {
    /// The action of a flow that may pass without further questions; `None` sends the packet to the slow path.
    pub(crate) fn look_up(&mut self, cx: Context<'_>, item: &Item) -> Option<Action> {
        let place = item.place?;
        if self.cache.get(place)?.words() != FlowWords::from(&item.key) {
            return None;
        }
        let Some(entry) = self.cache.renewed(place, cx.snapshot, &self.counters.events) else {
            self.counters.events.decided_again.add(1);
            let link = self.cache.remove(place);
            self.report(cx, link);
            return None;
        };
        let connections = &self.shared.connections;
        let standing = match entry.basis() {
            Basis::Connection(link) => connections.standing(link.record),
            Basis::Denial { era } if connections.era(&item.key.tuple) == era => Standing::Holds,
            Basis::Denial { .. } => Standing::Gone,
        };
        if standing == Standing::Gone {
            self.cache.remove(place);
            return None;
        }
        let action = entry.action();
        if item.special || !action.steady || standing == Standing::Reset || !cx.is_resolved(action.way) {
            return None;
        }
        entry.count(item.frame.buf.total_len());
        if entry.is_due(cx.report_tick()) {
            let link = entry.take_counts(cx.report_tick());
            self.report(cx, link);
        }
        Some(action)
    }

    /// Puts what was decided for a packet's flow into the cache.
    pub(crate) fn remember(&mut self, cx: Context<'_>, item: &Item, deps: Deps, action: Action, basis: Basis) {
        let entry = Entry::new(
            item.key,
            cx.snapshot.generation,
            &action,
            basis,
            &self.shared.connections,
        );
        let link = self.cache.insert(item.hash, entry, deps);
        self.report(cx, link);
    }

    /// Empties the cache, as if the worker had just begun.
    #[cfg(test)]
    pub(crate) fn forget_all(&mut self) {
        self.cache = crate::cache::FlowCache::new(256);
    }

    /// What an entry counted goes to its connection.
    fn report(&self, cx: Context<'_>, link: Option<Link>) {
        if let Some(link) = link {
            link.report(&self.shared.connections, cx.now_ns);
        }
    }
}
