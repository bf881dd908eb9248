//! Fragments: the first is judged like a whole packet, the others go its way. Nothing is put together here: each fragment
//! leaves by itself, and only its addresses change, since the ports are in the first. Of a packet whose fragments contradict
//! each other nothing more passes.

mod packet;
mod table;
#[cfg(test)]
mod tests;

use crate::action::Action;
use crate::cache::Link;
use crate::classify::Item;
use crate::decide::Refusal;
use crate::engine::Context;
use crate::{Egress, Engine};
use packet::{FragmentKey, Part};
use sluice_mem::Pools;
use sluice_snapshot::Deps;
use sluice_wire::{DropReason, Kind, Proto};
pub use table::FragmentTable;
use table::{Arrival, Verdict};

impl Engine {
    /// Takes a fragment to its end, or lets it wait for its first.
    pub(crate) fn fragment<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, item: Item, out: &mut E) {
        let parsed = &item.parsed;
        let Some(place) = parsed.fragment_place(item.frame.buf.bytes()) else {
            return self.drop_frame(pools, item.frame, DropReason::FragmentUnsupported);
        };
        // A fragment that is the whole packet has nothing to do with others of the same identification (RFC 6946).
        if place.offset == 0 && !place.more {
            return self.whole(cx, pools, item, out);
        }
        // Before it takes a place in the table: each fragment has to be honest.
        if let Err(reason) = cx.admit(&item, &mut Deps::default()) {
            return self.drop_frame(pools, item.frame, reason);
        }
        let key = FragmentKey::new(item.key.scope, parsed, place.id);
        if item.held_since_ns.is_some() {
            return self.retry_fragment(cx, pools, key, place.offset == 0, item, out);
        }
        let Some(part) = Part::new(place, parsed.fragment_len(item.frame.buf.bytes())) else {
            let malformed = if parsed.v6 {
                DropReason::Ipv6Malformed
            } else {
                DropReason::Ipv4Malformed
            };
            return self.drop_frame(pools, item.frame, malformed);
        };
        let mut ended = Vec::new();
        let arrival = self.shared.fragments.arrive(key, part, item, cx.now_ns, &mut ended);
        self.end_fragments(pools, ended);
        match arrival {
            Arrival::First(item) => self.first_fragment(cx, pools, key, item, out),
            Arrival::Later(item, verdict) => self.later_fragment(cx, pools, item, verdict, out),
            Arrival::Held => {}
            Arrival::Refused(item, reason) => self.drop_frame(pools, item.frame, reason),
        }
    }

    /// Judges the first fragment, and sends those that waited for it after it.
    fn first_fragment<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        key: FragmentKey,
        item: Item,
        out: &mut E,
    ) {
        let tuple = item.parsed.tuple;
        let (proto, sport, dport) = (tuple.proto, tuple.sport, tuple.dport);
        let verdict = match self.settle(cx, pools, item, out) {
            Ok(()) => Verdict::Flow { proto, sport, dport },
            Err(Refusal::Hold(neighbour)) => Verdict::Waits {
                proto,
                sport,
                dport,
                neighbour,
            },
            Err(Refusal::Drop(reason) | Refusal::Reject(reason) | Refusal::Tell(reason, _)) => Verdict::Refused(reason),
            Err(Refusal::AskClient) => Verdict::Refused(DropReason::EndpointFirst),
        };
        for later in self.shared.fragments.decide(&key, verdict) {
            self.later_fragment(cx, pools, later, verdict, out);
        }
    }

    fn later_fragment<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        mut item: Item,
        verdict: Verdict,
        out: &mut E,
    ) {
        let ((proto, sport, dport), neighbour) = match verdict {
            Verdict::Refused(reason) => return self.drop_frame(pools, item.frame, reason),
            Verdict::Flow { proto, sport, dport } => ((proto, sport, dport), None),
            Verdict::Waits {
                proto,
                sport,
                dport,
                neighbour,
            } => ((proto, sport, dport), Some(neighbour)),
        };
        let tuple = &mut item.parsed.tuple;
        (tuple.proto, tuple.sport, tuple.dport) = (proto, sport, dport);
        item.key.tuple = *tuple;
        if let Some(neighbour) = neighbour {
            return self.refuse(cx, pools, item, Refusal::Hold(neighbour), out);
        }
        match self.judge_later(cx, &item) {
            // The first one was answered, if it ended here too (RFC 1812 section 4.3.2.7).
            Err(Refusal::Tell(reason @ DropReason::TtlExceeded, _)) => self.drop_frame(pools, item.frame, reason),
            // Each is judged by its own size.
            Ok((action, _)) => _ = self.forward(cx, pools, item, &action, out),
            Err(refusal) => self.refuse(cx, pools, item, refusal, out),
        }
    }

    /// The flow's action as it is now: what was decided for the first still holds, or is decided again, but never begun.
    fn judge_later(&mut self, cx: Context<'_>, item: &Item) -> Result<(Action, Link), Refusal> {
        let mut deps = Deps::default();
        cx.admit(item, &mut deps)?;
        let found = self.known(cx, item, &mut deps)?.ok_or(DropReason::NoConnection)?;
        self.compile(cx, item, &found, &mut deps)
    }

    /// A fragment that has waited for a neighbour: it was noted when it came.
    fn retry_fragment<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        key: FragmentKey,
        first: bool,
        item: Item,
        out: &mut E,
    ) {
        if first {
            return self.first_fragment(cx, pools, key, item, out);
        }
        let tuple = item.parsed.tuple;
        let verdict = self.shared.fragments.verdict(&key).unwrap_or(Verdict::Flow {
            proto: tuple.proto,
            sport: tuple.sport,
            dport: tuple.dport,
        });
        self.later_fragment(cx, pools, item, verdict, out);
    }

    /// A first fragment, or a whole packet with a fragment header.
    fn settle<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        item: Item,
        out: &mut E,
    ) -> Result<(), Refusal> {
        // What an error quotes, and SCTP's checksum, can be changed in whole packets only.
        let unsupported = Err(Refusal::Drop(DropReason::FragmentUnsupported));
        if matches!(item.parsed.kind, Kind::IcmpError { .. }) {
            self.drop_frame(pools, item.frame, DropReason::FragmentUnsupported);
            return unsupported;
        }
        if item.parsed.tuple.proto == Proto::SCTP
            && let Ok((action, _)) = self.judge(cx, &item, &mut Deps::default())
            && !action.rewrite.is_empty()
        {
            self.drop_frame(pools, item.frame, DropReason::FragmentUnsupported);
            return unsupported;
        }
        self.decide(cx, pools, item, out)
    }

    /// Ages the table, if it is time.
    pub(crate) fn expire_fragments(&mut self, cx: Context<'_>, pools: &mut Pools) {
        if self.shared.fragments.is_due(cx.now_ns) {
            let mut ended = Vec::new();
            self.shared.fragments.expire(cx.now_ns, &mut ended);
            self.end_fragments(pools, ended);
        }
    }

    /// Gives up everything that waits for a first fragment.
    pub(crate) fn drop_fragments(&mut self, pools: &mut Pools) {
        let mut ended = Vec::new();
        self.shared.fragments.drain(&mut ended);
        self.end_fragments(pools, ended);
    }

    fn end_fragments(&self, pools: &mut Pools, ended: Vec<table::Ended>) {
        for (item, reason) in ended {
            self.drop_frame(pools, item.frame, reason);
        }
    }
}
