//! Decides a connection that begins: backend, permission, source address. It never changes one that exists; when another
//! worker is first, that one's decision holds.

use crate::action::Way;
use crate::ask::is_bare_reset;
use crate::classify::{Ingress, Item};
use crate::decide::{Refusal, Target};
use crate::engine::Context;
use crate::slow::Found;
use crate::{Direction, Engine, Inserted, Record};
use sluice_lb::{Choice, ConnState, PickContext, Service, Source};
use sluice_snapshot::Deps;
use sluice_wire::{Addr, DropReason, Kind, Proto};
use std::sync::Arc;

impl Engine {
    /// Decides a new connection and enters it; `None` when another worker was first.
    pub(crate) fn create(&mut self, cx: Context<'_>, item: &Item, deps: &mut Deps) -> Result<Option<Found>, Refusal> {
        let tuple = item.parsed.tuple;
        // Before anything is decided, so that what will be refused is bounded, too.
        if !self.shared.new_flows.take(item.key.scope, item.weight(), cx.now_ns) {
            return Err(Refusal::Drop(DropReason::NewFlowRate));
        }
        let entropy = self.random();
        if is_bare_reset(item) {
            return Err(Refusal::Drop(DropReason::NoConnection));
        }
        let (service, choice, via) = match cx.target(&tuple, deps)? {
            Target::Plain if cx.may_be_of_a_service(item, deps) => return Err(Refusal::AskClient),
            Target::Plain => (None, None, None),
            Target::Service(service, via) => {
                let choice = self.pick(cx, service, item, entropy)?;
                (Some(service), Some(choice), Some(via))
            }
        };
        let backend = choice.map_or((tuple.dst, tuple.dport), |c| (c.addr, c.port));
        cx.policy(&tuple, backend, deps)?;
        let way = cx.route(backend.0, deps)?;
        may_begin(cx, item, via.is_some(), backend, way)?;
        cx.may_travel(item, way)?;

        let to_host = way == Way::Port(cx.snapshot.parts.node.host_port);
        let masquerade = match service {
            Some(_) if to_host && cx.is_answered_here(tuple.src) => None,
            Some(service) if to_host => Some(cx.source_to_host(service).ok_or(DropReason::Loop)?),
            _ => cx.masquerade(&tuple, backend.0, via, way),
        };
        let record = Record {
            original: tuple,
            reply: sluice_lb::Rewrite::new(tuple, choice.as_ref(), None).reply(),
            service: service.map(|s| s.slot()),
            endpoint: choice.map(|c| c.endpoint),
            decided_in: cx.snapshot.generation,
            owner: item.key.scope,
        };
        let mut inserted = (Inserted::ReplyTaken, record);
        if masquerade.is_none() {
            inserted.0 = self.enter(cx, item, &record);
        }
        if matches!(inserted.0, Inserted::ReplyTaken) {
            // The endpoint has another connection that it would answer in the same way: this one needs another source.
            let other = || match service {
                _ if !to_host => cx.own_source(backend.0),
                Some(service) => cx.source_to_host(service),
                None => None,
            };
            let (source, outside) = masquerade.or_else(other).ok_or(DropReason::SnatPortsExhausted)?;
            inserted = self.insert_from(cx, item, record, choice.as_ref(), (source, outside), entropy);
        }
        match inserted {
            (Inserted::Won(id), record) => {
                if let (Some(service), Some(choice)) = (service, &choice) {
                    self.shared.runtime.commit(service, choice, tuple.src, cx.now_ns);
                }
                self.counters.events.connections_created.add(1);
                let direction = Direction::Original;
                Ok(Some(Found { id, record, direction }))
            }
            (Inserted::Lost(..), _) => {
                self.counters.events.races_lost.add(1);
                Ok(None)
            }
            (Inserted::ReplyTaken, _) => Err(Refusal::Drop(DropReason::SnatPortsExhausted)),
            (Inserted::OverQuota, _) => Err(Refusal::Drop(DropReason::PortQuota)),
            (Inserted::Full, _) => Err(Refusal::Drop(DropReason::ConnectionTableFull)),
        }
    }

