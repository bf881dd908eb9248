//! Dropped packets explain themselves.

use crate::clients::{Attempt, attempt};
use crate::cluster::*;
use crate::policy::{apply, wait_for_policy};
use serde_json::{Value, json};
use sluice_lab::{Lab, Node};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The newest packet from `source` that `sluice drops` has with these arguments, once there is one.
fn newest(lab: &Lab, node: &Node<'_>, source: IpAddr, args: &[&str]) -> Value {
    let all = [&["drops"], args].concat();
    let mut found = Value::Null;
    lab.wait(&format!("a row from {source} of {all:?}"), PATIENCE, || {
        let report = node.sluice_json(&all).unwrap();
        let mut rows = report["drops"].as_array().unwrap().iter();
        found = rows
            .find(|row| row["source"] == json!(source))
            .cloned()
            .unwrap_or_default();
        !found.is_null()
    })
    .unwrap();
    found
}

fn text(node: &Node<'_>, args: &[&str]) -> String {
    node.sluice(args).unwrap().text().unwrap().to_owned()
}

#[test]
fn a_policy_denial_and_a_spoofed_packet_are_shown_with_pod_and_tuple() {
    in_lab(&two_nodes(), |lab| {
        let (node_a, node_b) = (lab.node("node-a").unwrap(), lab.node("node-b").unwrap());
        let user = lab.pod("user").unwrap();
        apply(
            lab,
            "web-closed",
            &json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}),
        );
        wait_for_policy(lab, "web-closed", "web-2");
        for v6 in FAMILIES {
            let target = (address(lab, "web-2", v6), 80);
            assert_eq!(attempt(&user, target, Duration::from_millis(300)), Attempt::Silence);
            let source = address(lab, "user", v6);
            let row = newest(lab, &node_b, source, &["--reason", "policy_ingress", "--pod", "web-2"]);
            assert_eq!(
                [
                    &row["port"],
                    &row["tunnel"],
                    &row["destination_pod"],
                    &row["source"],
                    &row["destination"],
                    &row["protocol"]
                ],
                [
                    "uplink",
                    "node-a",
                    "default/web-2",
                    &source.to_string(),
                    &target.0.to_string(),
                    "tcp"
                ],
                "{row:#}"
            );
            assert_eq!(row["destination_port"], 80, "{row:#}");

            // An address that another pod has, or nobody.
            let forged: IpAddr = if v6 { "fd00:244:1::77" } else { "10.244.1.77" }.parse().unwrap();
            let add = ["ip", "address", "add", &forged.to_string(), "dev", "eth0"];
            user.run(&[&add[..], if v6 { &["nodad"] } else { &[] }].concat())
                .unwrap()
                .text()
                .unwrap();
            let sent = user.within(|| {
                let socket = UdpSocket::bind(SocketAddr::from((forged, 4321)))?;
                Ok(socket.send_to(b"who am I?", SocketAddr::from(target))?)
            });
            assert_eq!(sent.unwrap(), 9);
            let row = newest(
                lab,
                &node_a,
                forged,
                &["--reason", "spoofed_source", "--pod", "default/user"],
            );
            assert_eq!(
                [
                    &row["port"],
                    &row["source"],
                    &row["destination"],
                    &row["protocol"],
                    &row["source_pod"]
                ],
                [
                    &json!("default/user"),
                    &json!(forged),
                    &json!(target.0),
                    &json!("udp"),
                    &Value::Null
                ],
                "{row:#}"
            );
            assert_eq!(
                (&row["source_port"], &row["destination_port"]),
                (&json!(4321), &json!(80)),
                "{row:#}"
            );
            assert_eq!(row["length"], if v6 { 14 + 40 + 8 + 9 } else { 14 + 20 + 8 + 9 });
        }
        let page = text(&node_a, &["drops", "--reason", "sender", "-v"]);
        for part in [
            "spoofed_source",
            "default/user",
            "10.244.1.77:4321",
            "[fd00:244:1::77]:4321",
            "who am",
        ] {
            assert!(page.contains(part), "{part} is missing in\n{page}");
        }
        let page = text(&node_b, &["counters"]);
        let head = page
            .find("\nnetwork policy: ")
            .unwrap_or_else(|| panic!("no group in\n{page}"));
        assert!(
            page[head..].contains("denied by network policy at the receiving pod"),
            "{page}"
        );
        assert!(text(&node_b, &["drops", "--reason", "capacity"]).starts_with("no packet was dropped for capacity"));
        let error = node_a.sluice(&["drops", "--reason", "polcy"]).unwrap();
        assert!(
            !error.ok() && error.stderr.contains("no drop reason or group `polcy`"),
            "{error}"
        );
    });
}
