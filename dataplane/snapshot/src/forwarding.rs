//! Where packets leave: longest-prefix routes, tunnel peers, adjacencies by stable index.

use crate::Prefix;
use crate::prefix::mask;
use hashbrown::HashMap;
use sluice_vxlan::Template;
use sluice_wire::{Addr, MacAddr, PortSlot, Scope};

/// Place of an adjacency; stable while its next hop or peer exists, so that a new MAC touches no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdjacencyIndex(pub u32);

/// Place of a tunnel peer (another node); stable while the node exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerSlot(pub u32);

/// How frames leave by an adjacency.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// Plain Ethernet to this neighbour.
    Direct {
        /// The neighbour's MAC.
        dst: MacAddr,
        /// Ours.
        src: MacAddr,
    },
    /// Through the tunnel to a peer.
    Tunnel(Box<Template>),
}

/// A resolved way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjacency {
    /// Port it leaves by.
    pub port: PortSlot,
    /// Largest IP packet that fits, bytes; for a tunnel the largest inner one.
    pub mtu: u16,
    /// Headers.
    pub link: Link,
}

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A pod of this node.
    Pod(PortSlot),
    /// The host's own stack.
    Host,
    /// A pod of another node.
    Tunnel {
        /// The node.
        peer: PeerSlot,
        /// The way there, once its next hop is resolved.
        adjacency: AdjacencyIndex,
    },
    /// Outside the cluster, by a resolved next hop.
    Direct(AdjacencyIndex),
    /// Outside, on the link itself: the destination has to be resolved first.
    OnLink,
    /// Outside, by a next hop that is not resolved yet.
    Unresolved {
        /// Who has to answer first.
        next_hop: Addr,
    },
    /// This node's pod range, where no pod has the address.
    NoPod,
}

/// Another node, as tunnel peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name of its Node object.
    pub name: String,
    /// Incarnation, part of the keys of flows that come from it.
    pub scope: Scope,
    /// Outer source addresses it may use.
    pub endpoints: Vec<Addr>,
    /// Inner source addresses it may use.
    pub prefixes: Vec<Prefix>,
}

/// Routes, peers and adjacencies of one generation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forwarding {
    /// One map a prefix length, longest first; few lengths exist, and only the slow path asks.
    by_length: Vec<(u8, HashMap<Addr, Route>)>,
    adjacencies: Vec<Option<Adjacency>>,
    /// By our own and the peer's outer address.
    tunnels: HashMap<(Addr, Addr), AdjacencyIndex>,
    peers: Vec<Option<Peer>>,
    tunnel_sources: HashMap<Addr, PeerSlot>,
}

impl Forwarding {
    /// Adds a route; an earlier one for the same prefix is replaced.
    pub fn insert_route(&mut self, prefix: Prefix, route: Route) {
        let at = match self.by_length.binary_search_by(|(bits, _)| prefix.bits().cmp(bits)) {
            Ok(at) => at,
            Err(at) => {
                self.by_length.insert(at, (prefix.bits(), HashMap::new()));
                at
            }
        };
        self.by_length[at].1.insert(prefix.base(), route);
    }

    /// Puts an adjacency at its index. No two tunnels have the same ends.
    pub fn set_adjacency(&mut self, index: AdjacencyIndex, adjacency: Adjacency) {
        if let Link::Tunnel(template) = &adjacency.link {
            self.tunnels.insert(template.ends(), index);
        }
        put(&mut self.adjacencies, index.0, adjacency);
    }

    /// Puts a peer into its slot and makes its endpoints known as tunnel sources.
    pub fn set_peer(&mut self, slot: PeerSlot, peer: Peer) {
        for endpoint in &peer.endpoints {
            self.tunnel_sources.insert(*endpoint, slot);
        }
        put(&mut self.peers, slot.0, peer);
    }

    /// Longest match, with the prefix that matched.
    pub fn lookup(&self, addr: Addr) -> Option<(Prefix, Route)> {
        self.by_length.iter().find_map(|(bits, map)| {
            let route = map.get(&mask(addr, *bits))?;
            let prefix = prefix_of(addr, *bits);
            prefix.contains(addr).then_some((prefix, *route))
        })
    }

    /// The adjacency at this index, if it is resolved.
    #[inline]
    pub fn adjacency(&self, index: AdjacencyIndex) -> Option<&Adjacency> {
        self.adjacencies.get(index.0 as usize)?.as_ref()
    }

    /// The tunnel between these outer addresses, ours first, if it is resolved. Anybody's error can ask, so it takes one look however
    /// many there are.
    pub fn tunnel(&self, ends: (Addr, Addr)) -> Option<(AdjacencyIndex, &Adjacency, &Template)> {
        let at = *self.tunnels.get(&ends)?;
        let adjacency = self.adjacency(at)?;
        match &adjacency.link {
            Link::Tunnel(template) if template.ends() == ends => Some((at, adjacency, template)),
            _ => None,
        }
    }

    /// Which node sends tunnel packets from this outer address.
    #[inline]
    pub fn tunnel_source(&self, outer: Addr) -> Option<(PeerSlot, &Peer)> {
        let slot = *self.tunnel_sources.get(&outer)?;
        Some((slot, self.peers.get(slot.0 as usize)?.as_ref()?))
    }

    /// The peer in this slot.
    pub fn peer(&self, slot: PeerSlot) -> Option<&Peer> {
        self.peers.get(slot.0 as usize)?.as_ref()
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = (PeerSlot, &Peer)> {
        self.peers
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((PeerSlot(i as u32), p.as_ref()?)))
    }

