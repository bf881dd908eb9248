//! First stage: what a frame is, and whether it may come in where it did. Tunnel headers come off here.

use crate::cache::Place;
use crate::engine::Context;
use crate::limits::OUTSIDE;
use crate::reach::{Reach, reach, unroutable};
use crate::{Engine, Frame};
use sluice_snapshot::{PeerSlot, PortKind};
use sluice_wire::{
    Addr, Arp, Checksum, DropReason, FlowKey, GsoKind, Kind, MacAddr, Meta, Packet, Parsed, Proto, Scope, Tuple,
    check_options, parse, rewrite, tcp_flags,
};

/// Who sent a packet to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ingress {
    Pod,
    Host,
    /// The wire, not through a tunnel.
    Outside,
    Tunnel(PeerSlot),
}

/// A packet between the stages.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) frame: Frame,
    pub(crate) parsed: Parsed,
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    /// Where the flow cache has the flow, when it was last asked.
    pub(crate) place: Option<Place>,
    pub(crate) ingress: Ingress,
    /// Takes the slow path even if its flow is known: it changes the connection's state, or needs an answer.
    pub(crate) special: bool,
    /// Others of its flow come behind it in this burst.
    pub(crate) more: bool,
    /// When it began to wait for a neighbour, if it did.
    pub(crate) held_since_ns: Option<u64>,
}

impl Item {
    /// How many ports the one that it came in by counts as.
    pub(crate) fn weight(&self) -> u32 {
        match self.ingress {
            Ingress::Outside => OUTSIDE,
            Ingress::Pod | Ingress::Host | Ingress::Tunnel(_) => 1,
        }
    }
}

/// A question about who has an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Query {
    Arp(Arp),
    /// Neighbour solicitation.
    Solicitation(Parsed),
}

pub(crate) enum Classified {
    Packet(Item),
    Query(Frame, Query),
    Dropped(Frame, DropReason),
}

impl Engine {
    pub(crate) fn classify(&self, cx: Context<'_>, mut frame: Frame) -> Classified {
        let Some(port) = cx.snapshot.parts.ports.get(frame.meta.ingress) else {
            let nothing_yet = cx.snapshot.parts.ports.is_empty();
            let reason = if nothing_yet {
                DropReason::NoConfiguration
            } else {
                DropReason::PortGone
            };
            return Classified::Dropped(frame, reason);
        };
        // Everything is judged by the first segment, so nothing may hide in others.
        if frame.buf.next().is_some() {
            return Classified::Dropped(frame, DropReason::RxInvalid);
        }
        let mut parsed = match parse(frame.buf.bytes()) {
            Ok(Packet::Ip(parsed)) => match check_offloads(&parsed, &frame.meta) {
                Ok(()) => parsed,
                Err(reason) => return Classified::Dropped(frame, reason),
            },
            Ok(Packet::Arp(arp)) => return Classified::Query(frame, Query::Arp(arp)),
            Err(reason) => return Classified::Dropped(frame, reason),
        };
        let mut scope = port.scope;
        let ingress = match port.kind {
            PortKind::Pod { mac, .. } => {
                if frame.buf.bytes().get(6..12) != Some(&mac.0) {
                    return Classified::Dropped(frame, DropReason::SpoofedMac);
                }
                Ingress::Pod
            }
            PortKind::Host { .. } => Ingress::Host,
            PortKind::Uplink { mac } if !is_for(mac, &frame) => {
                return Classified::Dropped(frame, DropReason::OtherMac);
            }
            PortKind::Uplink { .. } if self.is_tunnel(cx, &parsed) && destination(&frame).is_group() => {
                return Classified::Dropped(frame, DropReason::Broadcast);
            }
            PortKind::Uplink { .. } if self.is_tunnel(cx, &parsed) => match self.decapsulate(cx, &mut frame, &parsed) {
                Ok((slot, peer_scope, inner)) => {
                    (parsed, scope) = (inner, peer_scope);
                    Ingress::Tunnel(slot)
                }
                Err(reason) => return Classified::Dropped(frame, reason),
            },
            PortKind::Uplink { .. } => Ingress::Outside,
        };
        self.trim(&mut frame, parsed.end as usize);
        if parsed.fragment && frame.meta.checksum == Checksum::Good {
            // True of the whole packet, and nothing that could be said of a piece of it.
            frame.meta.checksum = Checksum::Unverified;
        }
        if let Kind::Ndp(kind) = parsed.kind {
            return discovery(frame, parsed, kind, ingress);
        }
        let tuple = parsed.tuple;
        if (reach(tuple.src), reach(tuple.dst)) != (Reach::Unicast, Reach::Unicast)
            && !is_with_host(cx, &tuple, ingress)
        {
            let reason = unroutable(frame.buf.bytes(), &parsed);
            return Classified::Dropped(frame, reason);
        }
        // Who sends to all of a subnet sees to it that all hear the frame; the packet is for none of us (RFC 1122 section 3.3.6).
        if destination(&frame).is_group() {
            return Classified::Dropped(frame, DropReason::Broadcast);
        }
        if parsed.ip_options
            && let Err(reason) = check_options(frame.buf.bytes(), &parsed)
        {
            return Classified::Dropped(frame, reason);
        }
        // The slow path asks what the first fragment was, and whether anything contradicts it.
        let special = parsed.fragment
            || parsed.ip_options
            || parsed.ttl <= 1
            || matches!(parsed.kind, Kind::IcmpError { .. })
            || (tuple.proto == Proto::TCP
                && parsed.tcp_flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST) != 0);
        Classified::Packet(Item {
            frame,
            parsed,
            key: FlowKey { tuple, scope },
            hash: 0,
            place: None,
            ingress,
            special,
            more: false,
            held_since_ns: None,
        })
    }

    fn is_tunnel(&self, cx: Context<'_>, parsed: &Parsed) -> bool {
        let node = &cx.snapshot.parts.node;
        parsed.tuple.proto == Proto::UDP
            && parsed.tuple.dport == node.tunnel_port
            && node.addresses.contains(&parsed.tuple.dst)
    }

    /// Takes the tunnel's headers off, after every check that needs them.
    fn decapsulate(
        &self,
        cx: Context<'_>,
        frame: &mut Frame,
        outer: &Parsed,
    ) -> Result<(PeerSlot, Scope, Parsed), DropReason> {
        let parts = &cx.snapshot.parts;
        let (slot, peer) = parts
            .forwarding
            .tunnel_source(outer.tuple.src)
            .ok_or(DropReason::UnknownVtep)?;
        if frame.meta.gso.is_some() {
            return Err(DropReason::RxInvalid);
        }
        let inner = sluice_vxlan::decapsulate(frame.buf.bytes(), outer, parts.node.tunnel_port, parts.node.vni)?;
        self.trim(frame, inner.end);
        let our_mac = if outer.v6 {
            parts.node.vtep_mac_v6
        } else {
            parts.node.vtep_mac_v4
        };
        if frame.buf.bytes().get(inner.offset..inner.offset + 6) != Some(&our_mac.0) {
            return Err(DropReason::InnerMac);
        }
        if !frame.buf.pull(inner.offset) {
            return Err(DropReason::VxlanTruncated);
        }
        self.counters.pulled.add(1, inner.offset as u64);
        frame.meta.checksum = Checksum::Unverified;
        let Packet::Ip(parsed) = parse(frame.buf.bytes())? else {
            return Err(DropReason::ArpNotForUs);
        };
        let ecn = sluice_vxlan::decap_ecn(inner.outer_ecn, parsed.tos & 3)?;
        if ecn != parsed.tos & 3 {
            rewrite::set_ecn(frame.buf.bytes_mut(), &parsed, ecn);
        }
        Ok((slot, peer.scope, parsed))
    }

    /// Takes Ethernet padding off, so that lengths mean packets from here on.
    fn trim(&self, frame: &mut Frame, end: usize) {
        let extra = frame.buf.len().saturating_sub(end);
        if extra > 0 {
            frame.buf.truncate(end);
            self.counters.pulled.add(1, extra as u64);
        }
    }
}

