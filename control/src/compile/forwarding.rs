//! Decides routes, peers and adjacencies. It never makes an adjacency whose next hop is not resolved.
//!
//! A pod's packets travel in an outer packet of their own family, as flannel does it; where one of the two nodes lacks an
//! address of that family, in one of the other.

use super::cluster::{Cluster, PeerPlan, covering};
use super::fib::{Fib, Hop, is_link_local};
use super::inputs::Inputs;
use super::macs::{Use, derived};
use super::result::Report;
use super::slots::Slots;
use sluice_snapshot::{Adjacency, AdjacencyIndex, Forwarding, Link, Node, Peer, PeerSlot, Prefix, Route};
use sluice_vxlan::{OVERHEAD_V4, OVERHEAD_V6, Template, Tunnel};
use sluice_wire::{Addr, MacAddr, Scope};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What an adjacency leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Way {
    Direct(Addr),
    /// Node and family of the outer packet.
    Tunnel(String, bool),
}

/// Numbers that outlive a compilation.
#[derive(Debug)]
pub(super) struct Memo {
    peers: Slots<String>,
    adjacencies: Slots<Way>,
    /// Incarnation of each peer.
    serials: HashMap<String, u32>,
    next_serial: u32,
    last: Arc<Forwarding>,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            peers: Slots::new(1024, 16),
            adjacencies: Slots::new(4096, 16),
            serials: HashMap::new(),
            next_serial: 1,
            last: Arc::default(),
        }
    }
}

/// One compilation.
struct Pass<'a> {
    memo: &'a mut Memo,
    inputs: &'a Inputs<'a>,
    node: &'a Node,
    cluster: &'a Cluster<'a>,
    fib: &'a Fib<'a>,
    out: Forwarding,
    ways: HashSet<Way>,
    wanted: BTreeSet<(u32, Addr)>,
    /// What cannot be reached while a next hop does not answer.
    silent: BTreeMap<Addr, BTreeSet<String>>,
    reports: &'a mut Vec<Report>,
}

impl Memo {
    /// Everything about ways out, and the next hops to keep resolved.
    pub(super) fn compile(
        &mut self,
        inputs: &Inputs<'_>,
        node: &Node,
        cluster: &Cluster<'_>,
        fib: &Fib<'_>,
        reports: &mut Vec<Report>,
    ) -> (Arc<Forwarding>, BTreeSet<(u32, Addr)>) {
        self.peers.begin_round();
        self.adjacencies.begin_round();
        let out = Forwarding::default();
        let (ways, wanted, silent) = (HashSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut pass = Pass {
            memo: self,
            inputs,
            node,
            cluster,
            fib,
            out,
            ways,
            wanted,
            silent,
            reports,
        };
        // Later ones replace earlier ones for the same prefix.
        pass.underlay();
        pass.neighbours();
        pass.peers();
        pass.own();
        pass.report_silent();
        let Pass { out, ways, wanted, .. } = pass;
        self.adjacencies.keep(|way| ways.contains(way));
        let names: HashSet<&str> = cluster.peers.iter().map(|peer| peer.node.name.as_str()).collect();
        self.peers.keep(|name| names.contains(name.as_str()));
        self.serials.retain(|name, _| names.contains(name.as_str()));
        if *self.last != out {
            self.last = Arc::new(out);
        }
        (self.last.clone(), wanted)
    }
}

impl Pass<'_> {
    fn underlay(&mut self) {
        let uplink = &self.inputs.underlay.uplink;
        for route in self.fib.routes() {
            let base = route.prefix.base();
            let ours = covering(&self.cluster.prefixes, base).is_some_and(|prefix| prefix.covers(&route.prefix));
            if ours || base.is_multicast_or_broadcast() || is_link_local(base) {
                continue;
            }
            let to = match route.gateway {
                _ if route.ifindex != uplink.ifindex => Route::Host,
                None => Route::OnLink,
                Some(gateway) => {
                    self.wanted.insert((uplink.ifindex, gateway));
                    match self.direct(gateway) {
                        Some(at) => Route::Direct(at),
                        None => {
                            self.silent.entry(gateway).or_default().insert(route.prefix.to_string());
                            Route::Unresolved { next_hop: gateway }
                        }
                    }
                }
            };
            self.out.insert_route(route.prefix, to);
        }
    }