    /// All routes, in no order.
    pub fn routes(&self) -> impl Iterator<Item = (Prefix, Route)> {
        self.by_length
            .iter()
            .flat_map(|(bits, map)| map.iter().map(move |(addr, route)| (prefix_of(*addr, *bits), *route)))
    }

    /// The route of exactly this prefix.
    pub(crate) fn exact(&self, prefix: &Prefix) -> Option<Route> {
        let (_, map) = self.by_length.iter().find(|(bits, _)| *bits == prefix.bits())?;
        map.get(&prefix.base()).copied()
    }

    /// The nearest shorter prefix around this one.
    pub(crate) fn parent(&self, prefix: &Prefix) -> Option<Prefix> {
        self.by_length
            .iter()
            .filter(|(bits, _)| *bits < prefix.bits())
            .find_map(|(bits, map)| {
                let parent = prefix_of(prefix.base(), *bits);
                (map.contains_key(&parent.base()) && parent.covers(prefix)).then_some(parent)
            })
    }
}

fn prefix_of(addr: Addr, bits: u8) -> Prefix {
    // IPv4 prefixes have at least 96 bits here, so a shorter one is IPv6 and takes its length as it is.
    let masked = mask(addr, bits);
    let len = if bits >= 96 && masked.is_v4() { bits - 96 } else { bits };
    Prefix::new(masked, len).unwrap_or_else(|| Prefix::host(addr))
}

fn put<T>(table: &mut Vec<Option<T>>, index: u32, value: T) {
    let index = index as usize;
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = Some(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sluice_vxlan::Tunnel;
    use sluice_wire::Vni;

    fn addr() -> impl Strategy<Value = Addr> {
        // Few distinct bits, so that prefixes nest and touch.
        (any::<bool>(), 0u8..4, 0u8..4, any::<u8>()).prop_map(|(v4, a, b, c)| {
            if v4 {
                Addr::v4([10, a, b, c])
            } else {
                let mut bytes = [0; 16];
                bytes[0] = 0xfd;
                bytes[1] = a;
                bytes[2] = b;
                bytes[15] = c;
                Addr::v6(bytes)
            }
        })
    }

    /// A tunnel between these, or else a neighbour.
    fn adjacency(ends: Option<(Addr, Addr)>) -> Adjacency {
        let [dst, src] = [1, 2].map(|n| MacAddr([2, 0, 0, 0, 0, n]));
        let tunnel = ends.map(|(local, remote)| Tunnel {
            local,
            remote,
            outer_src_mac: src,
            outer_dst_mac: dst,
            vni: Vni::new(1).unwrap(),
            port: 8472,
            inner_src_mac: src,
            inner_dst_mac: dst,
            checksum_v4: false,
        });
        let link = tunnel.map_or(Link::Direct { dst, src }, |tunnel| {
            Link::Tunnel(Box::new(Template::new(&tunnel).unwrap()))
        });
        Adjacency {
            port: PortSlot(0),
            mtu: 1450,
            link,
        }
    }

    proptest! {
        #[test]
        fn longest_match_agrees_with_a_scan(
            routes in proptest::collection::vec((addr(), 0u8..=32, any::<bool>()), 0..40),
            probes in proptest::collection::vec(addr(), 1..40),
        ) {
            let mut fast = Forwarding::default();
            let mut slow: Vec<(Prefix, Route)> = Vec::new();
            for (i, (addr, len, host)) in routes.into_iter().enumerate() {
                let prefix = if host { Prefix::host(addr) } else { Prefix::new(addr, len).unwrap() };
                let route = Route::Direct(AdjacencyIndex(i as u32));
                fast.insert_route(prefix, route);
                slow.retain(|(p, _)| *p != prefix);
                slow.push((prefix, route));
            }
            for probe in probes {
                let want = slow.iter().filter(|(p, _)| p.contains(probe)).max_by_key(|(p, _)| p.bits()).copied();
                prop_assert_eq!(fast.lookup(probe), want);
            }
        }

        /// Also when an index is a neighbour's now, or another peer's.
        #[test]
        fn a_tunnel_is_found_by_its_ends_as_by_a_scan(
            puts in proptest::collection::vec((0u32..12, proptest::option::of((0u8..2, 0u8..6, any::<bool>()))), 0..30),
        ) {
            let mut forwarding = Forwarding::default();
            let ends_of = |(local, remote, v4): (u8, u8, bool)| {
                let addr = |net: u8, host: u8| if v4 { Addr::v4([192, 0, net, host]) } else { Addr::v6([net; 16].map(|b| b ^ host)) };
                (addr(2, local), addr(3, remote))
            };
            for (index, tunnel) in puts {
                let ends = tunnel.map(ends_of);
                let taken = |a: &Adjacency| matches!(&a.link, Link::Tunnel(t) if Some(t.ends()) == ends);
                if forwarding.adjacencies.iter().flatten().any(taken) {
                    continue;
                }
                forwarding.set_adjacency(AdjacencyIndex(index), adjacency(ends));
            }
            for ends in (0..2).flat_map(|l| (0..6).flat_map(move |r| [true, false].map(|v4| ends_of((l, r, v4))))) {
                let scan = forwarding.adjacencies.iter().enumerate().find_map(|(at, adjacency)| match &adjacency.as_ref()?.link {
                    Link::Tunnel(template) if template.ends() == ends => Some(at as u32),
                    _ => None,
                });
                let found = forwarding.tunnel(ends);
                prop_assert_eq!(found.map(|(at, ..)| at.0), scan);
                if let Some((at, adjacency, template)) = found {
                    prop_assert_eq!((template.ends(), forwarding.adjacency(at)), (ends, Some(adjacency)));
                }
            }
        }
    }
}
