//! A clean stop.

use crate::clients::{curl, ping};
use crate::cluster::*;
use serde_json::Value;
use sluice_lab::{Lab, Node};
use std::os::unix::fs::PermissionsExt;

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

fn text(node: &Node<'_>, command: &[&str]) -> String {
    node.run(command).unwrap().text().unwrap().to_string()
}

/// Everything of the node's network that an agent could touch.
fn traces(node: &Node<'_>) -> String {
    let rules = |tool: &str| text(node, &[tool, "list", "ruleset"]);
    let links: Value = serde_json::from_str(&text(node, &["ip", "-json", "link", "show"])).unwrap();
    let links: Vec<String> = links
        .as_array()
        .unwrap()
        .iter()
        .map(|l| format!("{} {} {}", l["ifname"], l["mtu"], l["xdp"]))
        .collect();
    [
        links.join("\n"),
        text(node, &["ip", "-brief", "address"]),
        text(node, &["ip", "route", "show", "table", "all"]),
        text(node, &["ip", "-6", "route", "show", "table", "all"]),
        text(node, &["ip", "rule"]),
        text(node, &["ip", "neigh", "show", "nud", "permanent"]),
        rules("nft"),
        text(node, &["cat", RESERVED]),
    ]
    .join("\n--\n")
}

fn pins(lab: &Lab, node: &str) -> usize {
    let dir = format!("/sys/fs/bpf/sluice-{}-{node}", lab.name());
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_clean_stop_leaves_nothing_and_the_next_start_works() {
    in_lab(&two_nodes(), |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        node.stop_agent().unwrap();
        // Somebody else's reservation is not ours to lose, not even where it overlaps.
        text(&node, &["sh", "-c", &format!("echo 1234,50000 > {RESERVED}")]);
        let before = traces(&node);
        assert!(!before.contains("sluice"), "{before}");

        node.start_agent().unwrap();
        let running = traces(&node);
        assert!(
            running.contains("sluice0") && running.contains("1234,40000-65535") && pins(lab, "node-a") > 0,
            "{running}"
        );
        let mode = std::fs::metadata(node.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only its owner may talk to the agent");
        for v6 in FAMILIES {
            ping(&user, address(lab, "web-2", v6));
            ping(&node, address(lab, "web-1", v6));
            assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
            curl(&user, of(OUTSIDE, v6), "/");
        }

        node.stop_agent().unwrap();
        assert_eq!(traces(&node), before);
        assert_eq!(pins(lab, "node-a"), 0);
        assert!(!node.socket().exists());

        node.start_agent().unwrap();
        for v6 in FAMILIES {
            ping(&user, address(lab, "web-2", v6));
        }
    });
}
