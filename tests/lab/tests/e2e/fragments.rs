//! Datagrams larger than any link, on every way: kernels cut them and put them together, the agent passes the pieces.

use crate::clients::{large_datagram, ping_with};
use crate::cluster::*;
use crate::faults;
use sluice_lab::Lab;
use std::net::IpAddr;

/// Three fragments on the widest way.
const SIZE: usize = 4000;

/// Who answers a datagram of [`SIZE`] bytes, which has to come back whole.
fn echo(lab: &Lab, from: &str, to: (IpAddr, u16)) -> String {
    large_datagram(&lab.place(from).unwrap(), to, SIZE)
}

/// Fragments that were dropped because of what they are: node, reason, how many.
fn dropped(lab: &Lab) -> Vec<(&'static str, String, u64)> {
    let mut found = Vec::new();
    for node in ["node-a", "node-b"] {
        let counters = lab.node(node).unwrap().sluice_json(&["counters"]).unwrap();
        for drop in counters["drops"].as_array().unwrap() {
            let (reason, packets) = (drop["reason"].as_str().unwrap(), drop["packets"].as_u64().unwrap());
            if reason.starts_with("fragment_") && packets > 0 {
                found.push((node, reason.to_owned(), packets));
            }
        }
    }
    found
}

#[test]
fn large_datagrams_pass_between_pods_through_services_and_outside() {
    in_lab(&two_nodes(), |lab| {
        for v6 in FAMILIES {
            for to in ["web-1", "web-2"] {
                assert_eq!(echo(lab, "user", (address(lab, to, v6), 7)), to);
            }
            // Through a service, until both endpoints have answered; from the pod that is an endpoint, too.
            for from in ["user", "web-1"] {
                let mut seen = std::collections::BTreeSet::new();
                let both = || {
                    seen.insert(echo(lab, from, (of(ECHO, v6), 7)));
                    seen.len() == 2
                };
                lab.wait("both endpoints to answer", PATIENCE, both).unwrap();
            }
            // From outside to a node port, and from a pod to the outside, behind the node's address.
            for node in [of(NODE_A, v6), of(NODE_B, v6)] {
                for _ in 0..4 {
                    let by = echo(lab, "outside", (node, 30007));
                    assert!(by == "web-1" || by == "web-2", "{by}");
                }
            }
            for from in ["user", "web-2"] {
                assert_eq!(echo(lab, from, (of(OUTSIDE, v6), 7)), "outside");
                let output = ping_with(&lab.pod(from).unwrap(), of(OUTSIDE, v6), &["-s", "4000"]);
                assert!(output.ok(), "{output}");
            }
            // From the node itself.
            assert_eq!(echo(lab, "node-a", (address(lab, "web-2", v6), 7)), "web-2");
        }
        // Of a fragment that a device lost, the others are dropped.
        assert!(faults::everywhere() || dropped(lab).is_empty(), "{:?}", dropped(lab));
    });
}
