//! What stays the node's own beside the packet path.

use crate::cluster::*;
use sluice_lab::{Lab, Place};
use std::net::IpAddr;

/// Whether one ping with this identifier is answered.
fn answered(from: &Place<'_>, to: IpAddr, id: u16) -> bool {
    let (id, to) = (id.to_string(), to.to_string());
    from.run(&["ping", "-n", "-c", "1", "-W", "3", "-e", &id, &to])
        .unwrap()
        .ok()
}

/// Masqueraded pings have an identifier of the masquerade range at the node, the node's own have any: both are answered.
#[test]
fn the_nodes_own_pings_are_answered_beside_those_of_its_pods() {
    in_lab(&two_nodes(), |lab: &Lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        for v6 in FAMILIES {
            let to = of(OUTSIDE, v6);
            for step in 0..10 {
                assert!(answered(&node, to, 50_000 + step), "the node's own, {step}");
                assert!(answered(&user, to, 60_000 + step), "a pod's, {step}");
                assert!(answered(&node, to, 40_000 + 100 * step), "the node's own again, {step}");
            }
        }
        // What a pod has used is the node's again when its connection is over. To the same place an answer would keep that alive.
        let all = || FAMILIES.iter().all(|v6| answered(&node, of(NODE_B, *v6), 60_000));
        lab.wait("the identifiers that a pod has used", PATIENCE * 4, all)
            .unwrap();
    });
}
