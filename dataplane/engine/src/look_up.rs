//! Decides whether what the flow cache says of a packet still holds. It never decides anew: that is the slow path.

use crate::Engine;
use crate::action::Action;
use crate::cache::{Basis, Entry, Link};
use crate::classify::Item;
use crate::connection::Standing;
use crate::engine::Context;
use sluice_snapshot::Deps;

impl Engine {
    /// The action of a flow that may pass without further questions; `None` sends the packet to the slow path.
    pub(crate) fn look_up(&mut self, cx: Context<'_>, item: &Item) -> Option<Action> {
        let place = item.place?;
        let entry = self.cache.get_mut(place).filter(|entry| entry.key == item.key)?;
        if entry.generation != cx.snapshot.generation {
            if !cx.snapshot.stamps.unchanged(&entry.deps, entry.generation) {
                self.counters.events.decided_again.add(1);
                let link = self.cache.remove(place);
                self.report(cx, link);
                return None;
            }
            entry.generation = cx.snapshot.generation;
            self.counters.events.renewed.add(1);
        }
        let connections = &self.shared.connections;
        let standing = match &entry.basis {
            Basis::Connection(link) => connections.standing(link.record),
            Basis::Denial { era } if connections.era(&item.key.tuple) == *era => Standing::Holds,
            Basis::Denial { .. } => Standing::Gone,
        };
        if standing == Standing::Gone {
            self.cache.remove(place);
            return None;
        }
        let action = entry.action;
        if item.special || !action.steady || standing == Standing::Reset || !cx.is_resolved(action.way) {
            return None;
        }
        if let Basis::Connection(link) = &mut entry.basis {
            link.packets += 1;
            link.bytes += item.frame.buf.total_len() as u64;
            if link.tick != cx.tick() {
                connections.touch(link.record, link.direction, cx.now_ns, link.packets, link.bytes);
                (link.tick, link.packets, link.bytes) = (cx.tick(), 0, 0);
            }
        }
        Some(action)
    }

    /// Puts what was decided for a packet's flow into the cache.
    pub(crate) fn remember(&mut self, cx: Context<'_>, item: &Item, deps: Deps, action: Action, basis: Basis) {
        let entry = Entry {
            key: item.key,
            generation: cx.snapshot.generation,
            deps,
            action,
            basis,
        };
        let link = self.cache.insert(item.hash, entry);
        self.report(cx, link);
    }

    /// Empties the cache, as if the worker had just begun.
    #[cfg(test)]
    pub(crate) fn forget_all(&mut self) {
        self.cache = crate::cache::FlowCache::new(256);
    }

    /// What an entry counted before it went goes to its connection.
    fn report(&self, cx: Context<'_>, link: Option<Link>) {
        if let Some(link) = link.filter(|link| link.packets > 0) {
            self.shared
                .connections
                .touch(link.record, link.direction, cx.now_ns, link.packets, link.bytes);
        }
    }
}
