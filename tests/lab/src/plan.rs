//! Which namespaces a topology needs and what is typed into each: pure text, in order. It never runs anything.

mod flannel;
#[cfg(test)]
mod tests;

use crate::topology::{NodeKind, Topology, UnderlayKind, nth, of_family};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// The namespace of the wire, beside those of nodes, pods and clients.
pub(crate) const UNDERLAY: &str = "net";

/// What to do in one namespace, in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Name of the node, pod or client, or [`UNDERLAY`].
    pub(crate) place: String,
    pub(crate) tool: Tool,
    /// One line each, without the tool's name.
    pub(crate) lines: Vec<String>,
}

/// Who understands the lines of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `key value` below `/proc/sys`, slashes as separators.
    Sysctl,
    /// `ip -batch`.
    Ip,
    /// `bridge -batch`.
    Bridge,
    /// `nft -f`.
    Nft,
    /// `ethtool`, one call a line.
    Ethtool,
}

/// Every place that gets a namespace; the wire first.
pub(crate) fn places(t: &Topology) -> Vec<String> {
    let nodes = t.nodes.iter().map(|n| &n.name);
    let names = nodes
        .chain(t.clients.iter().map(|c| &c.name))
        .chain(t.pods.iter().map(|p| &p.name));
    std::iter::once(UNDERLAY.to_string()).chain(names.cloned()).collect()
}

/// All steps, in the order in which they work. `namespace` maps a place to the name of its namespace.
pub(crate) fn steps(t: &Topology, namespace: &dyn Fn(&str) -> String) -> Vec<Step> {
    let mut steps = Vec::new();
    for place in places(t) {
        let node = t.node(&place).is_some();
        let forwards = node || (place == UNDERLAY && t.underlay.kind == UnderlayKind::Router);
        steps.push(step(&place, Tool::Sysctl, sysctls(forwards, node)));
        steps.push(step(&place, Tool::Ip, vec!["link set lo up".into()]));
    }
    let wire = namespace(UNDERLAY);
    for (i, node) in t.nodes.iter().enumerate() {
        let far_end = match t.underlay.kind {
            UnderlayKind::Bridge | UnderlayKind::Router => Some((format!("n{i}"), wire.clone())),
            UnderlayKind::Cable if i == 0 => Some(("eth0".into(), namespace(&t.nodes[1].name))),
            UnderlayKind::Cable => None,
        };
        steps.push(uplink(
            t,
            &node.name,
            far_end,
            &node.addresses,
            t.mtu(node),
            t.queues(node),
        ));
        steps.push(no_offloads(&node.name));
        if node.kind == NodeKind::Linux {
            steps.extend(flannel::node(t, i));
        }
    }
    for (i, client) in t.clients.iter().enumerate() {
        let far_end = Some((format!("c{i}"), wire.clone()));
        steps.push(uplink(t, &client.name, far_end, &client.addresses, t.underlay.mtu, 1));
        steps.push(no_offloads(&client.name));
    }
    steps.push(segments(t));
    steps.extend(flannel::pods(t, namespace));
    steps
}

/// What a node's or client's interface to the wire looks like from its own side. Without a name and namespace of its far end it is the
/// far end of one that was made before.
fn uplink(t: &Topology, place: &str, far_end: Option<(String, String)>, nets: &[IpNet], mtu: u32, queues: u32) -> Step {
    let count = format!("numtxqueues {queues} numrxqueues {queues}");
    let made =
        |(port, wire)| format!("link add eth0 mtu {mtu} {count} type veth peer name {port} netns {wire} {count}");
    let mut lines: Vec<String> = far_end.map(made).into_iter().collect();
    lines.extend(nets.iter().map(|net| address(*net, "eth0")));
    lines.push(format!("link set eth0 mtu {mtu} up"));
    if t.underlay.kind == UnderlayKind::Router {
        lines.extend(
            nets.iter()
                .map(|net| format!("route add default via {} dev eth0", nth(*net, 1))),
        );
    }
    step(place, Tool::Ip, lines)
}

/// No NIC fills in what a veth leaves undone: a frame that an XDP program sees at the other end must be complete.
fn no_offloads(place: &str) -> Step {
    step(
        place,
        Tool::Ethtool,
        vec!["-K eth0 tx off sg off tso off gso off gro off".into()],
    )
}

/// The wire's own side: a bridge for each segment, and on a router its addresses.
fn segments(t: &Topology) -> Step {
    if t.underlay.kind == UnderlayKind::Cable {
        return step(UNDERLAY, Tool::Ip, Vec::new());
    }
    let routed = t.underlay.kind == UnderlayKind::Router;
    let mut lines = Vec::new();
    let mut bridges: BTreeMap<String, usize> = BTreeMap::new();
    let nodes = t
        .nodes
        .iter()
        .enumerate()
        .map(|(i, n)| (format!("n{i}"), &n.addresses, t.mtu(n)));
    let clients = t
        .clients
        .iter()
        .enumerate()
        .map(|(i, c)| (format!("c{i}"), &c.addresses, t.underlay.mtu));
    for (port, nets, mtu) in nodes.chain(clients) {
        let segment = of_family(nets, false)
            .or(of_family(nets, true))
            .map(|n| n.trunc().to_string());
        let key = if routed {
            segment.unwrap_or_default()
        } else {
            String::new()
        };
        let next = bridges.len();
        let index = *bridges.entry(key).or_insert(next);
        let bridge = format!("br{index}");
        if index == next {
            lines.push(format!(
                "link add {bridge} type bridge forward_delay 0 mcast_snooping 0"
            ));
            lines.push(format!("link set {bridge} up"));
        }
        lines.push(format!("link set {port} mtu {mtu} master {bridge} up"));
        for net in nets.iter().filter(|_| routed) {
            let gateway = IpNet::new(nth(*net, 1), net.prefix_len()).expect("a prefix length taken from a network");
            // The second member of a segment finds the address there; `replace` makes that no error.
            lines.push(address(gateway, &bridge).replacen(" add ", " replace ", 1));
        }
    }
    step(UNDERLAY, Tool::Ip, lines)
}

/// `address add`, without waiting for duplicate address detection.
fn address(net: IpNet, device: &str) -> String {
    let nodad = if net.addr().is_ipv6() { " nodad" } else { "" };
    format!("address add {net} dev {device}{nodad}")
}

/// A Kubernetes node forwards, and answers on whatever path the packet took; nobody waits for duplicate addresses.
fn sysctls(forwards: bool, node: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for scope in ["all", "default"] {
        lines.push(format!("net/ipv6/conf/{scope}/accept_dad 0"));
        lines.push(format!("net/ipv6/conf/{scope}/accept_ra 0"));
        if forwards {
            lines.push(format!("net/ipv6/conf/{scope}/forwarding 1"));
            lines.push(format!("net/ipv4/conf/{scope}/forwarding 1"));
        }
        if node {
            lines.push(format!("net/ipv4/conf/{scope}/rp_filter 0"));
        }
    }
    lines.push("net/ipv4/ping_group_range 0 2147483647".into());
    lines
}

fn step(place: &str, tool: Tool, lines: Vec<String>) -> Step {
    Step {
        place: place.into(),
        tool,
        lines,
    }
}
