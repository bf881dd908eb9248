//! The uplink: what it lets in, and what becomes of it when its interface goes.

use crate::clients::{Attempt, attempt, curl, datagram, ping};
use crate::cluster::*;
use sluice_lab::{Lab, Place, Signal};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

/// The node forwards, as nodes of a cluster do, so only its program stands between the wire and the pods.
#[test]
fn who_routes_packets_for_pods_to_a_node_gets_none_in() {
    in_lab(&two_nodes(), |lab| {
        let outside = lab.place("outside").unwrap();
        for v6 in FAMILIES {
            let (pod, node) = (address(lab, "web-1", v6), of(NODE_A, v6));
            outside
                .run(&["ip", "route", "add", &pod.to_string(), "via", &node.to_string()])
                .unwrap()
                .text()
                .unwrap();
            assert_eq!(attempt(&outside, (node, 30080), PATIENCE), Attempt::Connected);
            assert_eq!(
                attempt(&outside, (pod, 80), Duration::from_secs(1)),
                Attempt::Silence,
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

/// As a driver does that is reloaded: name and MAC are the same, the interface is another.
#[test]
fn an_uplink_that_is_made_anew_is_opened_again() {
    in_lab(&two_nodes(), |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let wire = format!("sl-{}-net", lab.name());
        let mac = crate::frames::mac_of(&node).map(|byte| format!("{byte:02x}")).join(":");
        let queues = ["numtxqueues", "2", "numrxqueues", "2"];
        let add = [
            &["ip", "link", "add", "eth0", "address", &mac],
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

/// A second cable between the machine outside and a node, by which the first one's address is reached as well.
fn second_way(lab: &Lab) {
    let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
    let netns = outside.netns();
    let peer = netns.file_name().unwrap().to_str().unwrap();
    let run = |place: &Place<'_>, command: &[&str]| {
        place
            .run(&[&["ip"], command].concat())
            .unwrap()
            .text()
            .map(drop)
            .unwrap();
    };
    run(
        &node,
        &[
            "link", "add", "second", "up", "type", "veth", "peer", "name", "second", "netns", peer,
        ],
    );
    run(&outside, &["link", "set", "second", "up"]);
    for (place, last) in [(&*node, 1), (&outside, 2)] {
        run(
            place,
            &["address", "add", &format!("198.51.100.{last}/24"), "dev", "second"],
        );
        run(
            place,
            &[
                "address",
                "add",
                &format!("2001:db8:51::{last}/64"),
                "dev",
                "second",
                "nodad",
            ],
        );
    }
    run(&outside, &["route", "add", NODE_A[0], "via", "198.51.100.1"]);
    run(&outside, &["route", "add", NODE_A[1], "via", "2001:db8:51::1"]);
}

/// How a datagram to a port of the node ends that has no socket.
fn unreachable(from: &Place<'_>, to: (IpAddr, u16)) -> bool {
    match datagram(from, to, "?", Duration::from_millis(300)) {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => true,
        Err(e) if e.kind() == ErrorKind::WouldBlock => false,
        other => panic!("{to:?}: {other:?}"),
    }
}

#[test]
fn what_is_ours_and_comes_in_another_way_is_not_answered_by_the_kernel() {
    in_lab(&two_nodes(), |lab| {
        let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
        second_way(lab);
        // A program of the node in the range for masquerading, which was there first.
        node.stop_agent().unwrap();
        let own = node
            .spawn(&["socat", "TCP6-LISTEN:50505,fork,reuseaddr", "EXEC:cat"])
            .unwrap();
        let daemon = node
            .spawn(&["socat", "TCP6-LISTEN:2222,fork,reuseaddr", "EXEC:cat"])
            .unwrap();
        let limits = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit";
        node.run(&["sh", "-c", limits]).unwrap().text().unwrap();
        let short = Duration::from_millis(500);
        let refusals = |silent: bool| {
            for v6 in FAMILIES {
                let at = |port| (of(NODE_A, v6), port);
                for port in [2222, 50505] {
                    assert_eq!(attempt(&outside, at(port), PATIENCE), Attempt::Connected, "{port}");
                }
                // What is nobody's is refused as ever.
                assert_eq!(attempt(&outside, at(2223), short), Attempt::Refused);
                assert!(unreachable(&outside, at(2223)));
                for port in [30080, 41234] {
                    let want = if silent { Attempt::Silence } else { Attempt::Refused };
                    assert_eq!(attempt(&outside, at(port), short), want, "{port} {v6}");
                }
                for port in [30007, 41234, 8472] {
                    assert_eq!(unreachable(&outside, at(port)), !silent, "{port} {v6}");
                }
                // The node's own programs have no connections there that could be taken up.
                assert_eq!(attempt(&node, (of(NODE_A, v6), 30080), short), Attempt::Refused);
            }
        };
        lab.wait("the node's programs", PATIENCE, || {
            outside.reaches(NODE_A[0], 50505) && outside.reaches(NODE_A[1], 2222)
        })
        .unwrap();
        refusals(false);
        node.start_agent().unwrap();
        refusals(true);
        node.kill_agent(Signal::SIGKILL).unwrap();
        refusals(true);
        node.start_agent().unwrap();
        node.stop_agent().unwrap();
        refusals(false);
        drop((own, daemon));
    });
}

#[test]
fn a_node_without_nftables_is_told_and_works() {
    in_lab(&two_nodes(), |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let warned = || {
            let status = node.sluice_json(&["status"]).unwrap();
            let all = status.to_string();
            all.contains("nftables")
        };
        assert!(!warned());
        node.stop_agent().unwrap();
        node.start_agent_in(&[("PATH", "/nowhere")]).unwrap();
        assert!(warned());
        for v6 in FAMILIES {
            assert_eq!(curl(&user, address(lab, "web-1", v6), "/"), "web-1");
            assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
        }
    });
}
