//! Node ports, from outside the cluster.

use crate::clients::{Attempt, Conversation, answers, attempt, curl, datagram, echoes, spread};
use crate::cluster::*;
use serde_json::json;
use std::io::ErrorKind;

/// Services of one family, TCP and UDP, each with node ports of its own.
const OF_ONE_FAMILY: &str = r#"
  - {name: four, type: NodePort, clusterIPs: [10.96.0.30], selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30480}, {name: echo, protocol: UDP, port: 7, nodePort: 30407}]}
  - {name: six, type: NodePort, clusterIPs: ["fd00:96::1e"], selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30680}, {name: echo, protocol: UDP, port: 7, nodePort: 30607}]}
"#;

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

/// In the other family the port is like any other of the node: refused by its kernel, or answered by a program that listens there.
#[test]
fn a_node_port_of_one_family_is_the_nodes_own_in_the_other() {
    in_lab(&two_nodes_and(OF_ONE_FAMILY), |lab| {
        let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
        for (v6, [tcp, udp]) in [(false, [30480, 30407]), (true, [30680, 30607])] {
            let (served, other) = (of(NODE_A, v6), of(NODE_A, !v6));
            let serves = || {
                assert!(curl(&outside, (served, tcp), "/").starts_with("web-"));
                assert!(echoes(&outside, (served, udp), 1)[0].starts_with("web-"));
            };
            serves();
            assert_eq!(attempt(&outside, (other, tcp), PATIENCE), Attempt::Refused);
            let refused = datagram(&outside, (other, udp), "?", PATIENCE).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

            let listen = |proto, port| {
                let (family, only) = if v6 { (4, "") } else { (6, ",ipv6only=1") };
                let address = format!("{proto}{family}-LISTEN:{port},fork,reuseaddr{only}");
                node.spawn(&["socat", &address, "EXEC:cat"]).unwrap()
            };
            let programs = [listen("TCP", tcp), listen("UDP", udp)];
            let listens = || {
                let sockets = node.run(&["ss", "-Hlntu"]).unwrap().stdout;
                [tcp, udp].iter().all(|port| sockets.contains(&format!(":{port} ")))
            };
            lab.wait("the node's programs to listen", PATIENCE, listens).unwrap();
            let mut talk = Conversation::open(&outside, (other, tcp));
            assert_eq!(talk.ask("hello", PATIENCE).unwrap(), "hello");
            assert_eq!(datagram(&outside, (other, udp), "hello", PATIENCE).unwrap(), "hello");
            serves();
            drop(programs);
        }
    });
}
