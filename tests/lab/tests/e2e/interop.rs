//! A node that is not ours: plain Linux, set up as flannel leaves it.

use crate::clients::{curl, echoes, ping};
use crate::cluster::*;
use sluice_lab::topology::{NodeKind, UnderlayKind};
use sluice_lab::{Lab, Place, Topology};
use std::net::{IpAddr, SocketAddr};

/// web-2 moves to a node of the other kind.
fn mixed() -> Topology {
    let mut topology = two_nodes();
    topology.nodes[1].kind = NodeKind::Linux;
    topology
}

fn both_ways(lab: &Lab) {
    for (from, to) in [("user", "web-2"), ("web-2", "web-1")] {
        let pod = lab.pod(from).unwrap();
        for v6 in FAMILIES {
            let target = address(lab, to, v6);
            ping(&pod, target);
            assert_eq!(curl(&pod, target, "/"), to);
            assert_eq!(curl(&pod, target, "/from"), address(lab, from, v6).to_string());
            assert_eq!(echoes(&pod, (target, 7), 3), vec![to; 3]);
        }
    }
}

#[test]
fn pods_on_a_flannel_node_and_ours_reach_each_other() {
    in_lab(&mixed(), both_ways);
}

#[test]
fn pods_on_a_flannel_node_and_ours_reach_each_other_across_a_router() {
    let mut topology = mixed();
    topology.underlay.kind = UnderlayKind::Router;
    topology.nodes[1].addresses = vec![
        "198.51.100.12/24".parse().unwrap(),
        "2001:db8:3::12/64".parse().unwrap(),
    ];
    in_lab(&topology, both_ways);
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
        for (v6, mtu, headers) in [(false, 1450, 28), (true, 1430, 48)] {
            for (from, to) in [("user", "web-2"), ("web-2", "web-1")] {
                let (pod, target) = (lab.pod(from).unwrap(), address(lab, to, v6));
                let fits = sized_ping(&pod, target, mtu - headers);
                assert!(fits.ok(), "{from}: {fits}");
            }
            let (user, target) = (lab.pod("user").unwrap(), address(lab, "web-2", v6));
            let over = sized_ping(&user, target, mtu - headers + 1);
            let said = format!("{}{}", over.stdout, over.stderr).to_lowercase();
            assert!(
                !over.ok() && (said.contains(&format!("mtu={mtu}")) || said.contains(&format!("mtu: {mtu}"))),
                "{over}"
            );
        }
    });
}

fn sized_ping(from: &Place<'_>, to: IpAddr, size: u32) -> sluice_lab::Output {
    let (size, to) = (size.to_string(), to.to_string());
    from.run(&["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", &size, &to])
        .unwrap()
}