    fn pick(&self, cx: Context<'_>, service: &Arc<Service>, item: &Item, entropy: u64) -> Result<Choice, Refusal> {
        let tuple = item.parsed.tuple;
        let pick = PickContext {
            service: service.slot(),
            tuple,
            now_ns: cx.now_ns,
            entropy,
        };
        service
            .pick(&pick, &self.shared.runtime)
            .filter(|choice| choice.addr.is_v4() == tuple.src.is_v4())
            .ok_or(Refusal::Reject(DropReason::NoEndpoints))
    }

    /// Enters the connection; another one may have to make room.
    fn enter(&self, cx: Context<'_>, item: &Item, record: &Record) -> Inserted {
        let shared = &self.shared;
        let state = ConnState::first(record.original.proto, item.parsed.tcp_flags);
        let quota = shared.limits.connections.saturating_mul(item.weight());
        shared.connections.insert(record, state, cx.now_ns, quota, |evicted| {
            self.counters.events.connections_evicted.add(1);
            shared.ended(evicted);
        })
    }

    /// Enters the connection with `source` and the first port (or echo identifier) of it that is free: when no other
    /// connection is answered there.
    fn insert_from(
        &self,
        cx: Context<'_>,
        item: &Item,
        mut record: Record,
        choice: Option<&Choice>,
        (source, outside): (Addr, bool),
        entropy: u64,
    ) -> (Inserted, Record) {
        let shared = &self.shared;
        let tuple = item.parsed.tuple;
        let ports = if outside {
            &shared.outside_ports
        } else {
            &shared.base_ports
        };
        // Without ports there is one connection a protocol and far end.
        let has_ports = matches!(
            item.parsed.kind,
            Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::EchoRequest | Kind::EchoReply
        );
        let only = (!has_ports).then_some(tuple.sport);
        let candidates = has_ports.then(|| ports.candidates(&tuple, entropy));
        for port in only.into_iter().chain(candidates.into_iter().flatten()) {
            let source = Source { addr: source, port };
            record.reply = sluice_lb::Rewrite::new(tuple, choice, Some(source)).reply();
            shared.echo_ids.hold(&record);
            let inserted = self.enter(cx, item, &record);
            if !matches!(inserted, Inserted::Won(_)) {
                shared.echo_ids.release(&record);
            }
            if !matches!(inserted, Inserted::ReplyTaken) {
                return (inserted, record);
            }
        }
        (Inserted::ReplyTaken, record)
    }
}

/// Whether a connection may begin this way: the wire and tunnels lead to pods, services and this host only, and nobody but
/// this node makes tunnel packets.
fn may_begin(
    cx: Context<'_>,
    item: &Item,
    service: bool,
    (server, port): (Addr, u16),
    way: Way,
) -> Result<(), Refusal> {
    let node = &cx.snapshot.parts.node;
    let local = matches!(way, Way::Port(_));
    // Masqueraded to our address it would pass for ours at the peer, with any inner source. A peer whose kernel ends the tunnels
    // listens at each of its addresses, its base address among them, and asks nobody's: only pods may be sent such packets.
    let pod = local && way != Way::Port(node.host_port) || cx.snapshot.parts.policies.identities.contains_key(&server);
    let tuple = &item.parsed.tuple;
    let to_vtep = port == node.tunnel_port && !(node.in_cluster(server) && pod);
    // Replies would be such packets too, from the port where a peer ends its tunnels.
    let from_vtep = tuple.sport == node.tunnel_port && cx.snapshot.parts.forwarding.tunnel_source(tuple.src).is_some();
    let tunnel = tuple.proto == Proto::UDP && (to_vtep || from_vtep);
    match item.ingress {
        Ingress::Pod | Ingress::Tunnel(_) | Ingress::Outside if tunnel => Err(Refusal::Drop(DropReason::TunnelFromPod)),
        Ingress::Outside if !service => Err(Refusal::Drop(DropReason::NoConnection)),
        Ingress::Tunnel(_) if !service && !local => Err(Refusal::Drop(DropReason::Loop)),
        Ingress::Host if !service && way == Way::Port(node.host_port) => Err(Refusal::Drop(DropReason::Loop)),
        _ => Ok(()),
    }
}
