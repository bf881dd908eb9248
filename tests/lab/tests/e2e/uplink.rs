//! The uplink: what it lets in, and what becomes of it when its interface goes.

use crate::clients::{curl, ping};
use crate::cluster::*;

/// The node forwards, as nodes of a cluster do, so only its program stands between the wire and the pods.
#[test]
fn who_routes_packets_for_pods_to_a_node_gets_none_in() {
    in_lab(&two_nodes(), |lab| {
        let outside = lab.place("outside").unwrap();
        for v6 in FAMILIES {
            let (pod, node) = (address(lab, "web-1", v6).to_string(), of(NODE_A, v6).to_string());
            outside
                .run(&["ip", "route", "add", &pod, "via", &node])
                .unwrap()
                .text()
                .unwrap();
            assert!(outside.reaches(&node, 30080));
            assert!(
                !outside.reaches(&pod, 80),
                "{pod} answers to a packet sent by way of {node}"
            );
        }
        let counters = lab.node("node-a").unwrap().sluice_json(&["counters"]).unwrap();
        let drops = counters["drops"].as_array().unwrap();
        assert!(
            drops
                .iter()
                .any(|drop| drop["reason"] == "no_connection" && drop["packets"] != 0),
            "{counters:#}"
        );
    });
}

/// As a driver does that is reloaded: the name is the same, the interface another.
#[test]
fn an_uplink_that_is_made_anew_is_opened_again() {
    in_lab(&two_nodes(), |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let wire = format!("sl-{}-net", lab.name());
        let queues = ["numtxqueues", "2", "numrxqueues", "2"];
        let add = [
            &["ip", "link", "add", "eth0"],
            &queues[..],
            &["type", "veth", "peer", "name", "again"],
            &queues,
            &["netns", &wire],
        ];
        node.run(&["ip", "link", "delete", "eth0"]).unwrap().text().unwrap();
        node.run(&add.concat()).unwrap().text().unwrap();
        for command in [
            &["ip", "-n", &wire, "link", "set", "again", "master", "br0", "up"][..],
            &["ip", "link", "set", "eth0", "up"],
            &["ip", "address", "add", "192.0.2.11/24", "dev", "eth0"],
            &["ip", "address", "add", "2001:db8:2::11/64", "dev", "eth0", "nodad"],
        ] {
            node.run(command).unwrap().text().unwrap();
        }
        lab.wait("the other node's pods", PATIENCE, || {
            user.reaches(&address(lab, "web-2", false).to_string(), 80)
        })
        .unwrap();
        for v6 in FAMILIES {
            ping(&user, address(lab, "web-2", v6));
            assert!(!curl(&user, of(OUTSIDE, v6), "/").is_empty());
        }
    });
}
