//! Nodes without any IPv4 address: tunnels are IPv6, pods have both families or IPv6 alone.

use crate::clients::{bulk, curl, echoes, fits, ping, ping_with, reaches};
use crate::cluster::*;
use serde_json::Value;
use sluice_lab::topology::UnderlayKind;
use sluice_lab::{Lab, Topology};
use std::net::IpAddr;

/// What is left of [`two_nodes`] without IPv4 on nodes and outside.
fn without_ipv4() -> Topology {
    let mut topology = two_nodes();
    let nodes = topology.nodes.iter_mut().map(|node| &mut node.addresses);
    let clients = topology.clients.iter_mut().map(|client| &mut client.addresses);
    nodes
        .chain(clients)
        .for_each(|nets| nets.retain(|net| net.addr().is_ipv6()));
    topology
}

/// Pods and services without IPv4 as well.
fn ipv6_alone() -> Topology {
    let mut topology = without_ipv4();
    topology.cluster_cidrs.retain(|net| net.addr().is_ipv6());
    for node in &mut topology.nodes {
        node.pod_cidrs.retain(|net| net.addr().is_ipv6());
    }
    for pod in &mut topology.pods {
        pod.addresses.retain(IpAddr::is_ipv6);
    }
    for service in &mut topology.services {
        service.cluster_ips.retain(IpAddr::is_ipv6);
    }
    topology
}

fn everything_works(lab: &Lab, families: &[bool]) {
    let (user, outside) = (lab.pod("user").unwrap(), lab.place("outside").unwrap());
    for &v6 in families {
        for (from, to) in [("user", "web-1"), ("user", "web-2"), ("web-2", "web-1")] {
            reaches(lab, from, to, v6);
        }
        assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
        assert!(echoes(&user, (of(ECHO, v6), 7), 1)[0].starts_with("web-"));
        // The host itself, and whole segments.
        ping(&lab.node("node-a").unwrap(), address(lab, "web-2", v6));
        bulk(&user, (address(lab, "web-2", v6), 80), "").unwrap();
    }
    let target = of(OUTSIDE, true);
    ping(&user, target);
    assert_eq!(curl(&user, target, "/from"), NODE_A[1], "masqueraded to the node");
    assert_eq!(echoes(&user, (target, 7), 1), ["outside"]);
    assert!(curl(&outside, (of(NODE_A, true), 30080), "/").starts_with("web-"));
    assert!(echoes(&outside, (of(NODE_A, true), 30007), 1)[0].starts_with("web-"));
    for node in &lab.topology().nodes {
        let node = lab.node(&node.name).unwrap();
        assert_eq!(warnings(&node), Vec::<Value>::new());
        let status = node.sluice_json(&["status"]).unwrap();
        assert_eq!(status["host"]["mtu"], 1430, "an outer IPv6 header takes 70 bytes");
    }
}

#[test]
fn pods_of_both_families_over_ipv6() {
    in_lab(&without_ipv4(), |lab| {
        everything_works(lab, &FAMILIES);
        let user = lab.pod("user").unwrap();
        let link = user.run(&["ip", "link", "show", "eth0"]).unwrap();
        assert!(link.stdout.contains("mtu 1430"), "{link}");
        FAMILIES
            .iter()
            .for_each(|v6| fits(&user, address(lab, "web-2", *v6), 1430));
        // There is nothing that a pod's IPv4 could be masqueraded to; the pod hears so at once.
        let nowhere = ping_with(&user, of(OUTSIDE, false), &[]);
        assert!(
            !nowhere.ok() && nowhere.stdout.contains("Destination Net Unreachable"),
            "{nowhere}"
        );
    });
}

#[test]
fn pods_of_both_families_over_ipv6_across_a_router() {
    let mut topology = without_ipv4();
    topology.underlay.kind = UnderlayKind::Router;
    topology.nodes[1].addresses = vec!["2001:db8:3::12/64".parse().unwrap()];
    in_lab(&topology, |lab| everything_works(lab, &FAMILIES));
}

#[test]
fn pods_and_services_of_ipv6_alone() {
    in_lab(&ipv6_alone(), |lab| everything_works(lab, &[true]));
}
