//! The underlay changes while traffic runs: it goes on by itself, within a promised time, and what is wrong meanwhile
//! is in the status.

use crate::cluster::*;
use crate::probe::{Probe, all_back, all_pass, all_silent};
use serde_json::{Value, json};
use sluice_lab::{Lab, Place};
use std::time::{Duration, Instant};

/// Until traffic is back after a change that the kernel hears of.
const BOUND: Duration = Duration::from_secs(3);

/// From a pod through the tunnel to a pod and masqueraded to outside, both families.
fn probes(lab: &Lab) -> Vec<Probe> {
    let probes = start(lab);
    all_pass(lab, &probes, "before the change");
    probes
}

fn start(lab: &Lab) -> Vec<Probe> {
    let user = lab.pod("user").unwrap();
    let mut probes = Vec::new();
    for v6 in FAMILIES {
        probes.push(Probe::start(&user, (address(lab, "web-2", v6), 7)));
        let outside = lab.topology().clients[0].addresses.iter().map(|net| net.addr());
        let outside = outside.into_iter().find(|addr| addr.is_ipv6() == v6).unwrap();
        probes.push(Probe::start(&user, (outside, 7)));
    }
    probes
}

fn ip(place: &Place<'_>, command: &str) {
    let words: Vec<&str> = std::iter::once("ip").chain(command.split(' ')).collect();
    place.run(&words).unwrap().text().unwrap();
}

fn mac_of(place: &Place<'_>) -> String {
    let shown = place
        .run(&["ip", "-o", "link", "show", "eth0"])
        .unwrap()
        .text()
        .unwrap()
        .to_string();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").unwrap();
    words[at + 1].to_string()
}

fn set(place: &Place<'_>, name: &str, value: &str) {
    let command = format!("echo {value} > /proc/sys/{name}");
    place.run(&["sh", "-c", &command]).unwrap().text().unwrap();
}

fn status(lab: &Lab, node: &str) -> Value {
    lab.node(node).unwrap().sluice_json(&["status"]).unwrap()
}

/// A new MAC is told to everybody on the link, in both families.
fn announce(place: &Place<'_>, device: &str) {
    set(place, &format!("net/ipv4/conf/{device}/arp_notify"), "1");
    set(place, &format!("net/ipv6/conf/{device}/ndisc_notify"), "1");
}

fn warns(status: &Value, object: &str, text: &str) -> bool {
    let says = |warning: &Value, key: &str, part: &str| warning[key].as_str().is_some_and(|text| text.contains(part));
    let warnings = status["warnings"].as_array().unwrap();
    warnings
        .iter()
        .any(|warning| says(warning, "object", object) && says(warning, "text", text))
}

/// Waits until the agent of node-a warns of something.
fn warned(lab: &Lab, object: &str, text: &str) {
    let mut seen = Value::Null;
    let waited = lab.wait("a warning", PATIENCE, || {
        seen = status(lab, "node-a");
        warns(&seen, object, text)
    });
    waited.unwrap_or_else(|e| panic!("{e:#}: {object}: {text} in {seen:#}"));
}

/// Waits until no warning is left, for nothing is wrong any more.
fn no_warnings(lab: &Lab) {
    for node in &lab.topology().nodes {
        let node = lab.node(&node.name).unwrap();
        lab.wait("the warnings to go", PATIENCE, || warnings(&node).is_empty())
            .unwrap_or_else(|e| panic!("{}: {e:#}: {:#?}", node.name(), warnings(&node)));
    }
}

#[test]
fn a_link_set_down_and_up_again() {
    alone_in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let probes = probes(lab);
        for round in ["once", "again"] {
            ip(&node, "link set eth0 down");
            all_silent(lab, &probes, round);
            warned(lab, "uplink eth0", "down");
            assert_eq!(status(lab, "node-a")["uplink"]["up"], false);
            ip(&node, "link set eth0 up");
            // The kernel takes them away with the link.
            ip(&node, "address replace 2001:db8:2::11/64 dev eth0 nodad");
            all_back(lab, &probes, Instant::now(), BOUND, round);
            no_warnings(lab);
        }
    });
}

#[test]
fn a_carrier_that_is_lost_and_found() {
    alone_in_lab(&two_nodes(), |lab| {
        let wire = lab.place("net").unwrap();
        let probes = probes(lab);
        ip(&wire, "link set n0 down");
        all_silent(lab, &probes, "without a carrier");
        warned(lab, "uplink eth0", "no carrier");
        ip(&wire, "link set n0 up");
        all_back(lab, &probes, Instant::now(), BOUND, "with a carrier");
        no_warnings(lab);
    });
}

#[test]
fn a_node_gets_another_mac() {
    alone_in_lab(&two_nodes(), |lab| {
        let wire = lab.place("net").unwrap();
        for node in ["node-a", "node-b"] {
            announce(&lab.node(node).unwrap(), "eth0");
        }
        let probes = probes(lab);
        for (node, mac) in [("node-b", "02:00:00:00:0b:0b"), ("node-a", "02:00:00:00:0a:0a")] {
            let node = lab.node(node).unwrap();
            let old = mac_of(&node);
            // As a NIC does, and a bridge that floods does not: nothing reaches the old one.
            let fdb = ["bridge", "fdb", "replace", &old, "dev", "c0", "master", "static"];
            ip(&node, &format!("link set eth0 address {mac}"));
            wire.run(&fdb).unwrap().text().unwrap();
            all_back(lab, &probes, Instant::now(), BOUND, node.name());
        }
        no_warnings(lab);
    });
}

