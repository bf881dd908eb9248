//! Decides whether what the cache says of a packet holds at this moment, and then does it, in place. It never sends.

use super::grows;
use super::sight::{Fate, Sight};
use crate::action::Way;
use crate::cache::{Entry, Flags, FlowCache, Place};
use crate::engine::Context;
use crate::{Counters, Frame, Shared};
use sluice_snapshot::{Caps, Link};
use sluice_vxlan::Template;
use sluice_wire::{Checksum, ETH_LEN, MAX_IP_LEN, checksum, rewrite};

/// What is counted once a burst.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) hits: u64,
    pub(super) pulled: (u64, u64),
    pub(super) pushed: (u64, u64),
}

/// What a burst is rewritten with.
pub(super) struct Rewriting<'a> {
    pub(super) cx: Context<'a>,
    pub(super) cache: &'a mut FlowCache,
    pub(super) shared: &'a Shared,
    pub(super) counters: &'a Counters,
    pub(super) outer_ip_id: &'a mut u16,
    pub(super) counted: &'a mut Counted,
    /// More than one packet of some flow may leave by a port.
    pub(super) gathers: bool,
}

impl Rewriting<'_> {
    /// Rewrites one packet, and notes what becomes of it; false, with nothing changed, where the general path must look.
    #[inline(always)]
    pub(super) fn finish(&mut self, place: Place, sight: &mut Sight, frame: &mut Frame) -> bool {
        let cx = self.cx;
        let Some(entry) = self.cache.renewed(place, cx.snapshot, &self.counters.events) else {
            return false;
        };
        if !self.shared.connections.holds_since(entry.record, &mut entry.seen) {
            return false;
        }
        let parts = &cx.snapshot.parts;
        let ip_len = sight.packet.ip_len();
        match entry.way() {
            Way::Drop(_) => return false,
            Way::Port(slot) => {
                let Some(port) = parts.ports.get(slot).filter(|port| ip_len <= usize::from(port.mtu)) else {
                    return false;
                };
                patch(entry, sight, frame, self.counted);
                sight.port = slot;
                if self.gathers && grows(port.caps) {
                    sight.fate = Fate::Grows;
                } else {
                    complete(frame, port.caps);
                    rewrite::set_macs(frame.buf.bytes_mut(), port.mac(), parts.node.gateway_mac);
                    sight.fate = Fate::Sent;
                }
            }
            Way::Adjacency(at) => {
                let adjacency = parts.forwarding.adjacency(at);
                let Some(adjacency) = adjacency.filter(|a| ip_len <= usize::from(a.mtu)) else {
                    return false;
                };
                match &adjacency.link {
                    Link::Tunnel(template) => {
                        if !has_room(frame, template) {
                            return false;
                        }
                        patch(entry, sight, frame, self.counted);
                        complete(frame, Caps::default());
                        *self.outer_ip_id = self.outer_ip_id.wrapping_add(1);
                        wrap(frame, sight, template, (entry.tunnel_port, *self.outer_ip_id));
                        self.counted.pushed.0 += 1;
                        self.counted.pushed.1 += template.overhead() as u64;
                    }
                    Link::Direct { dst, src } => {
                        patch(entry, sight, frame, self.counted);
                        let caps = parts
                            .ports
                            .get(adjacency.port)
                            .map_or(Caps::default(), |port| port.caps);
                        complete(frame, caps);
                        rewrite::set_macs(frame.buf.bytes_mut(), *dst, *src);
                    }
                }
                (sight.fate, sight.port) = (Fate::Sent, adjacency.port);
            }
        }
        if entry.is_due(cx.report_tick())
            && let Some(link) = entry.take_counts(cx.report_tick())
        {
            link.report(&self.shared.connections, cx.now_ns);
        }
        true
    }
}

/// Rewrites what is in the packet's own headers, and counts it.
#[inline(always)]
fn patch(entry: &mut Entry, sight: &Sight, frame: &mut Frame, counted: &mut Counted) {
    if sight.is_wrapped(frame) {
        let (times, bytes) = sight.strip(frame);
        counted.pulled.0 += times;
        counted.pulled.1 += bytes;
    }
    counted.hits += 1;
    entry.count(frame.buf.len());
    let partial = matches!(frame.meta.checksum, Checksum::Partial { .. });
    let hop = entry.flags.has(Flags::HOP);
    let done = entry.patch.apply(frame.buf.bytes_mut(), &sight.packet, partial, hop);
    debug_assert!(done, "a plain packet has its headers");
}

/// Completes a checksum that the way out does not.
#[inline(always)]
fn complete(frame: &mut Frame, caps: Caps) {
    if let Checksum::Partial { start, offset } = frame.meta.checksum
        && !caps.checksum
    {
        let done = checksum::complete(frame.buf.bytes_mut(), start, offset);
        debug_assert!(done, "it is the packet's own");
        frame.meta.checksum = Checksum::Good;
    }
}

/// Whether tunnel headers fit in front, and the packet into an IP packet then.
#[inline(always)]
fn has_room(frame: &Frame, template: &Template) -> bool {
    let overhead = template.overhead();
    frame.buf.headroom() >= overhead && frame.buf.len() + overhead <= ETH_LEN + MAX_IP_LEN
}

#[inline(always)]
fn wrap(frame: &mut Frame, sight: &Sight, template: &Template, (source_port, ip_id): (u16, u16)) {
    let done = frame.buf.push(template.overhead()).is_some()
        && template
            .write_unsummed(frame.buf.bytes_mut(), source_port, ip_id, sight.packet.tos)
            .is_ok();
    debug_assert!(done, "there is room");
    if template.sums() {
        sum_outer(frame, sight, template, source_port);
    }
    frame.meta.checksum = Checksum::Good;
}

/// Fills in the checksum of tunnel headers that are written.
#[inline(never)]
fn sum_outer(frame: &mut Frame, sight: &Sight, template: &Template, source_port: u16) {
    // An unverified sum may be wrong; a right outer checksum around it takes the long way.
    let known = frame.meta.checksum == Checksum::Good;
    let inner = frame.buf.bytes().get(template.overhead()..).filter(|_| known);
    let parsed = inner.map(|inner| sight.packet.parsed(inner));
    template.write_checksum(frame.buf.bytes_mut(), source_port, parsed.as_ref());
}
