//! Decides what becomes of a TCP segment that a service's endpoint sends in no connection we know: its client is asked. It
//! never lets such a segment through.
//!
//! After the records were lost (a restart, a time-out, a full table) such a segment may belong to a connection to the service,
//! whose client must not see the endpoint's own address, or to one that was made to the endpoint itself. Only the client's
//! stack knows. So the segment is dropped, as the endpoint will send it again, and the client gets an empty one out of window
//! from each of the names that the endpoint goes by. For the name it has a connection with, it answers, which begins the record
//! from the client's side; to the others it sends resets without ACK, which are let nowhere without a record.

use crate::action::Way;
use crate::classify::{Ingress, Item};
use crate::engine::Context;
use crate::{Egress, Engine, Frame};
use sluice_mem::Pools;
use sluice_snapshot::{Deps, dep};
use sluice_wire::{Checksum, MacAddr, Meta, Packet, Proto, parse, tcp_flags, tcp_probe};

/// Services that a client is asked about; an endpoint of more is rare.
const SERVICES: usize = 7;
/// Room for the longest probe: Ethernet, IPv6, TCP with all options.
const LONGEST: usize = 114;

impl Context<'_> {
    /// Whether the packet, which belongs to no connection, may be an endpoint's in one that was translated here: the client
    /// is a pod of this node, or the node itself, also on behalf of others.
    pub(crate) fn may_be_of_a_service(&self, item: &Item, deps: &mut Deps) -> bool {
        let tuple = &item.parsed.tuple;
        if !self.is_from_endpoint(item, deps) {
            return false;
        }
        deps.add(dep::endpoint(tuple.dst));
        // Towards an endpoint it is a client's packet, with a port that happens to be an endpoint's, too.
        let to_endpoint = self
            .snapshot
            .parts
            .services
            .endpoints()
            .contains((tuple.dst, tuple.dport));
        let opens = item.parsed.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN;
        let client = self.route(tuple.dst, &mut Deps::default());
        let host = client == Ok(Way::Port(self.snapshot.parts.node.host_port));
        // The node's answers to others than pods would not come past us.
        let asks = match item.ingress {
            Ingress::Pod | Ingress::Tunnel(_) => true,
            Ingress::Host => !host,
            Ingress::Outside => false,
        };
        !to_endpoint && !opens && asks && matches!(client, Ok(Way::Port(_)))
    }

    /// Whether what is decided for the packet may not hold for others of its flow: an endpoint's are told apart by flags.
    pub(crate) fn is_from_endpoint(&self, item: &Item, deps: &mut Deps) -> bool {
        let tuple = &item.parsed.tuple;
        if tuple.proto != Proto::TCP {
            return false;
        }
        deps.add(dep::endpoint(tuple.src));
        self.snapshot
            .parts
            .services
            .endpoints()
            .contains((tuple.src, tuple.sport))
    }
}

/// A reset that answers a segment of no connection (RFC 9293 section 3.5.2), such as those that clients are asked with. Of
/// a connection that was open it has ACK.
pub(crate) fn is_bare_reset(item: &Item) -> bool {
    item.parsed.tuple.proto == Proto::TCP && item.parsed.tcp_flags & (tcp_flags::RST | tcp_flags::ACK) == tcp_flags::RST
}

impl Engine {
    /// Asks the client whom it speaks with.
    pub(crate) fn ask_client<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, item: &Item, out: &mut E) {
        let tuple = item.parsed.tuple;
        let endpoint = (tuple.src, tuple.sport);
        let mut deps = Deps::default();
        // What it answers must be allowed, or it is asked for nothing.
        let (Ok(()), Ok(way)) = (
            cx.policy(&tuple.reversed(), endpoint, &mut deps),
            cx.route(tuple.dst, &mut deps),
        ) else {
            return;
        };
        let services = cx.snapshot.parts.services.endpoints().frontends(endpoint);
        let names = services.map(|frontend| (frontend.addr, frontend.port)).take(SERVICES);
        for name in std::iter::once(endpoint).chain(names) {
            if !self.may_answer(cx, item) {
                return;
            }
            let Some(mut buf) = pools.small.alloc() else { return };
            // The real MACs follow with the way out.
            let macs = (MacAddr::default(), MacAddr::default());
            let written = buf
                .extend(LONGEST)
                .and_then(|room| tcp_probe(room, item.frame.buf.bytes(), &item.parsed, name, macs));
            buf.truncate(written.unwrap_or(0));
            let (true, Ok(Packet::Ip(parsed))) = (written.is_some(), parse(buf.bytes())) else {
                return pools.free(buf);
            };
            self.counters.generated.add(1, buf.len() as u64);
            let mut meta = Meta::from_port(item.frame.meta.ingress);
            meta.checksum = Checksum::Good;
            self.deliver(cx, pools, Frame { buf, meta }, &parsed, way, 0, out);
        }
    }
}
