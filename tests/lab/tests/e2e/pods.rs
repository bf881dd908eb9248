//! Pods reach pods.

use crate::clients::{Conversation, bulk, fits, reaches, sized_ping};
use crate::cluster::*;
use sluice_lab::Lab;

fn all_ways(lab: &Lab) {
    for (from, to) in [
        ("user", "web-1"),
        ("user", "web-2"),
        ("web-2", "web-1"),
        ("web-1", "web-2"),
    ] {
        FAMILIES.iter().for_each(|v6| reaches(lab, from, to, *v6));
    }
}

#[test]
fn pods_reach_pods_on_their_node_and_on_another_over_both_families() {
    in_lab(&two_nodes(), all_ways);
}

#[test]
fn pods_reach_pods_across_a_router() {
    in_lab(&across_a_router(two_nodes()), all_ways);
}

#[test]
fn bulk_transfers_arrive_whole_on_one_node_and_across() {
    in_lab(&two_nodes(), |lab| {
        for to in ["web-1", "web-2"] {
            for v6 in FAMILIES {
                bulk(&lab.pod("user").unwrap(), (address(lab, to, v6), 80), "").unwrap();
            }
        }
    });
}

/// A path smaller than the pod's own interface: the agent says so, and nothing else works as well as that.
#[test]
fn what_is_too_big_for_the_tunnel_is_answered_with_its_mtu() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        user.run(&["ip", "link", "set", "eth0", "mtu", "1500"])
            .unwrap()
            .text()
            .unwrap();
        for (v6, mtu, says) in [
            (false, 1450, "Frag needed and DF set (mtu = 1450)"),
            (true, 1430, "Packet too big: mtu=1430"),
        ] {
            let far = address(lab, "web-2", v6);
            let over = sized_ping(&user, far, 1500);
            assert!(!over.ok() && over.stdout.contains(says), "{over}");
            // The kernel remembers; what fits passes.
            fits(&user, far, mtu);
        }
        // TCP finds the way by itself.
        for v6 in FAMILIES {
            let mut talk = Conversation::open(&user, (address(lab, "web-2", v6), 80));
            let long = format!("GET /?{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(4000));
            assert!(talk.ask(&long, PATIENCE).unwrap().starts_with("HTTP/1.1 200"));
        }
    });
}
