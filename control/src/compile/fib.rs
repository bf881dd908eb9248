//! Decides how an address outside of the pod ranges is reached, as the kernel would. It never asks the kernel.

use super::inputs::{FibRoute, Underlay};
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr};
use std::collections::{BTreeSet, HashMap};

/// The kernel's routes and neighbours, for looking up.
pub(super) struct Fib<'a> {
    pub(super) underlay: &'a Underlay,
    best: HashMap<Prefix, &'a FibRoute>,
    /// Prefix lengths in use, in the joint address space.
    lengths: BTreeSet<u8>,
    neighbours: HashMap<Addr, MacAddr>,
}

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hop {
    /// There is none.
    NoRoute,
    /// By another interface than the uplink.
    Elsewhere(u32),
    /// By the uplink.
    Uplink {
        /// Who receives the frame.
        next: Addr,
        /// Its MAC, once resolved.
        mac: Option<MacAddr>,
        /// Source address the kernel would take.
        pref_src: Option<Addr>,
    },
}

impl<'a> Fib<'a> {
    pub(super) fn new(underlay: &'a Underlay) -> Self {
        let mut best: HashMap<Prefix, &FibRoute> = HashMap::new();
        for route in &underlay.routes {
            let rank = |r: &FibRoute| (r.metric, r.ifindex != underlay.uplink.ifindex, r.gateway, r.ifindex);
            let slot = best.entry(route.prefix).or_insert(route);
            if rank(route) < rank(slot) {
                *slot = route;
            }
        }
        let lengths = best.keys().map(Prefix::bits).collect();
        let on_uplink = underlay
            .neighbours
            .iter()
            .filter(|n| n.ifindex == underlay.uplink.ifindex && !n.mac.is_group());
        let neighbours = on_uplink.map(|n| (n.addr, n.mac)).collect();
        Self {
            underlay,
            best,
            lengths,
            neighbours,
        }
    }

    /// The routes in force, one for each prefix.
    pub(super) fn routes(&self) -> impl Iterator<Item = &'a FibRoute> {
        self.best.values().copied()
    }

    /// Neighbours on the uplink.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = (Addr, MacAddr)> {
        self.neighbours.iter().map(|(addr, mac)| (*addr, *mac))
    }

    /// A neighbour's MAC.
    pub(super) fn mac(&self, next: Addr) -> Option<MacAddr> {
        self.neighbours.get(&next).copied()
    }

    /// The route that an address is sent by.
    pub(super) fn route(&self, addr: Addr) -> Option<&'a FibRoute> {
        self.lengths.iter().rev().find_map(|bits| {
            let len = if addr.is_v4() { bits.checked_sub(96)? } else { *bits };
            self.best.get(&Prefix::new(addr, len)?).copied()
        })
    }

    /// The next hop towards an address.
    pub(super) fn hop(&self, addr: Addr) -> Hop {
        match self.route(addr) {
            None => Hop::NoRoute,
            Some(route) if route.ifindex != self.underlay.uplink.ifindex => Hop::Elsewhere(route.ifindex),
            Some(route) => {
                let next = route.gateway.unwrap_or(addr);
                Hop::Uplink {
                    next,
                    mac: self.mac(next),
                    pref_src: route.pref_src,
                }
            }
        }
    }

    /// Addresses of the uplink of one family, without link-local ones.
    pub(super) fn uplink_addresses(&self, v4: bool) -> impl Iterator<Item = Addr> {
        let uplink = self.underlay.uplink.ifindex;
        let on_uplink = self
            .underlay
            .addresses
            .iter()
            .filter(move |(ifindex, _)| *ifindex == uplink);
        on_uplink
            .map(|(_, addr)| *addr)
            .filter(move |addr| addr.is_v4() == v4 && !is_link_local(*addr))
    }

    /// Whether an interface of this node has the address.
    pub(super) fn is_own(&self, addr: Addr) -> bool {
        self.underlay.addresses.iter().any(|(_, own)| *own == addr)
    }
}

/// 169.254.0.0/16 or fe80::/10.
pub(super) fn is_link_local(addr: Addr) -> bool {
    let octets = addr.octets();
    if addr.is_v4() {
        octets[12..14] == [169, 254]
    } else {
        octets[0] == 0xfe && octets[1] & 0xc0 == 0x80
    }
}

#[cfg(test)]
mod tests {
    use super::super::inputs::{Neighbour, Uplink};
    use super::*;

    fn route(prefix: &str, gateway: Option<&str>, ifindex: u32, metric: u32) -> FibRoute {
        let gateway = gateway.map(|g| g.parse::<std::net::IpAddr>().unwrap().into());
        FibRoute {
            prefix: prefix.parse().unwrap(),
            gateway,
            ifindex,
            metric,
            pref_src: None,
        }
    }

    fn addr(text: &str) -> Addr {
        text.parse::<std::net::IpAddr>().unwrap().into()
    }

    #[test]
    fn longest_prefix_then_lowest_metric() {
        let underlay = Underlay {
            routes: vec![
                route("0.0.0.0/0", Some("192.0.2.254"), 2, 200),
                route("0.0.0.0/0", Some("192.0.2.1"), 2, 100),
                route("192.0.2.0/24", None, 2, 0),
                route("198.51.100.0/24", None, 3, 0),
                route("::/0", Some("fe80::1"), 2, 0),
            ],
            neighbours: vec![
                Neighbour {
                    ifindex: 2,
                    addr: addr("192.0.2.1"),
                    mac: MacAddr([2, 0, 0, 0, 0, 1]),
                },
                Neighbour {
                    ifindex: 3,
                    addr: addr("192.0.2.9"),
                    mac: MacAddr([2, 0, 0, 0, 0, 9]),
                },
            ],
            uplink: Uplink {
                ifindex: 2,
                ..Uplink::default()
            },
            ..Underlay::default()
        };
        let fib = Fib::new(&underlay);
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(
            fib.hop(addr("8.8.8.8")),
            Hop::Uplink {
                next: addr("192.0.2.1"),
                mac,
                pref_src: None
            }
        );
        let unresolved = Hop::Uplink {
            next: addr("192.0.2.9"),
            mac: None,
            pref_src: None,
        };
        assert_eq!(
            fib.hop(addr("192.0.2.9")),
            unresolved,
            "known on another interface only"
        );
        assert_eq!(fib.hop(addr("198.51.100.7")), Hop::Elsewhere(3));
        assert_eq!(
            fib.hop(addr("2001:db8::1")),
            Hop::Uplink {
                next: addr("fe80::1"),
                mac: None,
                pref_src: None
            }
        );
        assert_eq!(Fib::new(&Underlay::default()).hop(addr("8.8.8.8")), Hop::NoRoute);
    }
}