    fn neighbours(&mut self) {
        for (addr, _) in self.fib.neighbours() {
            let unusable = addr.is_multicast_or_broadcast() || is_link_local(addr) || self.fib.is_own(addr);
            let on_link = self.fib.hop(addr);
            let on_link = matches!(on_link, Hop::Uplink { next, .. } if next == addr);
            if unusable || !on_link || covering(&self.cluster.prefixes, addr).is_some() {
                continue;
            }
            if let Some(index) = self.direct(addr) {
                self.out.insert_route(Prefix::host(addr), Route::Direct(index));
            }
        }
    }

    /// The adjacency of a neighbour, if its MAC is known.
    fn direct(&mut self, next: Addr) -> Option<AdjacencyIndex> {
        let uplink = &self.inputs.underlay.uplink;
        let link = Link::Direct {
            dst: self.fib.mac(next)?,
            src: uplink.mac,
        };
        Some(self.adjacency(Way::Direct(next), uplink.mtu, link))
    }

    fn adjacency(&mut self, way: Way, mtu: u16, link: Link) -> AdjacencyIndex {
        let index = self.index(way);
        self.out.set_adjacency(
            index,
            Adjacency {
                port: self.inputs.uplink.slot,
                mtu,
                link,
            },
        );
        index
    }

    fn index(&mut self, way: Way) -> AdjacencyIndex {
        let index = AdjacencyIndex(self.memo.adjacencies.acquire(&way, |_| true));
        self.ways.insert(way);
        index
    }

    fn peers(&mut self) {
        let cluster = self.cluster;
        for plan in &cluster.peers {
            let name = &plan.node.name;
            let slot = PeerSlot(self.memo.peers.acquire(name, |_| true));
            let serial = *self.memo.serials.entry(name.clone()).or_insert_with(|| {
                self.memo.next_serial += 1;
                self.memo.next_serial - 1
            });
            let peer = Peer {
                name: name.clone(),
                scope: Scope::tunnel(serial),
                endpoints: plan.endpoints.clone(),
                prefixes: plan.prefixes.clone(),
            };
            self.out.set_peer(slot, peer);
            for v4 in [true, false] {
                let prefixes: Vec<Prefix> = plan.prefixes.iter().copied().filter(|p| p.is_v4() == v4).collect();
                if !prefixes.is_empty() {
                    let route = self.tunnel(plan, slot, v4);
                    prefixes
                        .into_iter()
                        .for_each(|prefix| self.out.insert_route(prefix, route));
                }
            }
        }
    }

    /// The route to a peer's pods of one family.
    fn tunnel(&mut self, plan: &PeerPlan<'_>, peer: PeerSlot, v4: bool) -> Route {
        let name = &plan.node.name;
        let ends = [v4, !v4].into_iter().find_map(|outer_v4| {
            let remote = if outer_v4 { plan.outer_v4 } else { plan.outer_v6 }?;
            let hop = self.fib.hop(remote);
            Some((outer_v4, remote, self.local_end(outer_v4, hop)?, hop))
        });
        let Some((outer_v4, remote, local, hop)) = ends else {
            if plan.outer_v4.or(plan.outer_v6).is_some() {
                let text = "this node has no address of the families that the other one is reached by; its pods cannot be reached";
                self.report(name, text.to_owned());
            }
            return Route::Tunnel {
                peer,
                adjacency: self.index(Way::Tunnel(name.clone(), v4)),
            };
        };
        let way = Way::Tunnel(name.clone(), outer_v4);
        let uplink = &self.inputs.underlay.uplink;
        let (next, mac) = match hop {
            Hop::Uplink { next, mac, .. } => (next, mac),
            Hop::NoRoute => {
                self.report(
                    name,
                    format!("there is no route to its address {remote}; its pods cannot be reached"),
                );
                return Route::Tunnel {
                    peer,
                    adjacency: self.index(way),
                };
            }
            Hop::Elsewhere(ifindex) => {
                let text = format!(
                    "its address {remote} is reached by interface number {ifindex}, not by the uplink {}; its pods cannot be reached",
                    uplink.name
                );
                self.report(name, text);
                return Route::Tunnel {
                    peer,
                    adjacency: self.index(way),
                };
            }
        };
        self.wanted.insert((uplink.ifindex, next));
        let Some(outer_dst_mac) = mac else {
            // The index is kept, so that flows find the same way when the next hop is back.
            self.index(way);
            self.silent.entry(next).or_default().insert(format!("node {name}"));
            return Route::Unresolved { next_hop: next };
        };
        let template = Template::new(&Tunnel {
            local,
            remote,
            outer_src_mac: uplink.mac,
            outer_dst_mac,
            vni: self.inputs.settings.vni,
            port: self.inputs.settings.tunnel_port,
            inner_src_mac: if outer_v4 {
                self.node.vtep_mac_v4
            } else {
                self.node.vtep_mac_v6
            },
            inner_dst_mac: vtep_mac(plan.node, outer_v4),
            checksum_v4: false,
        });
        let mtu = tunnel_mtu(self.inputs, outer_v4);
        let adjacency = match template {
            Some(template) => self.adjacency(way, mtu, Link::Tunnel(Box::new(template))),
            None => self.index(way),
        };
        Route::Tunnel { peer, adjacency }
    }

