//! Decides what the packet path knows of this node and of its ports. It never opens or closes a port.

use super::cluster::Cluster;
use super::fib::Fib;
use super::forwarding::vtep_mac;
use super::inputs::Inputs;
use super::macs::{Use, derived};
use sluice_snapshot::{Node, Port, PortKind, PortTable, Prefix};
use sluice_wire::Addr;
use std::sync::Arc;

/// The facts about this node.
pub(super) fn node(inputs: &Inputs<'_>, cluster: &Cluster<'_>, fib: &Fib<'_>, services: &[Prefix]) -> Node {
    let settings = inputs.settings;
    let base = |v4: bool| cluster.own_prefixes.iter().find(|p| p.is_v4() == v4).map(Prefix::base);
    Node {
        name: settings.node_name.clone(),
        vni: settings.vni,
        tunnel_port: settings.tunnel_port,
        gateway_mac: derived(&settings.node_name, Use::Gateway),
        vtep_mac_v4: vtep_mac(cluster.own, true),
        vtep_mac_v6: vtep_mac(cluster.own, false),
        addresses: inputs.underlay.addresses.iter().map(|(_, addr)| *addr).collect(),
        base_v4: base(true),
        base_v6: base(false),
        outside_v4: outside(fib, true),
        outside_v6: outside(fib, false),
        cluster_prefixes: cluster.prefixes.iter().copied().collect(),
        service_prefixes: services.iter().copied().collect(),
        host_port: inputs.host.slot,
        uplink_port: inputs.uplink.slot,
        masquerade_ports: settings.masquerade_ports,
    }
}

/// Source towards outside: what the default route prefers, else the uplink's first address.
fn outside(fib: &Fib<'_>, v4: bool) -> Option<Addr> {
    let anywhere = if v4 { Addr::v4([0; 4]) } else { Addr::v6([0; 16]) };
    let default = Prefix::new(anywhere, 0)?;
    let uplink = fib.underlay.uplink.ifindex;
    let route = fib
        .routes()
        .find(|route| route.prefix == default && route.ifindex == uplink);
    let preferred = route
        .and_then(|route| route.pref_src)
        .filter(|addr| addr.is_v4() == v4 && fib.is_own(*addr));
    preferred.or_else(|| fib.uplink_addresses(v4).next())
}

/// All ports, those of `before` where nothing changed.
pub(super) fn ports(inputs: &Inputs<'_>, before: &Arc<PortTable>) -> Arc<PortTable> {
    let mut table = PortTable::default();
    for pod in inputs.pods {
        let kind = PortKind::Pod {
            mac: pod.mac,
            addrs: pod.addrs.clone().into_boxed_slice(),
            name: Arc::from(pod.pod.as_str()),
        };
        table.set(
            pod.slot,
            Some(Arc::new(Port {
                scope: pod.scope,
                kind,
                mtu: pod.mtu,
                caps: pod.caps,
            })),
        );
    }
    let host = inputs.host;
    let kind = PortKind::Host { mac: host.mac };
    table.set(
        host.slot,
        Some(Arc::new(Port {
            scope: host.scope,
            kind,
            mtu: host.mtu,
            caps: host.caps,
        })),
    );
    let (uplink, link) = (inputs.uplink, &inputs.underlay.uplink);
    let kind = PortKind::Uplink { mac: link.mac };
    table.set(
        uplink.slot,
        Some(Arc::new(Port {
            scope: uplink.scope,
            kind,
            mtu: link.mtu,
            caps: uplink.caps,
        })),
    );
    if table == **before {
        before.clone()
    } else {
        Arc::new(table)
    }
}
