//! Decides what to believe about the path of a tunnel: the size that a router on the way says it takes. Kept by adjacency, for
//! ten minutes; the way to everybody outside is never narrowed, since one far end's path says nothing about another's.

use crate::Engine;
use crate::action::Way;
use crate::classify::{Ingress, Item};
use crate::engine::Context;
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_snapshot::{AdjacencyIndex, Link};
use sluice_vxlan::Template;
use sluice_wire::{Addr, Kind, Proto, Quoted, checksum, icmp};

/// Adjacencies with a lower index have a place; the others are never narrowed.
const PLACES: usize = 16_384;
/// As a kernel's `mtu_expires`: the path may have grown meanwhile (RFC 8201 section 4).
const LIFE_S: u64 = 600;
const SECOND_NS: u64 = 1_000_000_000;
/// What every path of IPv6 takes, and the least that a kernel believes of one of IPv4 (`min_pmtu`).
const LEAST_V6: u16 = 1280;
const LEAST_V4: u16 = 552;

/// What was learnt about tunnels' paths, of all workers.
pub struct PathMtu {
    /// Largest inner packet, 16 bits; whom it is about, 16; until when it holds, in seconds, 32.
    places: Box<[AtomicU64]>,
    /// Until when anything holds.
    until_ns: AtomicU64,
}

impl Default for PathMtu {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            until_ns: AtomicU64::new(0),
        }
    }
}

impl PathMtu {
    /// Whether anything is narrowed now. Asked once per burst.
    #[inline]
    pub(crate) fn is_in_force(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns.load(Ordering::Relaxed)
    }

    /// The largest inner packet that this tunnel's path takes, if that was learnt.
    pub(crate) fn get(&self, at: AdjacencyIndex, template: &Template, now_ns: u64) -> Option<u16> {
        let word = self.places.get(at.0 as usize)?.load(Ordering::Relaxed);
        let (mtu, whom, until_s) = (word as u16, (word >> 16) as u16, word >> 32);
        // An index is used again when a node goes: what was learnt is about another one then.
        (now_ns / SECOND_NS < until_s && whom == mark(template)).then_some(mtu)
    }

    fn learn(&self, at: AdjacencyIndex, template: &Template, mtu: u16, now_ns: u64) {
        let Some(place) = self.places.get(at.0 as usize) else {
            return;
        };
        let until_s = now_ns / SECOND_NS + LIFE_S;
        place.store(
            u64::from(mtu) | u64::from(mark(template)) << 16 | until_s << 32,
            Ordering::Relaxed,
        );
        self.until_ns.fetch_max(until_s * SECOND_NS, Ordering::Relaxed);
    }
}

/// Tells peers apart that follow each other at one index.
fn mark(template: &Template) -> u16 {
    let (_, remote) = template.ends();
    remote.octets().chunks_exact(2).fold(0u16, |sum, word| {
        sum.rotate_left(3) ^ u16::from_be_bytes([word[0], word[1]])
    })
}

impl Engine {
    /// Largest IP packet that may leave this way now.
    #[inline]
    pub(crate) fn mtu(&self, cx: Context<'_>, way: Way, v6: bool) -> u16 {
        let mtu = cx.mtu(way);
        if !cx.narrowed {
            mtu
        } else {
            self.narrow(cx, way, mtu, v6)
        }
    }

    #[cold]
    fn narrow(&self, cx: Context<'_>, way: Way, mtu: u16, v6: bool) -> u16 {
        let Way::Adjacency(at) = way else { return mtu };
        let Some(Link::Tunnel(template)) = cx.snapshot.parts.forwarding.adjacency(at).map(|a| &a.link) else {
            return mtu;
        };
        let learnt = self.shared.path_mtu.get(at, template, cx.now_ns).unwrap_or(mtu);
        // No sender of IPv6 goes below, whatever it is told.
        let least = if v6 { LEAST_V6 } else { 0 };
        mtu.min(learnt.max(least))
    }

    /// Whether this error says how large our own tunnel packets may be; then that is noted. Only from the wire, about a packet
    /// that we could have sent, and that was larger: more cannot be asked of routers.
    pub(crate) fn learn_path_mtu(&self, cx: Context<'_>, item: &Item, quoted: usize, quote: &Quoted) -> bool {
        let node = &cx.snapshot.parts.node;
        let (parsed, bytes) = (&item.parsed, item.frame.buf.bytes());
        let tuple = quote.tuple;
        let ours = item.ingress == Ingress::Outside
            && quote.kind == Kind::Udp
            && tuple.proto == Proto::UDP
            && tuple.dport == node.tunnel_port
            && tuple.src == parsed.tuple.dst
            && node.addresses.contains(&tuple.src);
        if !ours || !sluice_vxlan::is_source_port(tuple.sport) || !checksum::verify_transport(bytes, parsed) {
            return false;
        }
        let Some(told) = icmp::told_mtu(bytes, parsed) else {
            return false;
        };
        let packet = bytes.get(quoted..parsed.end as usize).unwrap_or_default();
        let vni = packet
            .get(usize::from(quote.l3_len) + 8..)
            .and_then(|h| h.first_chunk::<8>());
        if vni.is_some_and(|h| u32::from_be_bytes([0, h[4], h[5], h[6]]) != node.vni.get()) {
            return false;
        }
        let size = if quote.v6 {
            packet
                .get(4..6)
                .map(|len| u32::from(u16::from_be_bytes([len[0], len[1]])) + 40)
        } else {
            packet
                .get(2..4)
                .map(|len| u32::from(u16::from_be_bytes([len[0], len[1]])))
        };
        if size.is_none_or(|size| size <= told) {
            return false;
        }
        let least = if quote.v6 { LEAST_V6 } else { LEAST_V4 };
        let told = u16::try_from(told).unwrap_or(u16::MAX).max(least);
        self.narrow_tunnel(cx, (tuple.src, tuple.dst), told)
    }

    /// Notes the path's MTU for the tunnel between these ends.
    fn narrow_tunnel(&self, cx: Context<'_>, ends: (Addr, Addr), outer: u16) -> bool {
        let Some((at, adjacency, template)) = cx.snapshot.parts.forwarding.tunnel(ends) else {
            return false;
        };
        // The overhead counts the outer Ethernet header, which the path's MTU does not, but not the inner one, which it does.
        let inner = outer.saturating_sub(template.overhead() as u16);
        let known = self
            .shared
            .path_mtu
            .get(at, template, cx.now_ns)
            .unwrap_or(adjacency.mtu);
        if inner < known {
            self.shared.path_mtu.learn(at, template, inner, cx.now_ns);
        }
        true
    }
}
