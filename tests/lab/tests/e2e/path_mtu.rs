//! A router between the nodes, and to the world outside, whose links take less than the nodes' own: everybody finds out.

use crate::clients::{bulk, large_datagram, sized_ping};
use crate::cluster::*;
use crate::raw::drops;
use sluice_lab::Lab;
use std::net::IpAddr;

/// What the router's links take; the nodes' take 1500.
const NARROW: &str = "1400";

fn in_narrow_lab(test: impl FnOnce(&Lab)) {
    in_lab(&across_a_router(two_nodes()), |lab| {
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

fn everything(lab: &Lab, from: &str, web: (IpAddr, u16), echo: (IpAddr, u16)) {
    let from = lab.place(from).unwrap();
    // The request is large, too.
    bulk(&from, web, &format!("?{}", "x".repeat(4000))).unwrap();
    for size in [4000, 1300] {
        large_datagram(&from, echo, size);
    }
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
        let (node_a, node_b) = (lab.node("node-a").unwrap(), lab.node("node-b").unwrap());
        let noted = drops(&node_a, "path_mtu_noted") + drops(&node_b, "path_mtu_noted");
        assert!(noted > 0, "nobody said anything about the path over IPv6");
        let snmp = node_b.run(&["nstat", "-asz", "IpReasmOKs"]).unwrap();
        let whole = snmp.stdout.lines().find_map(|l| l.strip_prefix("IpReasmOKs")).unwrap();
        let whole: f64 = whole.split_whitespace().next().unwrap().parse().unwrap();
        assert!(whole > 100.0, "the kernel put no tunnel packets together: {snmp}");
        let user = lab.pod("user").unwrap();
        let ping = sized_ping(&user, address(lab, "web-2", true), 1400);
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
            for node in [of(NODE_A, v6), of(FAR_NODE_B, v6)] {
                for _ in 0..2 {
                    everything(lab, "outside", (node, 30080), (node, 30007));
                }
            }
            for from in ["user", "web-2"] {
                let outside = of(FAR_OUTSIDE, v6);
                everything(lab, from, (outside, 80), (outside, 7));
            }
        }
    });
}
