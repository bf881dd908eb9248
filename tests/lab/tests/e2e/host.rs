//! The nodes themselves, and the world outside.

use crate::clients::{answers, curl, echoes, ping, spread};
use crate::cluster::*;

#[test]
fn a_node_reaches_pods_and_services() {
    in_lab(&two_nodes(), |lab| {
        for name in ["node-a", "node-b"] {
            let node = lab.node(name).unwrap();
            for v6 in FAMILIES {
                for to in ["web-1", "web-2"] {
                    let target = address(lab, to, v6);
                    ping(&node, target);
                    assert_eq!(curl(&node, target, "/"), to);
                    assert_eq!(echoes(&node, (target, 7), 2), vec![to; 2]);
                }
                for names in [
                    answers(&node, (of(WEB, v6), 80), 64),
                    echoes(&node, (of(ECHO, v6), 7), 64),
                ] {
                    assert_eq!(spread(&names).len(), 2, "from {name}: {names:?}");
                }
            }
        }
    });
}

#[test]
fn pods_reach_outside_through_their_nodes_address() {
    in_lab(&two_nodes(), |lab| {
        for (pod, node) in [("user", NODE_A), ("web-2", NODE_B)] {
            let pod = lab.pod(pod).unwrap();
            for v6 in FAMILIES {
                let outside = of(OUTSIDE, v6);
                ping(&pod, outside);
                assert_eq!(curl(&pod, outside, "/"), "outside");
                assert_eq!(
                    curl(&pod, outside, "/from"),
                    of(node, v6).to_string(),
                    "the way back leads through the node"
                );
                assert_eq!(echoes(&pod, (outside, 7), 3), vec!["outside"; 3]);
            }
        }
    });
}

#[test]
fn a_pod_reaches_its_own_node_and_the_other_one() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        for v6 in FAMILIES {
            ping(&user, of(NODE_A, v6));
            ping(&user, of(NODE_B, v6));
        }
    });
}
