//! Uplinks with an MTU of 9000: pods get 8950, and frames of that size are on the wire.

use crate::clients::{bulk, curl, fits, fits_exactly, large_datagram, ping, sized_ping};
use crate::cluster::*;
use crate::faults;
use serde_json::Value;
use sluice_lab::topology::NodeKind;
use sluice_lab::{Lab, Topology};

fn jumbo() -> Topology {
    let mut topology = two_nodes();
    topology.underlay.mtu = 9000;
    topology
}

/// Exactly as much as fits, datagrams of 8 KiB, each in one packet, and 64 MiB.
fn everything(lab: &Lab, from: &str, to: &str) {
    let pod = lab.pod(from).unwrap();
    for (v6, mtu) in [(false, 8950), (true, 8930)] {
        let target = address(lab, to, v6);
        fits_exactly(&pod, target, mtu);
        assert_eq!(large_datagram(&pod, (target, 7), 8192), to);
        bulk(&pod, (target, 80), "").unwrap();
    }
}

#[test]
fn pods_use_what_a_jumbo_uplink_carries() {
    in_lab(&jumbo(), |lab| {
        let user = lab.pod("user").unwrap();
        let link = user.run(&["ip", "link", "show", "eth0"]).unwrap();
        assert!(link.stdout.contains("mtu 8950"), "{link}");
        let node = lab.node("node-a").unwrap();
        let uplink = || {
            let counters = node.sluice_json(&["counters"]).unwrap();
            let ports = counters["ports"].as_array().unwrap().iter();
            let mut uplink = ports.filter(|port| port["name"] == "uplink");
            let port = uplink.next().unwrap().clone();
            ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"].map(|key| port[key].as_u64().unwrap())
        };
        // A port is counted from its first packet on.
        ping(&user, address(lab, "web-2", false));
        let before = uplink();
        everything(lab, "user", "web-2");
        everything(lab, "web-2", "web-1");
        let after = uplink();
        // Acknowledgements are small, and there is one for at most two segments in the other direction.
        let [rx, tx] = [0, 2].map(|at| (after[at] - before[at]) / (after[at + 1] - before[at + 1]).max(1));
        assert!(rx > 3000 && tx > 3000, "frames of {rx} and {tx} bytes on average");
        assert_eq!(warnings(&node), Vec::<Value>::new());
    });
}

#[test]
fn jumbo_frames_to_and_from_a_node_that_is_not_ours() {
    let mut topology = jumbo();
    topology.nodes[1].kind = NodeKind::Linux;
    in_lab(&topology, |lab| {
        everything(lab, "user", "web-2");
        everything(lab, "web-2", "web-1");
    });
}

/// The queues are opened again, and what ran goes on.
#[test]
fn an_uplink_whose_mtu_grows_and_shrinks_carries_what_it_says() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        let to = address(lab, "web-2", false);
        for (mtu, size) in [("9000", 8950), ("1500", 1450)] {
            let ports = [("net", "n0"), ("net", "n1"), ("node-a", "eth0"), ("node-b", "eth0")];
            for (place, name) in ports {
                let set = ["ip", "link", "set", name, "mtu", mtu];
                lab.place(place).unwrap().run(&set).unwrap().text().unwrap();
            }
            // Pods get the MTU of the moment when they start; what is there already is told of a smaller one.
            if mtu == "9000" {
                let attached = || {
                    ["user", "web-2"].iter().all(|name| {
                        let pod = lab.pod(name).unwrap();
                        let fits = || {
                            pod.run(&["ip", "link", "show", "eth0"])
                                .unwrap()
                                .stdout
                                .contains("mtu 8950")
                        };
                        fits() || (pod.detach().is_ok() && pod.attach().is_ok() && fits())
                    })
                };
                lab.wait("pods of the new size", PATIENCE, attached).unwrap();
            }
            lab.wait("packets of the new size", PATIENCE, || sized_ping(&user, to, size).ok())
                .unwrap();
            for v6 in FAMILIES {
                ping(&user, address(lab, "web-2", v6));
                assert_eq!(curl(&user, address(lab, "web-2", v6), "/"), "web-2");
            }
        }
    });
}

/// As on Linux before 6.6: the wire is as wide, but a frame must lie in one chunk.
#[test]
fn without_frames_in_several_chunks_pods_send_what_fits_into_one() {
    let mut topology = jumbo();
    topology.testing = Some(faults::with("floor"));
    in_lab(&topology, |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let status = node.sluice_json(&["status"]).unwrap();
        assert_eq!(status["uplink"]["mtu"], 9000, "{status:#}");
        let warned = status["warnings"].to_string();
        assert!(warned.contains("MTU"), "the status says what follows: {warned}");
        let link = user.run(&["cat", "/proc/sys/net/ipv6/conf/eth0/mtu"]).unwrap();
        let mtu: u32 = link.text().unwrap().trim().parse().unwrap();
        assert!((3000..4096).contains(&mtu), "{mtu}");
        for to in ["web-1", "web-2"] {
            fits(&user, address(lab, to, false), mtu);
        }
        for v6 in FAMILIES {
            bulk(&user, (address(lab, "web-2", v6), 80), "").unwrap();
        }
    });
}
