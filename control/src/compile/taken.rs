//! Decides which networks and addresses around this node no pod range may touch: with a route to pods in their place, the node would
//! cut itself off. It never compares ranges with each other.

use super::fib::is_link_local;
use super::inputs::Underlay;
use sluice_snapshot::Prefix;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An interface of this node has it.
    Address(u32),
    /// Hosts in it are reached without a router.
    Network(u32),
    /// Routes lead by it.
    Gateway,
}

/// All that is taken, by family and address.
pub(super) struct Taken {
    all: BTreeMap<(bool, Prefix), What>,
    /// Lengths in use, in the joint address space.
    lengths: BTreeSet<u8>,
}

impl Taken {
    pub(super) fn new(underlay: &Underlay) -> Self {
        let routes = || underlay.routes.iter();
        // A default route without gateway, as of a point-to-point link, is no network.
        let networks = routes().filter(|route| route.gateway.is_none() && route.prefix.family_len() > 0);
        // A gateway in its own route's range is how other overlays write theirs; it is no host.
        let gateways = routes().filter_map(|route| {
            let own = |addr| route.prefix.family_len() > 0 && route.prefix.contains(addr);
            route.gateway.filter(|addr| !own(*addr))
        });
        let addresses = underlay.addresses.iter();
        let all: BTreeMap<(bool, Prefix), What> = gateways
            .map(|addr| (Prefix::host(addr), What::Gateway))
            .chain(networks.map(|route| (route.prefix, What::Network(route.ifindex))))
            .chain(addresses.map(|(ifindex, addr)| (Prefix::host(*addr), What::Address(*ifindex))))
            .filter(|(prefix, _)| !is_link_local(prefix.base()) && !prefix.base().is_multicast_or_broadcast())
            .map(|(prefix, what)| ((prefix.is_v4(), prefix), what))
            .collect();
        let lengths = all.keys().map(|(_, prefix)| prefix.bits()).collect();
        Self { all, lengths }
    }

    /// What the range touches, if anything.
    pub(super) fn touched(&self, range: &Prefix) -> Option<(Prefix, What)> {
        let around = self.lengths.range(..=range.bits()).find_map(|bits| {
            let len = if range.is_v4() { bits.checked_sub(96)? } else { *bits };
            let key = (range.is_v4(), Prefix::new(range.base(), len)?);
            self.all.get_key_value(&key)
        });
        // Whatever lies inside begins at the range's base or after it, and the first that does comes first.
        let inside = || self.all.range((range.is_v4(), *range)..).next();
        let found = around
            .or_else(inside)
            .filter(|((_, prefix), _)| prefix.covers(range) || range.covers(prefix));
        found.map(|((_, prefix), what)| (*prefix, *what))
    }
}

/// As the end of a sentence about a range.
pub(super) fn describe((prefix, what): (Prefix, What)) -> impl fmt::Display {
    let addr = prefix.base();
    match what {
        What::Address(ifindex) => format!("{addr}, an address of this node (interface number {ifindex})"),
        What::Network(ifindex) => format!("{prefix}, a network this node is on (interface number {ifindex})"),
        What::Gateway => format!("{addr}, a gateway of this node"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::inputs::FibRoute;
    use super::*;
    use proptest::prelude::*;
    use sluice_wire::Addr;

    fn addr(v4: bool, a: u8, b: u8) -> Addr {
        if v4 {
            Addr::v4([10, 0, a, b])
        } else {
            Addr::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b])
        }
    }

    fn range() -> impl Strategy<Value = Prefix> {
        (any::<bool>(), 0u8..4, any::<u8>(), 0u8..=12).prop_map(|(v4, a, b, short)| {
            let len = if v4 { 32 } else { 128 } - short;
            Prefix::new(addr(v4, a, b), len).unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_a_range_touches_agrees_with_a_scan(
            networks in proptest::collection::vec(range(), 0..12),
            hosts in proptest::collection::vec((any::<bool>(), 0u8..4, any::<u8>()), 0..12),
            probes in proptest::collection::vec(range(), 1..24),
        ) {
            let routes = networks.iter().map(|prefix| FibRoute {
                prefix: *prefix,
                gateway: None,
                ifindex: 2,
                metric: 0,
                pref_src: None,
            });
            let addresses: Vec<(u32, Addr)> = hosts.iter().map(|(v4, a, b)| (3, addr(*v4, *a, *b))).collect();
            let underlay = Underlay { routes: routes.collect(), addresses: addresses.clone(), ..Underlay::default() };
            let taken = Taken::new(&underlay);
            let all: Vec<Prefix> = networks.into_iter().chain(addresses.iter().map(|(_, addr)| Prefix::host(*addr))).collect();
            for probe in probes {
                let touches = |prefix: &Prefix| prefix.covers(&probe) || probe.covers(prefix);
                let found = taken.touched(&probe);
                prop_assert_eq!(found.is_some(), all.iter().any(touches));
                prop_assert!(found.is_none_or(|(prefix, _)| touches(&prefix)));
            }
        }
    }

    #[test]
    fn default_routes_and_the_gateways_of_other_overlays_are_in_nobodys_way() {
        let route = |prefix: &str, gateway: Option<&str>| FibRoute {
            prefix: prefix.parse().unwrap(),
            gateway: gateway.map(|text| text.parse::<std::net::IpAddr>().unwrap().into()),
            ifindex: 2,
            metric: 0,
            pref_src: None,
        };
        let underlay = Underlay {
            routes: vec![
                route("0.0.0.0/0", None),
                route("::/0", Some("fe80::1")),
                route("10.244.2.0/24", Some("10.244.2.0")),
                route("0.0.0.0/0", Some("172.31.1.1")),
            ],
            ..Underlay::default()
        };
        let taken = Taken::new(&underlay);
        let touched = |text: &str| taken.touched(&text.parse().unwrap()).map(|(_, what)| what);
        assert_eq!(touched("10.244.2.0/24"), None);
        assert_eq!(touched("fe80::/10"), None);
        assert_eq!(touched("172.31.0.0/16"), Some(What::Gateway));
    }
}