/// Gives the router of node-a's segment a MAC of its own: that of a port, which a bridge takes by itself, stays good also
/// when the bridge has another one.
fn gateway_with_own_mac(lab: &Lab) {
    let node = lab.node("node-a").unwrap();
    ip(&lab.place("net").unwrap(), "link set br0 address 02:00:00:00:00:f1");
    ip(&node, "neigh flush dev eth0");
    for gateway in ["192.0.2.1", "2001:db8:2::1"] {
        lab.wait("the gateway's MAC", PATIENCE, || {
            let entry = node.run(&["ip", "neigh", "show", gateway]).unwrap();
            entry.stdout.contains("02:00:00:00:00:f1")
        })
        .unwrap();
    }
}

#[test]
fn the_gateway_gets_another_mac_and_says_so() {
    alone_in_lab(&across_a_router(two_nodes()), |lab| {
        let wire = lab.place("net").unwrap();
        announce(&wire, "br0");
        gateway_with_own_mac(lab);
        let probes = probes(lab);
        ip(&wire, "link set br0 address 02:00:00:00:00:fe");
        all_back(lab, &probes, Instant::now(), BOUND, "the new MAC");
        no_warnings(lab);
    });
}

/// Nobody tells, and the router asks nobody: the kernel's own probes find out, here after one second instead of half a minute.
#[test]
fn the_gateway_gets_another_mac_in_silence() {
    alone_in_lab(&across_a_router(two_nodes()), |lab| {
        let (wire, node) = (lab.place("net").unwrap(), lab.node("node-a").unwrap());
        for family in ["ipv4", "ipv6"] {
            for (key, value) in [
                ("base_reachable_time_ms", "1000"),
                ("interval_probe_time_ms", "1000"),
                ("delay_first_probe_time", "1"),
                ("retrans_time_ms", "200"),
            ] {
                set(&node, &format!("net/{family}/neigh/eth0/{key}"), value);
            }
        }
        gateway_with_own_mac(lab);
        drop(probes(lab));
        ip(&wire, "link set br0 address 02:00:00:00:00:fe");
        let mac = mac_of(&node);
        for addr in [NODE_A[0], NODE_A[1]] {
            ip(
                &wire,
                &format!("neigh replace {addr} lladdr {mac} dev br0 nud permanent"),
            );
        }
        let changed = Instant::now();
        all_back(lab, &start(lab), changed, 5 * BOUND, "the new MAC");
        no_warnings(lab);
    });
}

#[test]
fn the_default_route_moves_to_another_gateway() {
    alone_in_lab(&across_a_router(two_nodes()), |lab| {
        let (wire, node) = (lab.place("net").unwrap(), lab.node("node-a").unwrap());
        set(&wire, "net/ipv4/conf/all/arp_ignore", "1");
        ip(&wire, "link add gw2 type veth peer name gw2-port");
        ip(&wire, "link set gw2-port master br0 up");
        ip(&wire, "link set gw2 up");
        ip(&wire, "address add 192.0.2.254/32 dev gw2");
        ip(&wire, "address add 2001:db8:2::fe/128 dev gw2 nodad");
        let probes = probes(lab);
        ip(&node, "route del default");
        ip(&node, "-6 route del default");
        all_silent(lab, &probes, "without a route");
        warned(lab, "node node-b", "no route");
        ip(&node, "route add default via 192.0.2.254 dev eth0");
        ip(&node, "-6 route add default via 2001:db8:2::fe dev eth0");
        all_back(lab, &probes, Instant::now(), BOUND, "the other gateway");
        // That it is the other one shows when it goes: nobody answers for it, and the status says for whom one waits.
        ip(&wire, "link set gw2-port down");
        all_silent(lab, &probes, "without the other gateway");
        ip(&node, "neigh flush dev eth0");
        warned(lab, "next hop 192.0.2.254", "0.0.0.0/0, node node-b");
        ip(&wire, "link set gw2-port up");
        all_back(lab, &probes, Instant::now(), BOUND, "the other gateway, again");
        no_warnings(lab);
    });
}

#[test]
fn a_node_gets_other_addresses() {
    alone_in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let probes = probes(lab);
        for (old, new) in [
            ("192.0.2.11/24", "192.0.2.21/24"),
            ("2001:db8:2::11/64", "2001:db8:2::21/64"),
        ] {
            ip(&node, &format!("address del {old} dev eth0"));
            ip(&node, &format!("address add {new} dev eth0"));
        }
        // Others still know it by the old ones.
        warned(lab, "node node-a", "192.0.2.11");
        let file = "node-node-a.yaml";
        lab.edit(file, |object| {
            let (v4, v6) = ("192.0.2.21", "2001:db8:2::21");
            object["status"]["addresses"] = json!([
                {"type": "InternalIP", "address": v4}, {"type": "InternalIP", "address": v6}
            ]);
            for (key, value) in object["metadata"]["annotations"].as_object_mut().into_iter().flatten() {
                if key.ends_with("/public-ip") {
                    *value = v4.into();
                } else if key.ends_with("/public-ipv6") {
                    *value = v6.into();
                }
            }
        })
        .unwrap();
        all_back(lab, &probes, Instant::now(), BOUND, "the new addresses");
        no_warnings(lab);
    });
}
