//! A node whose kernel forwards, set up as flannel's vxlan backend and its CNI plugin leave it. Facts only: vni 1, port
//! 8472, learning off, for each peer a permanent neighbour, a permanent FDB entry and an on-link route; never an ARP.

use super::{Step, Tool, address, step};
use crate::topology::{Node, NodeKind, Pod, Topology, nth};
use ipnet::IpNet;

/// Bytes that flannel subtracts from the uplink's MTU, for both families although IPv6 needs 70.
const OVERHEAD: u32 = 50;

/// The tunnel devices, the pods' bridge, and the way to every other node.
pub(super) fn node(t: &Topology, index: usize) -> Vec<Step> {
    let node = &t.nodes[index];
    let mtu = t.mtu(node) - OVERHEAD;
    let mut ip = vec![
        format!("link add cni0 mtu {mtu} type bridge forward_delay 0 mcast_snooping 0"),
        "link set cni0 up".into(),
    ];
    let mut fdb = Vec::new();
    for v6 in [false, true] {
        let Some(subnet) = node.pod_cidr(v6) else { continue };
        ip.push(address(gateway(subnet), "cni0"));
        let Some(local) = node.address(v6) else { continue };
        let device = device(v6);
        let mac = t.vtep_mac(index);
        ip.push(format!(
            "link add {device} address {mac} mtu {mtu} type vxlan id 1 dev eth0 local {} dstport 8472 nolearning",
            local.addr()
        ));
        ip.push(address(subnet.network().into(), device));
        ip.push(format!("link set {device} up"));
        for (i, peer) in t.nodes.iter().enumerate().filter(|(i, _)| *i != index) {
            let (Some(subnet), Some(public)) = (peer.pod_cidr(v6), peer.address(v6)) else {
                continue;
            };
            let (base, mac) = (subnet.network(), t.vtep_mac(i));
            ip.push(format!("neigh replace {base} lladdr {mac} dev {device} nud permanent"));
            ip.push(format!("route replace {subnet} via {base} dev {device} onlink"));
            fdb.push(format!(
                "fdb append {mac} dev {device} dst {} self permanent",
                public.addr()
            ));
        }
    }
    let nat = vec![masquerade(t, node)];
    vec![
        step(&node.name, Tool::Ip, ip),
        step(&node.name, Tool::Bridge, fdb),
        step(&node.name, Tool::Nft, nat),
    ]
}

/// Pods on such nodes: a veth each, plugged into the bridge.
pub(super) fn pods(t: &Topology, namespace: &dyn Fn(&str) -> String) -> Vec<Step> {
    let on_linux = |pod: &Pod| t.node(&pod.node).filter(|n| n.kind == NodeKind::Linux);
    let mut steps = Vec::new();
    for (i, pod) in t.pods.iter().enumerate() {
        let Some(node) = on_linux(pod) else { continue };
        let mtu = t.mtu(node) - OVERHEAD;
        let peer = namespace(&node.name);
        let mut lines = vec![format!(
            "link add eth0 mtu {mtu} type veth peer name veth{i} mtu {mtu} netns {peer}"
        )];
        let subnet = |v6| node.pod_cidr(v6);
        for ip in &pod.addresses {
            let Some(net) = subnet(ip.is_ipv6()).and_then(|s| IpNet::new(*ip, s.prefix_len()).ok()) else {
                continue;
            };
            lines.push(address(net, "eth0"));
        }
        lines.push("link set eth0 up".into());
        for ip in &pod.addresses {
            let Some(subnet) = subnet(ip.is_ipv6()) else { continue };
            lines.push(format!("route add default via {} dev eth0", gateway(subnet).addr()));
        }
        steps.push(step(&pod.name, Tool::Ip, lines));
        steps.push(step(
            &node.name,
            Tool::Ip,
            vec![format!("link set veth{i} master cni0 up")],
        ));
        steps.push(step(
            &node.name,
            Tool::Bridge,
            vec![format!("link set dev veth{i} hairpin on")],
        ));
    }
    steps
}

/// The chain FLANNEL-POSTRTG in nftables' words: pods reach each other under their own addresses and everything else
/// under the node's; nobody outside is rewritten on the way to this node's pods.
fn masquerade(t: &Topology, node: &Node) -> String {
    let mut rules = String::new();
    for (v6, family, multicast) in [(false, "ip", "224.0.0.0/4"), (true, "ip6", "ff00::/8")] {
        let Some(local) = node.pod_cidr(v6) else { continue };
        let Some(cluster) = t.cluster_cidrs.iter().find(|c| c.contains(&local)) else {
            continue;
        };
        rules.push_str(&format!(
            "{family} saddr {local} {family} daddr {cluster} return\n\
             {family} saddr {cluster} {family} daddr {local} return\n\
             {family} saddr != {cluster} {family} daddr {local} return\n\
             {family} saddr {cluster} {family} daddr != {multicast} masquerade fully-random\n\
             {family} saddr != {cluster} {family} daddr {cluster} masquerade fully-random\n"
        ));
    }
    format!(
        "table inet flannel {{\nchain postrouting {{\ntype nat hook postrouting priority 100; policy accept;\n{rules}}}\n}}"
    )
}

fn device(v6: bool) -> &'static str {
    if v6 { "flannel-v6.1" } else { "flannel.1" }
}

/// The bridge's address: the first of the subnet.
fn gateway(subnet: IpNet) -> IpNet {
    IpNet::new(nth(subnet, 1), subnet.prefix_len()).expect("a prefix length taken from a network")
}
