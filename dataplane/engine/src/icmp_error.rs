//! ICMP errors: those that we send, and those of others about connections that we translate.

use crate::classify::{Ingress, Item};
use crate::decide::Refusal;
use crate::deliver::packet_size;
use crate::engine::Context;
use crate::{Egress, Engine, Frame};
use sluice_mem::Pools;
use sluice_snapshot::Deps;
use sluice_wire::{
    Checksum, DropReason, IcmpError, MacAddr, Meta, Packet, Proto, Rewrite, checksum, icmp, parse, parse_quoted,
    rewrite, tcp_reset,
};

/// Room for the longest error (1280 bytes of IPv6 and the Ethernet header).
const LONGEST: usize = 1294;
/// ICMP type (RFC 792). Only routers of one's own network may send it, and that is us.
const REDIRECT: u8 = 5;

impl Engine {
    /// Ends a packet that may not go on: silently, with an answer to its sender, or by letting it wait.
    pub(crate) fn refuse<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        item: Item,
        refusal: Refusal,
        out: &mut E,
    ) {
        let (reason, error) = match refusal {
            Refusal::Drop(reason) => return self.drop_frame(pools, item.frame, reason),
            Refusal::Hold(neighbour) => {
                out.resolve(neighbour);
                return self.hold(cx, pools, item);
            }
            Refusal::AskClient => {
                self.ask_client(cx, pools, &item, out);
                return self.drop_frame(pools, item.frame, DropReason::EndpointFirst);
            }
            Refusal::Reject(reason) if item.parsed.tuple.proto == Proto::TCP => (reason, None),
            Refusal::Reject(reason) => (reason, Some(IcmpError::PortUnreachable)),
            Refusal::Tell(reason, error) => (reason, Some(error)),
        };
        if self.may_answer(cx, &item) {
            self.answer(cx, pools, &item, error, out);
        }
        self.drop_frame(pools, item.frame, reason);
    }

    /// Sends an error about `item` to its sender; `None` resets its TCP connection instead.
    fn answer<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        item: &Item,
        error: Option<IcmpError>,
        out: &mut E,
    ) {
        let node = &cx.snapshot.parts.node;
        let src = item.parsed.tuple.src;
        let from = match item.ingress {
            Ingress::Outside => node.outside_for(src),
            // The host drops what claims to come from its own addresses, and all of ours are.
            Ingress::Host => Some(item.parsed.tuple.dst),
            _ => node.base_for(src).or(node.outside_for(src)),
        };
        let (Some(from), Ok(way)) = (from, cx.route(src, &mut Deps::default())) else {
            return;
        };
        let Some(mut buf) = pools.small.alloc() else { return };
        let original = item.frame.buf.bytes();
        // The real MACs follow with the way out.
        let mac = MacAddr::default();
        let written = buf.extend(LONGEST).and_then(|room| match error {
            Some(error) => icmp::write_error(room, original, &item.parsed, error, from, mac, mac),
            None => tcp_reset(room, original, &item.parsed, mac, mac),
        });
        buf.truncate(written.unwrap_or(0));
        let (true, Ok(Packet::Ip(parsed))) = (written.is_some(), parse(buf.bytes())) else {
            return pools.free(buf);
        };
        self.counters.generated.add(1, buf.len() as u64);
        let mut meta = Meta::from_port(item.frame.meta.ingress);
        meta.checksum = Checksum::Good;
        let tunnel_port = sluice_vxlan::source_port(parsed.tuple.stable_hash());
        self.deliver(cx, pools, Frame { buf, meta }, &parsed, way, tunnel_port, out);
    }

    /// An error about a packet of one of our connections goes where that packet came from, with what it quotes turned back
    /// into what the sender had sent (RFC 5508 section 4).
    pub(crate) fn icmp_error<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        mut item: Item,
        quoted: usize,
        out: &mut E,
    ) {
        let mut deps = Deps::default();
        if let Err(reason) = cx.admit(&item, &mut deps) {
            return self.drop_frame(pools, item.frame, reason);
        }
        let bytes = item.frame.buf.bytes();
        if !item.parsed.v6 && bytes.get(usize::from(item.parsed.l4)) == Some(&REDIRECT) {
            return self.drop_frame(pools, item.frame, DropReason::RogueRouter);
        }
        let quote = bytes.get(quoted..).and_then(parse_quoted);
        if quote.is_some_and(|q| self.learn_path_mtu(cx, &item, quoted, &q)) {
            return self.drop_frame(pools, item.frame, DropReason::PathMtuNoted);
        }
        let found = quote.and_then(|q| Some((q, self.shared.connections.lookup(&q.tuple.reversed())?)));
        let Some((quote, (_, record, direction))) = found else {
            return self.drop_frame(pools, item.frame, DropReason::IcmpUnrelated);
        };
        // It must come from where the connection's own packets come from; else any pod could disturb others' connections.
        let far_end = record.arriving(direction).src;
        if let Err(reason) = cx.admit_source(&item, far_end, &mut deps) {
            return self.drop_frame(pools, item.frame, reason);
        }
        let backend = (record.reply.src, record.reply.sport);
        if let Err(reason) = cx.policy(&record.original, backend, &mut deps) {
            return self.drop_frame(pools, item.frame, reason);
        }
        let leaving = record.leaving(direction);
        let way = match cx.route(leaving.dst, &mut deps) {
            Ok(way) => way,
            Err(refusal) => return self.refuse(cx, pools, item, refusal, out),
        };
        // From the far end itself it must look as if it came from where the client had sent to. A router keeps its name, except
        // towards another node, which believes us our own addresses only.
        let from_far_end = item.parsed.tuple.src == far_end;
        let node = &cx.snapshot.parts.node;
        let src = if from_far_end {
            Some(leaving.src)
        } else if cx.is_tunnel(way) && item.ingress == Ingress::Outside {
            node.base_for(leaving.dst)
        } else {
            None
        };
        let outer = Rewrite {
            src: src.map(|src| (src, 0)),
            dst: Some((leaving.dst, 0)),
        };
        if packet_size(&item) > usize::from(self.mtu(cx, way, item.parsed.v6)) {
            return self.drop_frame(pools, item.frame, DropReason::TooBig);
        }
        let hop = cx.is_hop(&item, way);
        let bytes = item.frame.buf.bytes_mut();
        if let Checksum::Partial { start, offset } = item.frame.meta.checksum {
            checksum::complete(bytes, start, offset);
            item.frame.meta.checksum = Checksum::Unverified;
        }
        rewrite::rewrite_quoted(
            bytes,
            &item.parsed,
            &Rewrite::between(&quote.tuple, &leaving.reversed()),
        );
        rewrite::apply(bytes, &item.parsed, item.frame.meta.checksum, &outer);
        if hop {
            if item.parsed.ttl <= 1 {
                return self.drop_frame(pools, item.frame, DropReason::TtlExceeded);
            }
            rewrite::decrement_ttl(bytes, &item.parsed);
        }
        item.parsed.tuple.dst = leaving.dst;
        let tunnel_port = sluice_vxlan::source_port(leaving.stable_hash());
        self.deliver(cx, pools, item.frame, &item.parsed, way, tunnel_port, out);
    }
}
