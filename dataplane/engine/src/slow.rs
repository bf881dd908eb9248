//! The slow path: a compiler from snapshot to action. It runs for a flow's first packet, for those that move its state, and
//! when something that the flow depends on has changed.

use crate::action::{Action, Way};
use crate::cache::{Basis, Link};
use crate::classify::{Ingress, Item};
use crate::decide::{Refusal, Target};
use crate::engine::Context;
use crate::{ConnectionTable, Direction, Egress, Engine, Record, RecordId};
use sluice_lb::ConnState;
use sluice_mem::Pools;
use sluice_snapshot::Deps;
use sluice_wire::{DropReason, IcmpError, Kind, Proto, Rewrite, tcp_flags};

/// A connection, and which way this packet goes in it.
pub(crate) struct Found {
    pub(crate) id: RecordId,
    pub(crate) record: Record,
    pub(crate) direction: Direction,
}

/// How often a packet may find that another worker was first, and that connection gone again.
const TRIES: usize = 3;

impl Engine {
    pub(crate) fn slow<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, item: Item, out: &mut E) {
        if item.parsed.fragment {
            return self.fragment(cx, pools, item, out);
        }
        self.whole(cx, pools, item, out);
    }

    /// A packet that is all there.
    pub(crate) fn whole<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, item: Item, out: &mut E) {
        if let Kind::IcmpError { quoted } = item.parsed.kind {
            return self.icmp_error(cx, pools, item, usize::from(quoted), out);
        }
        // What became of it is counted already.
        let _ = self.decide(cx, pools, item, out);
    }

    /// Judges a packet, remembers what was found for those that follow, and ends it. Says whether, and why, it went no further.
    pub(crate) fn decide<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        item: Item,
        out: &mut E,
    ) -> Result<(), Refusal> {
        // Read before the table is asked: a connection that comes in between shows as another era.
        let era = self.shared.connections.era(&item.key.tuple);
        let mut deps = Deps::default();
        match self.judge(cx, &item, &mut deps) {
            Ok((action, link)) => {
                self.remember(cx, &item, deps, action, Basis::Connection(link));
                self.forward(cx, pools, item, &action, out)
            }
            Err(refusal) => {
                if let Refusal::Drop(reason @ (DropReason::PolicyEgress | DropReason::PolicyIngress)) = refusal
                    && !cx.is_from_endpoint(&item, &mut deps)
                {
                    self.remember(cx, &item, deps, Action::drop(reason), Basis::Denial { era });
                }
                self.refuse(cx, pools, item, refusal, out);
                Err(refusal)
            }
        }
    }

    /// Finds or makes the packet's connection and compiles this direction's action.
    pub(crate) fn judge(&mut self, cx: Context<'_>, item: &Item, deps: &mut Deps) -> Result<(Action, Link), Refusal> {
        for _ in 0..TRIES {
            *deps = Deps::default();
            cx.admit(item, deps)?;
            let found = match self.known(cx, item, deps)? {
                Some(found) => Some(found),
                None => self.create(cx, item, deps)?,
            };
            if let Some(found) = found {
                return self.compile(cx, item, &found, deps);
            }
        }
        Err(Refusal::Drop(DropReason::NoConnection))
    }

    pub(crate) fn compile(
        &mut self,
        cx: Context<'_>,
        item: &Item,
        found: &Found,
        deps: &mut Deps,
    ) -> Result<(Action, Link), Refusal> {
        let leaving = found.record.leaving(found.direction);
        let way = cx.route(leaving.dst, deps)?;
        let hop = cx.is_hop(item, way);
        cx.may_travel(item, way)?;
        let bytes = item.frame.buf.total_len() as u64;
        let tuple = item.parsed.tuple;
        let connections = &self.shared.connections;
        connections.touch(found.id, found.direction, cx.now_ns, 1, bytes);
        let state = connections.advance(found.id, found.direction, tuple.proto, item.parsed.tcp_flags);
        let action = Action {
            rewrite: Rewrite::between(&tuple, &leaving),
            way,
            tunnel_port: sluice_vxlan::source_port(leaving.stable_hash()),
            hop,
            // While TCP opens, and after a reset, packets without flags move the state too.
            steady: !matches!(
                state,
                None | Some(ConnState::SynSent | ConnState::SynReceived | ConnState::Reset)
            ),
        };
        let link = Link {
            record: found.id,
            direction: found.direction,
            tick: cx.report_tick(),
            packets: 0,
            bytes: 0,
        };
        Ok((action, link))
    }

    /// The connection that the packet belongs to, if there is one that still holds.
    pub(crate) fn known(&mut self, cx: Context<'_>, item: &Item, deps: &mut Deps) -> Result<Option<Found>, Refusal> {
        let tuple = item.parsed.tuple;
        let Some((id, record, direction)) = self.shared.connections.lookup(&tuple) else {
            return Ok(None);
        };
        let opens =
            tuple.proto == Proto::TCP && item.parsed.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN;
        let over = opens && self.shared.connections.state(id).is_some_and(ConnState::is_over);
        // An older configuration never undoes what a newer one decided. Late replies still find their way back.
        let moves = tuple.proto == Proto::UDP
            && direction == Direction::Original
            && ConnectionTable::may_replace(&record, cx.snapshot.generation)
            && cx.has_moved(&record, deps);
        if over || moves || cx.has_lost_its_source(&record) {
            self.end(id);
            return Ok(None);
        }
        let backend = (record.reply.src, record.reply.sport);
        if let Err(reason) = cx.policy(&record.original, backend, deps) {
            // The record stays until it times out: without it the other side's next packet would begin a connection of its own,
            // and what is denied would go on as its replies.
            if self.shared.connections.cut(id) {
                self.counters.events.connections_cut.add(1);
            }
            return Err(reason.into());
        }
        Ok(Some(Found { id, record, direction }))
    }

    /// Takes a connection out.
    fn end(&self, id: RecordId) {
        if let Some(record) = self.shared.connections.remove(id) {
            self.shared.ended(&record);
        }
    }
}