/// Whether a frame on the wire is for the uplink itself, or for all. The program lets no other in, but sees a change of the MAC at another time.
/// Tunnel packets that the kernel put together have no MACs any more: it has looked at them.
fn is_for(own: MacAddr, frame: &Frame) -> bool {
    let to = destination(frame);
    to == own || to.is_group() || to == MacAddr::default()
}

fn destination(frame: &Frame) -> MacAddr {
    frame
        .buf
        .bytes()
        .first_chunk()
        .copied()
        .map(MacAddr)
        .unwrap_or_default()
}

/// Whether a link-local end is the node's own: a resolver, say, that listens at such an address for the node's pods.
#[cold]
fn is_with_host(cx: Context<'_>, tuple: &Tuple, ingress: Ingress) -> bool {
    let passes = |addr: Addr, way: Ingress| match reach(addr) {
        Reach::Unicast => true,
        Reach::LinkLocal => ingress == way && addr.is_v4() && cx.snapshot.parts.node.addresses.contains(&addr),
        _ => false,
    };
    passes(tuple.src, Ingress::Host) && passes(tuple.dst, Ingress::Pod)
}

/// What a sender claims about checksum and segments is acted on after its packet was judged, so it must be true of this packet: a
/// checksum completed where a pod likes would overwrite headers.
fn check_offloads(parsed: &Parsed, meta: &Meta) -> Result<(), DropReason> {
    if !parsed.accepts(meta.checksum) {
        return Err(DropReason::RxInvalid);
    }
    let Some(gso) = meta.gso else { return Ok(()) };
    let kind = match gso.kind {
        GsoKind::Tcp4 => parsed.kind == Kind::Tcp && !parsed.v6,
        GsoKind::Tcp6 => parsed.kind == Kind::Tcp && parsed.v6,
        GsoKind::Udp => parsed.kind == Kind::Udp,
    };
    let own = !matches!(meta.checksum, Checksum::Partial { .. }) || parsed.is_partial(meta.checksum);
    if kind && own && !parsed.fragment {
        Ok(())
    } else {
        Err(DropReason::GsoMalformed)
    }
}

/// Neighbour discovery: pods and the host may ask; nothing else of it is for us, and none of it comes from further than one
/// hop (RFC 4861 sections 6.1 and 7.1).
fn discovery(frame: Frame, parsed: Parsed, kind: u8, ingress: Ingress) -> Classified {
    const ROUTER_SOLICITATION: u8 = 133;
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    let reason = match (kind, ingress) {
        _ if parsed.ttl != 255 => DropReason::NdpMalformed,
        (SOLICITATION, Ingress::Pod | Ingress::Host) => {
            return Classified::Query(frame, Query::Solicitation(parsed));
        }
        (SOLICITATION, _) => DropReason::NdpNotForUs,
        (ADVERTISEMENT, _) => DropReason::NeighbourAnnouncement,
        (ROUTER_SOLICITATION, _) => DropReason::RouterSolicitation,
        _ => DropReason::RogueRouter,
    };
    Classified::Dropped(frame, reason)
}
