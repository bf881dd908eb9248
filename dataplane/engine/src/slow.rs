//! The slow path: a compiler from snapshot to action. It runs for a flow's first packet, for those that move its state, and
//! when something that the flow depends on has changed.

use crate::action::{Action, Way};
use crate::cache::{Entry, Link};
use crate::classify::{Ingress, Item};
use crate::decide::{Refusal, Target};
use crate::engine::Context;
use crate::{Direction, Egress, Engine, Inserted, Record, RecordId};
use sluice_lb::{ConnState, PickContext, Source};
use sluice_mem::Pools;
use sluice_snapshot::Deps;
use sluice_wire::{DropReason, Kind, Proto, Rewrite, tcp_flags};

/// A connection, and which way this packet goes in it.
struct Found {
    id: RecordId,
    record: Record,
    direction: Direction,
}

impl Engine {
    /// The action of a flow that may pass without further questions; `None` sends the packet to the slow path.
    pub(crate) fn look_up(&mut self, cx: Context<'_>, item: &Item) -> Option<Action> {
        let place = self.cache.find(&item.key, item.hash)?;
        let entry = self.cache.get_mut(place)?;
        if entry.generation != cx.snapshot.generation {
            if cx.snapshot.stamps.unchanged(&entry.deps, entry.generation) {
                entry.generation = cx.snapshot.generation;
                self.counters.events.renewed.add(1);
            } else {
                self.counters.events.decided_again.add(1);
                self.forget(cx, item);
                return None;
            }
        }
        if item.special || !entry.action.steady {
            return None;
        }
        let action = entry.action;
        if let Some(link) = &mut entry.link {
            link.packets += 1;
            link.bytes += item.frame.buf.total_len() as u64;
            if link.tick != cx.tick() {
                let alive =
                    self.shared
                        .connections
                        .touch(link.record, link.direction, cx.now_ns, link.packets, link.bytes);
                (link.tick, link.packets, link.bytes) = (cx.tick(), 0, 0);
                if !alive {
                    self.cache.remove(place);
                    return None;
                }
            }
        }
        Some(action)
    }

    /// Takes the flow's entry out of the cache; what it counted goes to its connection.
    fn forget(&mut self, cx: Context<'_>, item: &Item) {
        let place = self.cache.find(&item.key, item.hash);
        if let Some(link) = place.and_then(|place| self.cache.remove(place)) {
            self.shared
                .connections
                .touch(link.record, link.direction, cx.now_ns, link.packets, link.bytes);
        }
    }

