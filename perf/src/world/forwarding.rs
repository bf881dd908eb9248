//! Decides the node itself, its routes and its tunnels.

use super::addresses::{
    Family, GATEWAY_MAC, HOST, OUR_VTEP, ROUTER_MAC, TUNNEL_PORT, UPLINK, UPLINK_MAC, nodes_for, pod_slot, vtep_of,
};
use super::{Size, UNDERLAY_MTU, pods, remotes};
use sluice_snapshot::{Adjacency, AdjacencyIndex, Forwarding, Link, Node, Peer, PeerSlot, Prefix, Prefixes, Route};
use sluice_vxlan::{OVERHEAD_V4, OVERHEAD_V6, Template, Tunnel};
use sluice_wire::{Scope, Vni};

pub(super) const ROUTER: AdjacencyIndex = AdjacencyIndex(0);

fn vni() -> Vni {
    Vni::new(1).expect("1 has fewer than 24 bits")
}

pub(super) fn node(family: Family) -> Node {
    let own = |of: Family| (of == family).then(|| of.base());
    let outside = |of: Family| (of == family).then(|| of.this_node());
    Node {
        name: "this".into(),
        vni: vni(),
        tunnel_port: TUNNEL_PORT,
        gateway_mac: GATEWAY_MAC,
        vtep_mac_v4: OUR_VTEP,
        vtep_mac_v6: OUR_VTEP,
        addresses: [family.this_node()].into_iter().collect(),
        base_v4: own(Family::V4),
        base_v6: own(Family::V6),
        outside_v4: outside(Family::V4),
        outside_v6: outside(Family::V6),
        cluster_prefixes: [family.cluster()].into_iter().collect(),
        service_prefixes: Prefixes::default(),
        host_port: HOST,
        uplink_port: UPLINK,
        masquerade_ports: super::addresses::MASQUERADE,
    }
}

pub(super) fn forwarding(size: &Size) -> Forwarding {
    let family = size.family;
    let mut forwarding = Forwarding::default();
    for own in [family.base(), family.this_node()] {
        forwarding.insert_route(Prefix::host(own), Route::Host);
    }
    forwarding.insert_route(family.everything(), Route::Direct(ROUTER));
    forwarding.insert_route(family.own_pods(), Route::NoPod);
    for n in 0..pods(size) {
        forwarding.insert_route(Prefix::host(family.pod(n)), Route::Pod(pod_slot(n)));
    }
    let link = Link::Direct {
        dst: ROUTER_MAC,
        src: UPLINK_MAC,
    };
    forwarding.set_adjacency(ROUTER, adjacency(UNDERLAY_MTU, link));
    for n in 0..nodes_for(remotes(size)) {
        add_node(&mut forwarding, family, n);
    }
    forwarding
}

fn add_node(forwarding: &mut Forwarding, family: Family, n: u32) {
    let (peer, index) = (PeerSlot(n), AdjacencyIndex(n + 1));
    let tunnel = Tunnel {
        local: family.this_node(),
        remote: family.node(n),
        outer_src_mac: UPLINK_MAC,
        outer_dst_mac: ROUTER_MAC,
        vni: vni(),
        port: TUNNEL_PORT,
        inner_src_mac: OUR_VTEP,
        inner_dst_mac: vtep_of(n),
        // As the agent has it, and flannel.
        checksum_v4: false,
    };
    let overhead = match family {
        Family::V4 => OVERHEAD_V4,
        Family::V6 => OVERHEAD_V6,
    };
    let template = Template::new(&tunnel).expect("both ends are of one family");
    let mtu = UNDERLAY_MTU - overhead as u16;
    forwarding.set_adjacency(index, adjacency(mtu, Link::Tunnel(Box::new(template))));
    forwarding.set_peer(
        peer,
        Peer {
            name: format!("node-{n}"),
            scope: Scope::tunnel(n + 1),
            endpoints: vec![family.node(n)],
            prefixes: vec![family.node_pods(n)],
        },
    );
    forwarding.insert_route(family.node_pods(n), Route::Tunnel { peer, adjacency: index });
}

fn adjacency(mtu: u16, link: Link) -> Adjacency {
    Adjacency {
        port: UPLINK,
        mtu,
        link,
    }
}
