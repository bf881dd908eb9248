//! Node ports, from outside the cluster.

use crate::clients::{answers, curl, echoes, spread};
use crate::cluster::*;
use serde_json::json;

#[test]
fn a_node_port_leads_to_pods_on_the_same_node_and_on_another() {
    let mut topology = two_nodes();
    topology.agent = serde_json::from_value(json!({"services": {"scheduler": "rr"}})).unwrap();
    in_lab(&topology, |lab| {
        let outside = lab.place("outside").unwrap();
        for v6 in FAMILIES {
            for node in [of(NODE_A, v6), of(NODE_B, v6)] {
                let tcp = answers(&outside, (node, 30080), 20);
                let udp = echoes(&outside, (node, 30007), 20);
                for names in [tcp, udp] {
                    assert_eq!(spread(&names), [("web-1", 10), ("web-2", 10)].into(), "through {node}");
                }
                for _ in 0..2 {
                    let seen = curl(&outside, (node, 30080), "/from");
                    assert_ne!(
                        seen,
                        of(OUTSIDE, v6).to_string(),
                        "answers of the other node's pod would not come back through {node}"
                    );
                }
            }
        }
    });
}
