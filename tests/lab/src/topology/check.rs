//! Refuses topologies whose parts contradict each other. It never repairs one.

use super::{Topology, UnderlayKind};
use anyhow::{Result, bail, ensure};
use std::collections::HashSet;
use std::net::IpAddr;

/// Longest name of a lab, node, pod or client: Unix socket paths end at 108 bytes, interface names are numbered anyway.
const NAME_MAX: usize = 32;

pub(super) fn check(t: &Topology) -> Result<()> {
    check_name("lab", &t.name)?;
    ensure!(
        !t.nodes.is_empty(),
        "nodes: the list is empty; a lab needs at least one node"
    );
    ensure!(
        (1280..=9216).contains(&t.underlay.mtu),
        "underlay.mtu: {} is outside 1280 to 9216; IPv6 does not work below",
        t.underlay.mtu
    );
    let mut names = HashSet::from(["net"]);
    let mut addresses = HashSet::new();
    for node in &t.nodes {
        check_new("node", &node.name, &mut names)?;
        check_pair("node", &node.name, "addresses", node.addresses.iter().map(|n| n.addr()))?;
        check_pair("node", &node.name, "podCIDRs", node.pod_cidrs.iter().map(|n| n.addr()))?;
        ensure!(
            (1..=64).contains(&node.workers),
            "node {}: workers: {} is outside 1 to 64",
            node.name,
            node.workers
        );
        let queues = t.queues(node);
        ensure!(
            (1..=64).contains(&queues),
            "node {}: queues: {queues} is outside 1 to 64",
            node.name
        );
        let mtu = t.mtu(node);
        ensure!(
            (1280..=9216).contains(&mtu),
            "node {}: mtu: {mtu} is outside 1280 to 9216",
            node.name
        );
        for net in &node.pod_cidrs {
            ensure!(
                net.network() == net.addr(),
                "node {}: podCIDRs: {net} has host bits set; the subnet is {}",
                node.name,
                net.trunc()
            );
            ensure!(
                t.cluster_cidrs.iter().any(|c| c.contains(net)),
                "node {}: podCIDRs: {net} lies outside clusterCIDRs; it would be masqueraded",
                node.name
            );
        }
        for net in &node.addresses {
            ensure!(
                addresses.insert(net.addr()),
                "node {}: address {} is used twice",
                node.name,
                net.addr()
            );
        }
    }
    if t.underlay.kind == UnderlayKind::Cable {
        let [a, b] = t.nodes.as_slice() else {
            bail!(
                "underlay.kind: a cable has two ends, and there are {} nodes",
                t.nodes.len()
            )
        };
        ensure!(
            t.clients.is_empty(),
            "underlay.kind: a cable between two nodes has no place for clients; use kind: bridge"
        );
        ensure!(
            (t.mtu(a), t.queues(a)) == (t.mtu(b), t.queues(b)),
            "nodes {} and {}: both ends of a cable have the same mtu and the same queues",
            a.name,
            b.name
        );
    }
    for (i, a) in t.nodes.iter().enumerate() {
        for b in &t.nodes[..i] {
            for (x, y) in a.pod_cidrs.iter().flat_map(|x| b.pod_cidrs.iter().map(move |y| (x, y))) {
                ensure!(
                    !x.contains(y) && !y.contains(x),
                    "nodes {} and {}: podCIDRs {y} and {x} overlap",
                    b.name,
                    a.name
                );
            }
        }
    }
    for pod in &t.pods {
        check_new("pod", &pod.name, &mut names)?;
        let Some(node) = t.node(&pod.node) else {
            bail!("pod {}: node: there is no node {}", pod.name, pod.node)
        };
        check_pair("pod", &pod.name, "addresses", pod.addresses.iter().copied())?;
        for address in &pod.addresses {
            let inside = node
                .pod_cidrs
                .iter()
                .any(|c| c.contains(address) && c.network() != *address);
            ensure!(
                inside,
                "pod {}: address {address} lies outside the podCIDRs of {}",
                pod.name,
                node.name
            );
            ensure!(
                addresses.insert(*address),
                "pod {}: address {address} is used twice",
                pod.name
            );
        }
    }
    for client in &t.clients {
        check_new("client", &client.name, &mut names)?;
        check_pair(
            "client",
            &client.name,
            "addresses",
            client.addresses.iter().map(|n| n.addr()),
        )?;
        for net in &client.addresses {
            ensure!(
                addresses.insert(net.addr()),
                "client {}: address {} is used twice",
                client.name,
                net.addr()
            );
        }
    }
    for service in &t.services {
        check_name("service", &service.name)?;
        check_pair(
            "service",
            &service.name,
            "clusterIPs",
            service.cluster_ips.iter().copied(),
        )?;
        ensure!(
            !service.ports.is_empty(),
            "service {}: ports: the list is empty",
            service.name
        );
    }
    check_segment(t)
}

/// On a bridge everybody is on the link of everybody else, so all must be in one subnet of each family.
fn check_segment(t: &Topology) -> Result<()> {
    if t.underlay.kind == UnderlayKind::Router {
        return Ok(());
    }
    for v6 in [false, true] {
        let mut seen: Option<(&str, ipnet::IpNet)> = None;
        let all = t.nodes.iter().map(|n| (n.name.as_str(), &n.addresses));
        for (name, nets) in all.chain(t.clients.iter().map(|c| (c.name.as_str(), &c.addresses))) {
            let Some(net) = super::of_family(nets, v6).map(|n| n.trunc()) else {
                continue;
            };
            match seen {
                Some((first, other)) if other != net => bail!(
                    "underlay: {first} is in {other} and {name} in {net}, but kinds bridge and cable are one segment; use kind router"
                ),
                Some(_) => {}
                None => seen = Some((name, net)),
            }
        }
    }
    Ok(())
}

/// Names become namespaces, files and Kubernetes objects: lower case letters, digits and dashes, at most 32.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = name.starts_with('-') || name.ends_with('-');
    ensure!(
        !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(plain) && !edges,
        "{what} name `{name}`: use 1 to {NAME_MAX} of a-z, 0-9 and dashes inside"
    );
    Ok(())
}

fn check_new<'t>(what: &str, name: &'t str, names: &mut HashSet<&'t str>) -> Result<()> {
    check_name(what, name)?;
    ensure!(
        names.insert(name),
        "{what} {name}: the name is taken; names of nodes, pods and clients share one space"
    );
    Ok(())
}

fn check_pair(what: &str, name: &str, key: &str, addresses: impl Iterator<Item = IpAddr>) -> Result<()> {
    let families: Vec<bool> = addresses.map(|a| a.is_ipv6()).collect();
    let ok = matches!(families[..], [_]) || matches!(families[..], [a, b] if a != b);
    ensure!(
        ok,
        "{what} {name}: {key}: one IPv4, one IPv6, or one of each is needed; there are {}",
        families.len()
    );
    Ok(())
}
