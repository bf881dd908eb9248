//! Uplinks with an MTU of 9000: pods get 8950, and frames of that size are on the wire.

use crate::clients::{curl, ping};
use crate::cluster::*;
use crate::uplink_changes::is_about_a_slow_pod;
use sluice_lab::topology::NodeKind;
use sluice_lab::{Lab, Topology};
use std::net::{SocketAddr, UdpSocket};

fn jumbo() -> Topology {
    let mut topology = two_nodes();
    topology.underlay.mtu = 9000;
    topology
}

/// Exactly as much as fits, and one byte more.
fn exact_sizes(lab: &Lab, from: &str, to: &str) {
    let pod = lab.pod(from).unwrap();
    for (v6, mtu, headers) in [(false, 8950, 28), (true, 8930, 48)] {
        let to = address(lab, to, v6).to_string();
        let sized = |size: u32| {
            let size = size.to_string();
            pod.run(&["ping", "-n", "-c", "1", "-W", "3", "-M", "do", "-s", &size, &to])
                .unwrap()
        };
        sized(mtu - headers)
            .text()
            .unwrap_or_else(|e| panic!("{from} to {to}: {e:#}"));
        let over = sized(mtu - headers + 1);
        let said = format!("{}{}", over.stdout, over.stderr).to_lowercase();
        assert!(
            !over.ok() && (said.contains(&format!("mtu={mtu}")) || said.contains(&format!("mtu: {mtu}"))),
            "{over}"
        );
    }
}

/// A datagram of 8 KiB, in one packet, and its echo.
fn large_datagrams(lab: &Lab, from: &str, to: &str) {
    let pod = lab.pod(from).unwrap();
    for v6 in FAMILIES {
        let target = SocketAddr::new(address(lab, to, v6), 7);
        let text: Vec<u8> = (0..8192).map(|i| b'a' + (i % 23) as u8).collect();
        let answer = pod.within(|| {
            let any = if v6 { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(&text, target)?;
            let mut buffer = vec![0; 16_384];
            let (length, _) = socket.recv_from(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        });
        let answer = answer.unwrap_or_else(|e| panic!("{from} to {target}: {e:#}"));
        assert_eq!(answer, [format!("{to} ").as_bytes(), &text].concat());
    }
}

fn bulk(lab: &Lab, from: &str, to: &str) {
    for v6 in FAMILIES {
        let url = format!("http://{}/big", SocketAddr::new(address(lab, to, v6), 80));
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
        let output = lab.pod(from).unwrap().run_for(&fetch, PATIENCE * 2).unwrap();
        assert_eq!(output.text().unwrap(), "67108864", "{from} from {url}");
    }
}

#[test]
fn pods_use_what_a_jumbo_uplink_carries() {
    in_lab(&jumbo(), |lab| {
        let user = lab.pod("user").unwrap();
        let link = user.run(&["ip", "link", "show", "eth0"]).unwrap();
        assert!(link.stdout.contains("mtu 8950"), "{link}");
        for (from, to) in [("user", "web-2"), ("web-2", "web-1")] {
            exact_sizes(lab, from, to);
            large_datagrams(lab, from, to);
        }
        let node = lab.node("node-a").unwrap();
        let uplink = || {
            let counters = node.sluice_json(&["counters"]).unwrap();
            let ports = counters["ports"].as_array().unwrap().iter();
            let mut uplink = ports.filter(|port| port["name"] == "uplink");
            let port = uplink.next().unwrap().clone();
            ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"].map(|key| port[key].as_u64().unwrap())
        };
        let before = uplink();
        bulk(lab, "user", "web-2");
        bulk(lab, "web-2", "web-1");
        let after = uplink();
        // Acknowledgements are small, and there is one for at most two segments in the other direction.
        let [rx, tx] = [0, 2].map(|at| (after[at] - before[at]) / (after[at + 1] - before[at + 1]).max(1));
        assert!(rx > 3000 && tx > 3000, "frames of {rx} and {tx} bytes on average");
        let status = node.sluice_json(&["status"]).unwrap();
        let warnings = status["warnings"].as_array().unwrap();
        assert!(warnings.iter().all(is_about_a_slow_pod), "{status:#}");
    });
}

#[test]
fn jumbo_frames_to_and_from_a_node_that_is_not_ours() {
    let mut topology = jumbo();
    topology.nodes[1].kind = NodeKind::Linux;
    in_lab(&topology, |lab| {
        for (from, to) in [("user", "web-2"), ("web-2", "web-1")] {
            exact_sizes(lab, from, to);
            large_datagrams(lab, from, to);
            bulk(lab, from, to);
        }
    });
}

/// The queues are opened again, and what ran goes on.
#[test]
fn an_uplink_whose_mtu_grows_and_shrinks_carries_what_it_says() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        let to = address(lab, "web-2", false).to_string();
        for (mtu, size) in [("9000", "8922"), ("1500", "1422")] {
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
            lab.wait("packets of the new size", PATIENCE, || {
                user.run(&["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", size, &to])
                    .unwrap()
                    .ok()
            })
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
    topology.testing = Some("floor".into());
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
            let size = (mtu - 28).to_string();
            let target = address(lab, to, false).to_string();
            let sent = user.run(&["ping", "-n", "-c", "1", "-W", "3", "-M", "do", "-s", &size, &target]);
            sent.unwrap().text().unwrap_or_else(|e| panic!("{to}: {e:#}"));
        }
        bulk(lab, "user", "web-2");
    });
}
