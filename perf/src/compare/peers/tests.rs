//! What the kernel is told is what kube-proxy tells it.

use super::*;
use crate::compare::scene::{NODE_ADDRESSES, Size};

fn services(count: u32) -> Vec<crate::compare::scene::Service> {
    let size = Size {
        services: count,
        policies: 1,
    };
    let scene = Scene {
        size,
        outside: false,
        flows: 1,
    };
    scene.services()
}

#[test]
fn iptables_rules_are_kube_proxys() {
    let text = iptables::rules(&services(2));
    let nat = text.split_once("*nat\n").unwrap().1;
    for line in [
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
        "-A KUBE-SERVICES -m comment --comment \"default/bench:tcp-80 cluster IP\" -m tcp -p tcp -d 10.96.0.10 --dport 80 -j KUBE-SVC-0000000000000000",
        "-A KUBE-SVC-0000000000000000 -m comment --comment \"default/bench:tcp-80 cluster IP\" -m tcp -p tcp -d 10.96.0.10 --dport 80 ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        "-A KUBE-SVC-0000000000000000 -m comment --comment \"default/bench:tcp-80 -> 10.244.2.5:8080\" -j KUBE-SEP-0000000000000000",
        "-A KUBE-SEP-0000000000000000 -m comment --comment default/bench:tcp-80 -m tcp -p tcp -j DNAT --to-destination 10.244.2.5:8080",
        "-A KUBE-SEP-0000000100000000 -m comment --comment default/bench:udp-9001 -m udp -p udp -j DNAT --to-destination 10.244.2.5:9001",
        "-A KUBE-NODEPORTS -m comment --comment default/bench:tcp-80 -m tcp -p tcp --dport 30080 -j KUBE-EXT-0000000000000000",
        "-A KUBE-SVC-0000000000000011 -m comment --comment \"default/other-1:tcp -> 10.244.2.18:8081\" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-0000001100000000",
        "-A KUBE-SVC-0000000000000011 -m comment --comment \"default/other-1:tcp -> 10.244.2.19:8081\" -j KUBE-SEP-0000001100000001",
    ] {
        assert!(nat.contains(&format!("{line}\n")), "{line}\nis missing in\n{nat}");
    }
    // The rule that looks at node ports is the last one of its chain, and every chain that is gone to was announced.
    let own: Vec<&str> = nat
        .lines()
        .filter(|line| line.starts_with("-A KUBE-SERVICES"))
        .collect();
    assert!(own.last().unwrap().ends_with("-j KUBE-NODEPORTS"), "{own:#?}");
    for target in nat.lines().filter_map(|line| line.split_once(" -j KUBE-")) {
        let chain = format!("\n:KUBE-{} - [0:0]\n", target.1);
        assert!(format!("\n{nat}").contains(&chain), "{chain}");
    }
}

#[test]
fn nftables_maps_are_kube_proxys() {
    let text = nftables::rules(&services(2), NODE_ADDRESSES[1]);
    for line in [
        "add element ip kube-proxy nodeport-ips { 192.0.2.12 }",
        "add element ip kube-proxy service-ips { 10.96.0.10 . tcp . 80 : goto service-bench-tcp-80 }",
        "add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-bench-tcp-80 }",
        "add element ip kube-proxy service-ips { 10.96.0.10 . udp . 9001 : goto service-bench-udp-9001 }",
        "add rule ip kube-proxy external-bench-tcp-80 jump mark-for-masquerade",
        "add rule ip kube-proxy service-bench-tcp-80 numgen random mod 1 vmap { 0 : goto endpoint-bench-tcp-80-0 }",
        "add rule ip kube-proxy endpoint-bench-tcp-80-0 meta l4proto tcp dnat to 10.244.2.5:8080",
        "add rule ip kube-proxy service-other-1-tcp numgen random mod 2 vmap { 0 : goto endpoint-other-1-tcp-0 , 1 : goto endpoint-other-1-tcp-1 }",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\nis missing in\n{text}");
    }
}

#[test]
fn ten_thousand_services_are_told_apart_and_endpoints_lie_in_the_other_nodes_range() {
    let services = services(10_000);
    let mut addresses: Vec<_> = services.iter().map(|service| service.address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 10_000);
    let others = services.iter().filter(|service| service.name != "bench");
    let endpoints = others.flat_map(|service| &service.endpoints);
    let mut endpoints: Vec<_> = endpoints.copied().collect();
    assert!(endpoints.iter().all(|e| e.ip().octets()[..3] == [10, 244, 2]));
    let count = endpoints.len();
    endpoints.sort();
    endpoints.dedup();
    assert_eq!(endpoints.len(), count);
}

#[test]
fn a_script_is_a_name_and_a_file() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(format!("mine={here}").parse::<Script>().unwrap().name(), "mine");
    for (text, want) in [
        (here.to_owned(), "NAME=SCRIPT"),
        (format!("={here}"), "a name of a-z"),
        (format!("Mine={here}"), "a name of a-z"),
        ("mine=/no/such/file".into(), "/no/such/file"),
        ("mine=/".into(), "is no file"),
    ] {
        let err = text.parse::<Script>().unwrap_err();
        assert!(err.contains(want), "{text}: {err}");
    }
}
