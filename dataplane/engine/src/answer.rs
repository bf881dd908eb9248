//! Answers to ARP and neighbour solicitation at pods' ports and the host's: every address is reached through us.

use crate::classify::Query;
use crate::engine::Context;
use crate::reach::{Reach, reach};
use crate::{Egress, Engine, Frame};
use sluice_mem::Pools;
use sluice_snapshot::PortKind;
use sluice_wire::ndp::{self, Solicited};
use sluice_wire::{Addr, Arp, ArpOp, Checksum, DropReason, MacAddr, Parsed, arp};

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
        if let Err(reason) = judge_arp(cx, &frame, query) {
            return Err((frame, reason));
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
        if let Err(reason) = judge_solicitation(cx, &frame, parsed.tuple.src, &asked) {
            return Err((frame, reason));
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
}

/// Pods are told that everybody is behind us, except themselves; the host, that all pods and services are. Nothing is ever
/// learned from a question, so a lie in one harms nobody; it is told from others by its reason.
fn judge_arp(cx: Context<'_>, frame: &Frame, query: &Arp) -> Result<(), DropReason> {
    let announces = query.op == ArpOp::Reply || query.sender == query.target;
    match port_kind(cx, frame)? {
        PortKind::Uplink { .. } => Err(DropReason::ArpNotForUs),
        PortKind::Pod { mac, .. } if source_mac(frame) != Some(*mac) || query.sender_mac != *mac => {
            Err(DropReason::SpoofedMac)
        }
        _ if query.op == ArpOp::Request && query.sender == Addr::v4([0; 4]) => Err(DropReason::AddressProbe),
        PortKind::Pod { addrs, .. } if !addrs.contains(&query.sender) => Err(DropReason::SpoofedSource),
        _ if announces => Err(DropReason::NeighbourAnnouncement),
        PortKind::Pod { addrs, .. } if addrs.contains(&query.target) => Err(DropReason::ArpNotForUs),
        PortKind::Host { .. } if cx.snapshot.parts.node.is_local(query.target) => Err(DropReason::ArpNotForUs),
        _ => Ok(()),
    }
}

/// As [`judge_arp`]. Askers may use their link-local address, which nobody knows.
fn judge_solicitation(cx: Context<'_>, frame: &Frame, sender: Addr, asked: &Solicited) -> Result<(), DropReason> {
    match port_kind(cx, frame)? {
        PortKind::Uplink { .. } => Err(DropReason::NdpNotForUs),
        PortKind::Pod { mac, .. } if asked.source_link.is_some_and(|link| link != *mac) => Err(DropReason::SpoofedMac),
        _ if asked.dad => Err(DropReason::AddressProbe),
        PortKind::Pod { addrs, .. } if !addrs.contains(&sender) && reach(sender) != Reach::LinkLocal => {
            Err(DropReason::SpoofedSource)
        }
        PortKind::Pod { addrs, .. } if addrs.contains(&asked.target) => Err(DropReason::NdpNotForUs),
        PortKind::Host { .. } if cx.snapshot.parts.node.is_local(asked.target) => Err(DropReason::NdpNotForUs),
        _ => Ok(()),
    }
}

fn port_kind<'a>(cx: Context<'a>, frame: &Frame) -> Result<&'a PortKind, DropReason> {
    let port = cx.snapshot.parts.ports.get(frame.meta.ingress);
    port.map(|port| &port.kind).ok_or(DropReason::PortGone)
}

fn source_mac(frame: &Frame) -> Option<MacAddr> {
    Some(MacAddr(*frame.buf.bytes().get(6..)?.first_chunk()?))
}