    pub(crate) fn slow<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, item: Item, out: &mut E) {
        if let Kind::IcmpError { quoted } = item.parsed.kind {
            return self.icmp_error(cx, pools, item, usize::from(quoted), out);
        }
        let mut deps = Deps::default();
        match self.judge(cx, &item, &mut deps) {
            Ok((action, link)) => {
                self.remember(cx, &item, deps, action, Some(link));
                if action.hop && item.parsed.ttl <= 1 {
                    let tell = Refusal::Tell(DropReason::TtlExceeded, sluice_wire::IcmpError::TimeExceeded);
                    return self.refuse(cx, pools, item, tell, out);
                }
                self.forward(cx, pools, item, &action, out);
            }
            Err(refusal) => {
                if let Refusal::Drop(reason @ (DropReason::PolicyEgress | DropReason::PolicyIngress)) = refusal {
                    self.remember(cx, &item, deps, Action::drop(reason), None);
                }
                self.refuse(cx, pools, item, refusal, out);
            }
        }
    }

    fn remember(&mut self, cx: Context<'_>, item: &Item, deps: Deps, action: Action, link: Option<Link>) {
        let entry = Entry {
            key: item.key,
            generation: cx.snapshot.generation,
            deps,
            action,
            link,
        };
        let hash = self.hash(&item.key);
        if let Some(old) = self.cache.insert(hash, entry)
            && old.packets > 0
        {
            self.shared
                .connections
                .touch(old.record, old.direction, cx.now_ns, old.packets, old.bytes);
        }
    }

    /// Finds or makes the packet's connection and compiles this direction's action.
    fn judge(&mut self, cx: Context<'_>, item: &Item, deps: &mut Deps) -> Result<(Action, Link), Refusal> {
        cx.admit(item, deps)?;
        let found = match self.known(cx, item, deps)? {
            Some(found) => found,
            None => self.create(cx, item, deps)?,
        };
        let bytes = item.frame.buf.total_len() as u64;
        self.shared
            .connections
            .touch(found.id, found.direction, cx.now_ns, 1, bytes);
        let state = self.shared.connections.advance(
            found.id,
            found.direction,
            item.parsed.tuple.proto,
            item.parsed.tcp_flags,
        );
        let leaving = found.record.leaving(found.direction);
        let way = cx.route(leaving.dst, deps)?;
        let to_host = way == Way::Port(cx.snapshot.parts.node.host_port);
        let action = Action {
            rewrite: Rewrite::between(&item.parsed.tuple, &leaving),
            way,
            tunnel_port: sluice_vxlan::source_port(leaving.stable_hash()),
            hop: item.ingress != Ingress::Host && !to_host,
            steady: item.parsed.tuple.proto != Proto::TCP || state == Some(ConnState::Established),
        };
        let link = Link {
            record: found.id,
            direction: found.direction,
            tick: cx.tick(),
            packets: 0,
            bytes: 0,
        };
        Ok((action, link))
    }

    /// The connection that the packet belongs to, if there is one that still holds.
    fn known(&mut self, cx: Context<'_>, item: &Item, deps: &mut Deps) -> Result<Option<Found>, Refusal> {
        let tuple = item.parsed.tuple;
        let Some((id, record, direction)) = self.shared.connections.lookup(&tuple) else {
            return Ok(None);
        };
        let opens =
            tuple.proto == Proto::TCP && item.parsed.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN;
        let over = self.shared.connections.state(id).is_some_and(ConnState::is_over);
        let stale_udp = tuple.proto == Proto::UDP && self.endpoint_gone(cx, &record, deps);
        if (opens && over) || stale_udp {
            self.end(id);
            return Ok(None);
        }
        let backend = (record.reply.src, record.reply.sport);
        if let Err(reason) = cx.policy(&record.original, backend, deps) {
            if sluice_snapshot_allows(cx, &record) && self.end(id) {
                self.counters.events.connections_cut.add(1);
            }
            return Err(reason.into());
        }
        Ok(Some(Found { id, record, direction }))
    }

    /// Whether the endpoint of a connectionless flow no longer serves: such a flow moves at once.
    fn endpoint_gone(&self, cx: Context<'_>, record: &Record, deps: &mut Deps) -> bool {
        let (Some(slot), Some(endpoint)) = (record.service, record.endpoint) else {
            return false;
        };
        deps.add(sluice_snapshot::dep::service(slot));
        let service = cx.snapshot.parts.services.get(slot);
        service.is_none_or(|service| service.index_of(endpoint).is_none())
    }

    /// Decides a new connection and enters it; when another worker was first, its decision is taken over.
    fn create(&mut self, cx: Context<'_>, item: &Item, deps: &mut Deps) -> Result<Found, Refusal> {
        let tuple = item.parsed.tuple;
        let shared = self.shared.clone();
        let entropy = self.random();
        let (service, choice, via) = match cx.target(&tuple, deps)? {
            Target::Plain => (None, None, None),
            Target::Service(service, via) => {
                let pick = PickContext {
                    service: service.slot(),
                    tuple,
                    now_ns: cx.now_ns,
                    entropy,
                };
                let choice = service
                    .pick(&pick, &shared.runtime)
                    .ok_or(Refusal::Reject(DropReason::NoEndpoints))?;
                (Some(service), Some(choice), Some(via))
            }
        };
        let backend = choice.map_or((tuple.dst, tuple.dport), |c| (c.addr, c.port));
        cx.policy(&tuple, backend, deps)?;
        let way = cx.route(backend.0, deps)?;
        self.may_begin(cx, item, via.is_some(), way)?;

        let masquerade = cx.masquerade(&tuple, backend.0, via, way);
        let state = ConnState::first(tuple.proto, item.parsed.tcp_flags);
        let mut record = Record {
            original: tuple,
            reply: sluice_lb::Rewrite::new(tuple, choice.as_ref(), None).reply(),
            service: service.map(|s| s.slot()),
            endpoint: choice.map(|c| c.endpoint),
            decided_in: cx.snapshot.generation,
        };
        let mut inserted = match masquerade {
            None => shared.connections.insert(&record, state, cx.now_ns),
            Some(_) => Inserted::ReplyTaken,
        };
        if matches!(inserted, Inserted::ReplyTaken) {
            // The reply's key decides: a source port is free when no other connection is answered at it.
            let (source, outside) = match masquerade {
                Some(chosen) => chosen,
                None => cx
                    .snapshot
                    .parts
                    .node
                    .base_for(backend.0)
                    .map(|a| (a, false))
                    .ok_or(DropReason::NoRoute)?,
            };
            let ports = if outside {
                &shared.outside_ports
            } else {
                &shared.base_ports
            };
            for port in ports.candidates(&tuple, entropy) {
                let source = Source { addr: source, port };
                record.reply = sluice_lb::Rewrite::new(tuple, choice.as_ref(), Some(source)).reply();
                inserted = shared.connections.insert(&record, state, cx.now_ns);
                if !matches!(inserted, Inserted::ReplyTaken) {
                    break;
                }
            }
        }
        match inserted {
            Inserted::Won(id) => {
                if let (Some(service), Some(choice)) = (service, &choice) {
                    shared.runtime.commit(service, choice, tuple.src, cx.now_ns);
                }
                self.counters.events.connections_created.add(1);
                Ok(Found {
                    id,
                    record,
                    direction: Direction::Original,
                })
            }
            Inserted::Lost(id, record) => {
                self.counters.events.races_lost.add(1);
                Ok(Found {
                    id,
                    record,
                    direction: Direction::Original,
                })
            }
            Inserted::ReplyTaken => Err(Refusal::Drop(DropReason::SnatPortsExhausted)),
            Inserted::Full => Err(Refusal::Drop(DropReason::ConnectionTableFull)),
        }
    }

    /// Whether a connection may begin this way: the wire and tunnels lead to pods, services and this host only.
    fn may_begin(&self, cx: Context<'_>, item: &Item, service: bool, way: Way) -> Result<(), Refusal> {
        let local = matches!(way, Way::Port(_));
        match item.ingress {
            Ingress::Outside if !service => Err(Refusal::Drop(DropReason::NoConnection)),
            Ingress::Tunnel(_) if !service && !local => Err(Refusal::Drop(DropReason::Loop)),
            Ingress::Host if way == Way::Port(cx.snapshot.parts.node.host_port) => Err(Refusal::Drop(DropReason::Loop)),
            _ => Ok(()),
        }
    }

    /// Takes a connection out; true for the one caller that did.
    fn end(&self, id: RecordId) -> bool {
        let Some(record) = self.shared.connections.remove(id) else {
            return false;
        };
        if let Some(endpoint) = record.endpoint {
            self.shared.runtime.release(endpoint);
        }
        true
    }
}

/// An older configuration never undoes what a newer one decided.
fn sluice_snapshot_allows(cx: Context<'_>, record: &Record) -> bool {
    crate::ConnectionTable::may_replace(record, cx.snapshot.generation)
}
