//! Answers to ARP and neighbour solicitation at pods' ports and the host's: every address is reached through us.

use crate::classify::Query;
use crate::engine::Context;
use crate::{Egress, Engine, Frame};
use sluice_mem::Pools;
use sluice_snapshot::PortKind;
use sluice_wire::{Addr, Arp, ArpOp, Checksum, DropReason, MacAddr, Parsed, arp, ndp};

impl Engine {
    pub(crate) fn answer_query<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        frame: Frame,
        query: Query,
        out: &mut E,
    ) {
        let verdict = match query {
            Query::Arp(query) => self.answer_arp(cx, frame, &query),
            Query::Solicitation(parsed) => self.answer_solicitation(cx, pools, frame, &parsed),
        };
        match verdict {
            Ok(frame) => {
                let port = frame.meta.ingress;
                self.counters.generated.add(1, frame.buf.len() as u64);
                out.send(pools, port, frame);
            }
            Err((frame, reason)) => self.drop_frame(pools, frame, reason),
        }
    }

    fn answer_arp(&self, cx: Context<'_>, mut frame: Frame, query: &Arp) -> Result<Frame, (Frame, DropReason)> {
        if query.op != ArpOp::Request || !self.answers_for(cx, &frame, query.sender, query.target) {
            return Err((frame, DropReason::ArpNotForUs));
        }
        let before = frame.buf.len();
        if !arp::reply(frame.buf.bytes_mut(), cx.snapshot.parts.node.gateway_mac) {
            return Err((frame, DropReason::ArpMalformed));
        }
        (frame.meta.checksum, frame.meta.gso) = (Checksum::Good, None);
        self.counters.answered.add(1, before as u64);
        Ok(frame)
    }

    fn answer_solicitation(
        &self,
        cx: Context<'_>,
        pools: &mut Pools,
        frame: Frame,
        parsed: &Parsed,
    ) -> Result<Frame, (Frame, DropReason)> {
        let asked = match ndp::solicitation(frame.buf.bytes(), parsed) {
            Ok(asked) => asked,
            Err(reason) => return Err((frame, reason)),
        };
        // A pod that checks whether its own new address is free must get no answer: silence means it is.
        if asked.dad || !self.answers_for(cx, &frame, parsed.tuple.src, asked.target) {
            return Err((frame, DropReason::NdpNotForUs));
        }
        let Some(mut buf) = pools.small.alloc() else {
            return Err((frame, DropReason::NoFrameMemory));
        };
        let to = asked
            .source_link
            .or_else(|| source_mac(&frame))
            .unwrap_or(MacAddr::BROADCAST);
        let our = cx.snapshot.parts.node.gateway_mac;
        let written = buf
            .extend(ndp::ADVERTISEMENT_LEN)
            .and_then(|room| ndp::advertise(room, &asked, parsed.tuple.src, to, our));
        buf.truncate(written.unwrap_or(0));
        if written.is_none() {
            pools.free(buf);
            return Err((frame, DropReason::NdpMalformed));
        }
        self.counters.answered.add(1, frame.buf.total_len() as u64);
        let mut meta = frame.meta;
        (meta.checksum, meta.gso) = (Checksum::Good, None);
        pools.free(frame.buf);
        Ok(Frame { buf, meta })
    }

    /// Pods are told that everybody is behind us, except themselves; the host, that all pods and services are.
    fn answers_for(&self, cx: Context<'_>, frame: &Frame, sender: Addr, target: Addr) -> bool {
        let Some(port) = cx.snapshot.parts.ports.get(frame.meta.ingress) else {
            return false;
        };
        match &port.kind {
            PortKind::Pod { mac, addrs, .. } => {
                source_mac(frame) == Some(*mac) && sender != target && !addrs.contains(&target)
            }
            PortKind::Host { .. } => sender != target && !cx.snapshot.parts.node.is_local(target),
            PortKind::Uplink { .. } => false,
        }
    }
}

fn source_mac(frame: &Frame) -> Option<MacAddr> {
    Some(MacAddr(*frame.buf.bytes().get(6..)?.first_chunk()?))
}