impl Context<'_> {
    /// Whether this node is a router on this way, and not its beginning or end.
    pub(crate) fn is_hop(&self, item: &Item, way: Way) -> bool {
        item.ingress != Ingress::Host && way != Way::Port(self.snapshot.parts.node.host_port)
    }

    /// Whether the packet has a hop left for us: asked before it begins a connection or moves the state of one.
    pub(crate) fn may_travel(&self, item: &Item, way: Way) -> Result<(), Refusal> {
        if item.parsed.ttl <= 1 && self.is_hop(item, way) {
            return Err(Refusal::Tell(DropReason::TtlExceeded, IcmpError::TimeExceeded));
        }
        Ok(())
    }

    /// Whether a connection was masqueraded to an address that this node no longer has, while it has another one: nothing
    /// answers there any more. That the node changed is something no decision outlives, so no dependency is noted.
    fn has_lost_its_source(&self, record: &Record) -> bool {
        let source = record.reply.dst;
        source != record.original.src
            && ConnectionTable::may_replace(record, self.snapshot.generation)
            && !self.snapshot.parts.node.is_local(source)
            // What this node serves itself appears under the service's address there.
            && !self.snapshot.parts.node.is_local(record.reply.src)
            && self.own_source(record.reply.src).is_some_and(|(own, _)| own != source)
    }

    /// Whether a connectionless flow is served by somebody else now: such a flow moves at once.
    fn has_moved(&self, record: &Record, deps: &mut Deps) -> bool {
        match (self.target(&record.original, deps), record.endpoint) {
            (Ok(Target::Service(service, _)), Some(endpoint)) => service.index_of(endpoint).is_none(),
            (Ok(Target::Plain), None) => false,
            _ => true,
        }
    }
}
