//! What traceroute sees: which routers a packet passes, in the pods' own eyes.

use crate::cluster::*;
use crate::faults;
use sluice_lab::topology::NodeKind;
use sluice_lab::{Place, Topology};
use std::net::IpAddr;

/// The first address of each node's range: the name of a node in the cluster.
const BASE_A: [&str; 2] = ["10.244.1.0", "fd00:244:1::"];
const BASE_B: [&str; 2] = ["10.244.2.0", "fd00:244:2::"];
const ROUTER: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];
/// Served by web-2 only.
const FAR: [&str; 2] = ["10.96.0.30", "fd00:96::1e"];

fn routed() -> Topology {
    across_a_router(two_nodes_and(
        r#"  - {name: far, clusterIPs: [10.96.0.30, "fd00:96::1e"], selector: {name: web-2}, ports: [{name: http, port: 80}]}
"#,
    ))
}

/// The hops in their order; nobody where there was no answer.
fn trace(from: &Place<'_>, to: IpAddr, how: &[&str]) -> Vec<Option<IpAddr>> {
    let to = to.to_string();
    // One probe a hop, and no guess from other hops' times about how long an answer may take.
    let command = [&["traceroute", "-n", "-q", "1", "-m", "4", "-w", "5,0,0"], how, &[&to]].concat();
    let hop = |line: &str| {
        let mut words = line.split_whitespace();
        words.next()?.parse::<u8>().ok()?;
        Some(words.next()?.parse().ok())
    };
    let hops = || -> Vec<_> {
        let said = from.run(&command).unwrap();
        let lines = said.text().unwrap().lines().skip(1);
        lines
            .map(|line| hop(line).unwrap_or_else(|| panic!("{said}")))
            .collect()
    };
    faults::again(hops, |seen| !seen.contains(&None))
}

const UDP: &[&str] = &[];
const ECHO_REQUEST: &[&str] = &["-I"];
const TCP: &[&str] = &["-T", "-p", "80"];

#[test]
fn every_hop_says_its_name_and_none_is_missing() {
    in_lab(&routed(), |lab| {
        let user = lab.pod("user").unwrap();
        for v6 in FAMILIES {
            let hops = |pairs: &[[&str; 2]]| -> Vec<_> { pairs.iter().map(|pair| Some(of(*pair, v6))).collect() };
            let (here, there) = (address(lab, "web-1", v6), address(lab, "web-2", v6));
            for how in [UDP, ECHO_REQUEST, TCP] {
                let seen = trace(&user, here, how);
                assert_eq!(seen, [Some(of(BASE_A, v6)), Some(here)], "{how:?}");
                let seen = trace(&user, there, how);
                assert_eq!(
                    seen,
                    [Some(of(BASE_A, v6)), Some(of(BASE_B, v6)), Some(there)],
                    "{how:?}"
                );
                // The router's word is about a packet with the node's address in it.
                let seen = trace(&user, of(FAR_OUTSIDE, v6), how);
                assert_eq!(seen, hops(&[BASE_A, ROUTER, FAR_OUTSIDE]), "{how:?}");
            }
            let from_node = trace(&lab.node("node-a").unwrap(), there, UDP);
            assert_eq!(
                from_node,
                [Some(of(BASE_B, v6)), Some(there)],
                "the node is no hop after itself"
            );
            assert_eq!(trace(&user, of(FAR, v6), TCP), hops(&[BASE_A, BASE_B, FAR]));
            assert_eq!(
                trace(&user, of(FAR_NODE_B, v6), ECHO_REQUEST),
                hops(&[BASE_A, ROUTER, FAR_NODE_B])
            );
            assert_eq!(
                trace(&user, of(NODE_A, v6), ECHO_REQUEST),
                hops(&[NODE_A]),
                "the node is no hop before itself"
            );
        }
    });
}

/// The same way in the eyes of both kinds of node.
#[test]
fn a_flannel_node_and_ours_are_hops_to_each_other() {
    let mut topology = two_nodes();
    topology.nodes[1].kind = NodeKind::Linux;
    in_lab(&topology, |lab| {
        for v6 in FAMILIES {
            let (user, far) = (address(lab, "user", v6), address(lab, "web-2", v6));
            let seen = trace(&lab.pod("user").unwrap(), far, UDP);
            assert_eq!(seen, [Some(of(BASE_A, v6)), Some(of(BASE_B, v6)), Some(far)]);
            let seen = trace(&lab.pod("web-2").unwrap(), user, UDP);
            assert_eq!((seen.len(), &seen[1..]), (3, &[Some(of(BASE_A, v6)), Some(user)][..]));
        }
    });
}