    /// Our outer address: what others know us by, else what the kernel would take.
    fn local_end(&self, v4: bool, hop: Hop) -> Option<Addr> {
        let own = self.cluster.own;
        let public = if v4 { own.vtep.public_v4 } else { own.vtep.public_v6 };
        let known = public
            .into_iter()
            .chain(own.internal_ips.iter().copied())
            .filter(|addr| addr.is_v4() == v4);
        let known = known.into_iter().find(|addr| self.fib.is_own(*addr));
        let preferred = match hop {
            Hop::Uplink { pref_src, .. } => pref_src.filter(|addr| addr.is_v4() == v4 && !is_link_local(*addr)),
            _ => None,
        };
        known.or(preferred).or_else(|| self.fib.uplink_addresses(v4).next())
    }

    fn own(&mut self) {
        for (_, addr) in self
            .inputs
            .underlay
            .addresses
            .iter()
            .filter(|(_, addr)| addr.is_v4() || !is_link_local(*addr))
        {
            self.out.insert_route(Prefix::host(*addr), Route::Host);
        }
        for prefix in &self.cluster.own_prefixes {
            self.out.insert_route(*prefix, Route::NoPod);
        }
        let bases = [self.node.base_v4, self.node.base_v6];
        for pod in self.inputs.pods {
            for addr in &pod.addrs {
                if bases.contains(&Some(*addr)) || self.fib.is_own(*addr) {
                    let text = format!("its address {addr} is the node's own; the node keeps it");
                    self.reports.push(Report::warning(format!("pod {}", pod.pod), text));
                } else {
                    self.out.insert_route(Prefix::host(*addr), Route::Pod(pod.slot));
                }
            }
        }
        for base in bases.into_iter().flatten() {
            self.out.insert_route(Prefix::host(base), Route::Host);
        }
    }

    /// One report for each next hop: a gateway may lead to a thousand nodes.
    fn report_silent(&mut self) {
        const NAMED: usize = 3;
        // That the uplink is down says all.
        if !self.inputs.underlay.uplink.up {
            return;
        }
        for (next, behind) in std::mem::take(&mut self.silent) {
            let named: Vec<&str> = behind.iter().take(NAMED).map(String::as_str).collect();
            let more = match behind.len().saturating_sub(NAMED) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let text = format!(
                "its MAC is not known, it is being asked for; until it answers, these cannot be reached: {}{more}",
                named.join(", ")
            );
            self.reports.push(Report::warning(format!("next hop {next}"), text));
        }
    }

    fn report(&mut self, node: &str, text: String) {
        self.reports.push(Report::warning(format!("node {node}"), text));
    }
}

/// Inner MAC of a node: flannel's annotation, else derived from its name as the node itself does.
pub(crate) fn vtep_mac(node: &crate::model::NodeRecord, outer_v4: bool) -> MacAddr {
    let (announced, use_) = if outer_v4 {
        (node.vtep.mac_v4, Use::VtepV4)
    } else {
        (node.vtep.mac_v6, Use::VtepV6)
    };
    announced.unwrap_or_else(|| derived(&node.name, use_))
}

/// Largest inner packet of a tunnel.
pub(super) fn tunnel_mtu(inputs: &Inputs<'_>, outer_v4: bool) -> u16 {
    let overhead = if outer_v4 { OVERHEAD_V4 } else { OVERHEAD_V6 } as u16;
    inputs
        .settings
        .tunnel_mtu
        .unwrap_or(inputs.underlay.uplink.mtu.saturating_sub(overhead))
}
