//! A router between the nodes, and to the world outside, whose links take less than the nodes' own: everybody finds out.

use crate::clients::large_datagram;
use crate::cluster::*;
use sluice_lab::topology::UnderlayKind;
use sluice_lab::{Lab, Topology};
use std::net::{IpAddr, SocketAddr};

/// What the router's links take; the nodes' take 1500.
const NARROW: &str = "1400";
const OUTSIDE_ADDRESS: [&str; 2] = ["203.0.113.100", "2001:db8:4::100"];
const NODE_B_ADDRESS: [&str; 2] = ["198.51.100.12", "2001:db8:3::12"];

/// Each node, and the machine outside, on a segment of its own.
fn routed() -> Topology {
    let mut topology = two_nodes();
    topology.underlay.kind = UnderlayKind::Router;
    topology.nodes[1].addresses = vec![
        "198.51.100.12/24".parse().unwrap(),
        "2001:db8:3::12/64".parse().unwrap(),
    ];
    topology.clients[0].addresses = vec![
        "203.0.113.100/24".parse().unwrap(),
        "2001:db8:4::100/64".parse().unwrap(),
    ];
    topology
}

fn in_narrow_lab(test: impl FnOnce(&Lab)) {
    in_lab(&routed(), |lab| {
        let router = lab.place("net").unwrap();
        // No pause between two errors to one host: the test asks for many.
        for command in [
            &["ip", "link", "set", "br0", "mtu", NARROW][..],
            &["ip", "link", "set", "br1", "mtu", NARROW],
            &["ip", "link", "set", "br2", "mtu", NARROW],
            &[
                "sysctl",
                "-qw",
                "net.ipv4.icmp_ratelimit=0",
                "net.ipv6.icmp.ratelimit=0",
            ],
        ] {
            router.run(command).unwrap().text().unwrap();
        }
        test(lab);
    });
}

/// Fetches 64 MiB: no segment of the answer's may be lost for good. The request is large, too.
fn fetch(lab: &Lab, from: &str, to: (IpAddr, u16)) {
    let url = format!("http://{}/big?{}", SocketAddr::from(to), "x".repeat(4000));
    let command = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "--max-time",
        "60",
        "-w",
        "%{size_download}",
        &url,
    ];
    let output = lab.place(from).unwrap().run_for(&command, PATIENCE * 4).unwrap();
    assert_eq!(output.text().unwrap(), "67108864", "{from} from {url:.40}");
}

fn everything(lab: &Lab, from: &str, web: (IpAddr, u16), echo: (IpAddr, u16)) {
    fetch(lab, from, web);
    large_datagram(&lab.place(from).unwrap(), echo, 4000);
    large_datagram(&lab.place(from).unwrap(), echo, 1300);
}

#[test]
fn pods_on_two_nodes_find_the_path_between_them() {
    in_narrow_lab(|lab| {
        for v6 in FAMILIES {
            let (there, here) = (address(lab, "web-2", v6), address(lab, "web-1", v6));
            everything(lab, "user", (there, 80), (there, 7));
            everything(lab, "web-2", (here, 80), (here, 7));
        }
        // Over IPv6 routers never fragment, so the nodes learn; over IPv4 they do, and the kernel puts together.
        let noted = drops(lab, "node-a", "path_mtu_noted") + drops(lab, "node-b", "path_mtu_noted");
        assert!(noted > 0, "nobody said anything about the path over IPv6");
        let snmp = lab
            .place("node-b")
            .unwrap()
            .run(&["nstat", "-asz", "IpReasmOKs"])
            .unwrap();
        let whole = snmp.stdout.lines().find_map(|l| l.strip_prefix("IpReasmOKs")).unwrap();
        let whole: f64 = whole.split_whitespace().next().unwrap().parse().unwrap();
        assert!(whole > 100.0, "the kernel put no tunnel packets together: {snmp}");
        let user = lab.pod("user").unwrap();
        let to = address(lab, "web-2", true).to_string();
        let ping = user
            .run(&["ping", "-n", "-c", "1", "-W", "3", "-M", "do", "-s", "1352", &to])
            .unwrap();
        assert!(
            !ping.ok() && [ping.stdout.as_str(), &ping.stderr].concat().contains("1330"),
            "{ping}"
        );
    });
}

#[test]
fn services_are_reached_over_a_narrow_path() {
    in_narrow_lab(|lab| {
        for v6 in FAMILIES {
            for _ in 0..3 {
                everything(lab, "user", (of(WEB, v6), 80), (of(ECHO, v6), 7));
            }
        }
    });
}

#[test]
fn node_ports_and_the_outside_are_reached_over_a_narrow_path() {
    in_narrow_lab(|lab| {
        for v6 in FAMILIES {
            for node in [of(NODE_A, v6), of(NODE_B_ADDRESS, v6)] {
                for _ in 0..2 {
                    everything(lab, "outside", (node, 30080), (node, 30007));
                }
            }
            for from in ["user", "web-2"] {
                let outside = of(OUTSIDE_ADDRESS, v6);
                everything(lab, from, (outside, 80), (outside, 7));
            }
        }
    });
}

fn drops(lab: &Lab, node: &str, reason: &str) -> u64 {
    let counters = lab.node(node).unwrap().sluice_json(&["counters", "--all"]).unwrap();
    let drops = counters["drops"].as_array().unwrap();
    let count = drops.iter().find(|d| d["reason"] == reason);
    count.map_or(0, |d| d["packets"].as_u64().unwrap())
}
