//! Pods reach pods.

use crate::clients::{Conversation, curl, echoes, ping};
use crate::cluster::*;
use sluice_lab::topology::UnderlayKind;
use sluice_lab::{Lab, Topology};

fn all_ways(lab: &Lab) {
    for (from, to) in [
        ("user", "web-1"),
        ("user", "web-2"),
        ("web-2", "web-1"),
        ("web-1", "web-2"),
    ] {
        let pod = lab.pod(from).unwrap();
        for v6 in FAMILIES {
            let target = address(lab, to, v6);
            ping(&pod, target);
            assert_eq!(curl(&pod, target, "/"), to);
            assert_eq!(
                curl(&pod, target, "/from"),
                address(lab, from, v6).to_string(),
                "pods see each other's addresses"
            );
            assert_eq!(echoes(&pod, (target, 7), 3), vec![to; 3]);
        }
    }
}

#[test]
fn pods_reach_pods_on_their_node_and_on_another_over_both_families() {
    in_lab(&two_nodes(), all_ways);
}

#[test]
fn pods_reach_pods_across_a_router() {
    in_lab(&routed(), all_ways);
}

fn routed() -> Topology {
    let mut topology = two_nodes();
    topology.underlay.kind = UnderlayKind::Router;
    topology.nodes[1].addresses = vec![
        "198.51.100.12/24".parse().unwrap(),
        "2001:db8:3::12/64".parse().unwrap(),
    ];
    topology
}

#[test]
fn bulk_transfers_arrive_whole_on_one_node_and_across() {
    in_lab(&two_nodes(), |lab| {
        for to in ["web-1", "web-2"] {
            for v6 in FAMILIES {
                let url = format!("http://{}/big", std::net::SocketAddr::new(address(lab, to, v6), 80));
                let fetch = [
                    "curl",
                    "-sS",
                    "-o",
                    "/dev/null",
                    "--max-time",
                    "20",
                    "-w",
                    "%{size_download}",
                    &url,
                ];
                let output = lab.pod("user").unwrap().run_for(&fetch, PATIENCE * 2).unwrap();
                assert_eq!(output.text().unwrap(), "67108864", "{to}");
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
        let report = |v6: bool, size: &str| {
            let to = address(lab, "web-2", v6).to_string();
            user.run(&["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", size, &to])
                .unwrap()
        };
        let (v4, v6) = (report(false, "1472"), report(true, "1452"));
        assert!(
            !v4.ok() && v4.stdout.contains("Frag needed and DF set (mtu = 1450)"),
            "{v4}"
        );
        assert!(!v6.ok() && v6.stdout.contains("Packet too big: mtu=1430"), "{v6}");
        // The kernel remembers; what fits passes.
        assert!(report(false, "1422").ok());
        assert!(report(true, "1382").ok());
        // TCP finds the way by itself.
        for v6 in FAMILIES {
            let mut talk = Conversation::open(&user, (address(lab, "web-2", v6), 80));
            let long = format!("GET /?{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(4000));
            assert!(talk.ask(&long, PATIENCE).unwrap().starts_with("HTTP/1.1 200"));
        }
    });
}
