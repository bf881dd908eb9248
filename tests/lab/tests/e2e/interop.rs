//! A node that is not ours: plain Linux, set up as flannel leaves it.

use crate::clients::{curl, fits, fits_exactly, ping, reaches};
use crate::cluster::*;
use sluice_lab::topology::NodeKind;
use sluice_lab::{Lab, Topology};
use std::net::SocketAddr;

/// web-2 moves to a node of the other kind.
fn mixed() -> Topology {
    let mut topology = two_nodes();
    topology.nodes[1].kind = NodeKind::Linux;
    topology
}

fn both_ways(lab: &Lab) {
    for (from, to) in [("user", "web-2"), ("web-2", "web-1")] {
        FAMILIES.iter().for_each(|v6| reaches(lab, from, to, *v6));
    }
}

#[test]
fn pods_on_a_flannel_node_and_ours_reach_each_other() {
    in_lab(&mixed(), both_ways);
}

#[test]
fn pods_on_a_flannel_node_and_ours_reach_each_other_across_a_router() {
    in_lab(&across_a_router(mixed()), both_ways);
}

#[test]
fn the_flannel_node_itself_and_ours_reach_the_others_pods() {
    in_lab(&mixed(), |lab| {
        for v6 in FAMILIES {
            for (node, pod) in [("node-a", "web-2"), ("node-b", "web-1")] {
                let (node, target) = (lab.node(node).unwrap(), address(lab, pod, v6));
                ping(&node, target);
                assert_eq!(curl(&node, target, "/"), pod);
            }
        }
    });
}

#[test]
fn a_hundred_mebibytes_arrive_unchanged_in_both_directions() {
    in_lab(&mixed(), |lab| {
        let file = lab.dir().join("big");
        let text = |command: &str| {
            let output = lab.place("net").unwrap().run(&["sh", "-c", command]).unwrap();
            output.text().unwrap().to_string()
        };
        text(&format!("head -c 104857600 /dev/urandom > {}", file.display()));
        let sum = text(&format!("sha256sum < {}", file.display()));
        for (from, to) in [("user", "web-2"), ("web-2", "web-1")] {
            for v6 in FAMILIES {
                let url = format!("http://{}/big", SocketAddr::new(address(lab, to, v6), 80));
                let fetch = format!("curl -sS --max-time 60 '{url}' | sha256sum");
                let seen = lab
                    .pod(from)
                    .unwrap()
                    .run_for(&["sh", "-c", &fetch], PATIENCE * 7)
                    .unwrap();
                assert_eq!(seen.text().unwrap(), sum, "{from} from {to}, {url}");
            }
        }
    });
}

#[test]
fn packets_as_large_as_the_mtu_pass_and_one_byte_more_is_refused_by_name() {
    in_lab(&mixed(), |lab| {
        // Flannel's devices leave room for an outer IPv4 header; between IPv6 addresses 20 bytes less fit.
        for (v6, mtu) in [(false, 1450), (true, 1430)] {
            fits(&lab.pod("web-2").unwrap(), address(lab, "web-1", v6), mtu);
            fits_exactly(&lab.pod("user").unwrap(), address(lab, "web-2", v6), mtu);
        }
    });
}
