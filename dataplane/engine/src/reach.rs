//! How far an address reaches: which packets no router passes on, and why. It never asks where an address is.

use sluice_wire::{Addr, DropReason, Kind, Parsed, Proto};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere. 240.0.0.0/4 is among it, as for Linux: networks use it inside.
    Unicast,
    Multicast,
    Broadcast,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// 0.0.0.0/8, 127.0.0.0/8, :: and ::1.
    Nowhere,
}

#[inline]
pub(crate) fn reach(addr: Addr) -> Reach {
    if addr.is_v4() {
        match addr.v4_octets() {
            [0 | 127, ..] => Reach::Nowhere,
            [169, 254, ..] => Reach::LinkLocal,
            [224..=239, ..] => Reach::Multicast,
            [255, 255, 255, 255] => Reach::Broadcast,
            _ => Reach::Unicast,
        }
    } else {
        match addr.octets() {
            [0xff, ..] => Reach::Multicast,
            [0xfe, 0x80..=0xbf, ..] => Reach::LinkLocal,
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 | 1] => Reach::Nowhere,
            _ => Reach::Unicast,
        }
    }
}

/// Why a packet of which not both addresses are unicast goes nowhere.
#[cold]
pub(crate) fn unroutable(frame: &[u8], parsed: &Parsed) -> DropReason {
    match (reach(parsed.tuple.src), reach(parsed.tuple.dst)) {
        (_, Reach::Multicast) if is_membership(frame, parsed) => DropReason::GroupMembership,
        (_, Reach::Multicast) => DropReason::Multicast,
        (_, Reach::Broadcast) => DropReason::Broadcast,
        (Reach::Multicast | Reach::Broadcast, _) => DropReason::SpoofedSource,
        (Reach::Nowhere, _) | (_, Reach::Nowhere) => DropReason::Martian,
        _ => DropReason::LinkLocal,
    }
}

/// IGMP, or MLD in one of its versions (RFC 2710, RFC 3810): every IPv6 host sends it when it comes up.
fn is_membership(frame: &[u8], parsed: &Parsed) -> bool {
    const IGMP: Proto = Proto(2);
    let kind = frame.get(usize::from(parsed.l4));
    match parsed.kind {
        Kind::OtherIcmp => parsed.v6 && matches!(kind, Some(130..=132 | 143)),
        _ => !parsed.v6 && parsed.tuple.proto == IGMP,
    }
}
