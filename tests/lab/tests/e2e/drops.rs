//! Dropped packets explain themselves.

use crate::clients::{Attempt, attempt, ping};
use crate::cluster::*;
use crate::policy::{apply, wait_for_policy};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sluice_lab::{Lab, Node, Pod};
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

/// Has `pod` send a packet from an address that is not its own.
fn forge(pod: &Pod<'_>, forged: IpAddr, port: u16) {
    let add = ["ip", "address", "replace", &forged.to_string(), "dev", "eth0"];
    pod.run(&add).unwrap().text().unwrap();
    let sent = pod.within(|| {
        let socket = UdpSocket::bind(SocketAddr::from((forged, port)))?;
        Ok(socket.send_to(b"who am I?", "10.244.2.5:80")?)
    });
    assert_eq!(sent.unwrap(), 9);
}

#[test]
fn dropped_packets_are_told_as_they_come_until_the_agent_goes() {
    in_lab(&two_nodes(), |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let forged: IpAddr = "10.244.1.77".parse().unwrap();
        let args = ["drops", "--follow", "--reason", "spoofed_source"];
        // From here on the pod knows its gateway, also while it has another address.
        ping(&user, address(lab, "web-2", false));
        forge(&user, forged, 4000);
        newest(lab, &node, forged, &args[2..]);
        let json = node.sluice_running(&[&args[..], &["-o", "json"]].concat()).unwrap();
        let human = node.sluice_running(&args).unwrap();
        let rows = || -> Vec<Value> {
            let said = json.said();
            // The last line may be half written.
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            let rows = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            rows.filter(|row| row["protocol"] == "udp").collect()
        };
        for n in 1..=3 {
            let text = format!("{forged}:{}", 4000 + n);
            lab.wait("what was there before", PATIENCE, || rows().len() >= usize::from(n))
                .unwrap();
            forge(&user, forged, 4000 + n);
            lab.wait(&format!("{text} to be told"), PATIENCE, || human.said().contains(&text))
                .unwrap();
        }
        lab.wait("all of them", PATIENCE, || rows().len() >= 4).unwrap();
        let ports: Vec<_> = rows().iter().map(|row| row["source_port"].clone()).collect();
        assert_eq!(ports, [4000, 4001, 4002, 4003], "each once");
        let stopped = human.stop();
        let lines = stopped.stdout.lines();
        assert_eq!(lines.filter(|line| line.contains(" udp ")).count(), 4, "{stopped}");
        assert!(stopped.stderr.is_empty(), "{stopped}");

        node.kill_agent(Signal::SIGKILL).unwrap();
        let ended = json.finish(PATIENCE);
        assert!(
            !ended.ok() && !ended.timed_out && ended.stderr.contains("has gone"),
            "{ended}"
        );
        node.start_agent().unwrap();
    });
}

/// While the agent does not run, queues of pods and of the uplink run full.
#[test]
fn what_is_lost_before_a_worker_takes_it_is_shown_with_its_port_and_what_to_do() {
    const PACKETS: u64 = 6000;
    in_lab(&two_nodes(), |lab| {
        let (node, user, outside) = (
            lab.node("node-a").unwrap(),
            lab.pod("user").unwrap(),
            lab.place("outside").unwrap(),
        );
        // The pod knows its gateway, which cannot answer while the agent stands still.
        ping(&user, address(lab, "web-2", false));
        assert_eq!(node.sluice_json(&["counters"]).unwrap()["lost"], json!([]));
        let agent = Pid::from_raw(node.agent_pid().unwrap());
        kill(agent, Signal::SIGSTOP).unwrap();
        let flood = |to: SocketAddr| -> anyhow::Result<()> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..PACKETS {
                // A packet that did not get through is one of those that are asked for.
                let _ = socket.send_to(b"anybody?", to);
            }
            Ok(())
        };
        let flooded = [
            user.within(|| flood("10.244.2.5:9".parse()?)),
            outside.within(|| flood(format!("{}:30007", NODE_A[0]).parse()?)),
        ];
        kill(agent, Signal::SIGCONT).unwrap();
        flooded.into_iter().for_each(Result::unwrap);

        let report = node.sluice_json(&["counters"]).unwrap();
        let lost = |port: &str, cause: &str| -> u64 {
            let rows = report["lost"].as_array().unwrap().iter();
            let those = rows.filter(|row| row["port"] == port && row["cause"] == cause);
            those.map(|row| row["packets"].as_u64().unwrap()).sum()
        };
        // The tap's queue holds a thousand, each ring of the uplink two.
        for (port, least, cause) in [("default/user", 4000, "queue_full"), ("uplink", 1000, "ring_full")] {
            let packets = lost(port, cause);
            assert!((least..PACKETS).contains(&packets), "{port}: {packets} in {report:#}");
            let rows = report["ports"].as_array().unwrap().iter();
            let row = rows.clone().find(|row| row["name"] == port).unwrap();
            assert!(row["lost_packets"].as_u64().unwrap() >= packets, "{row}");
        }
        let page = text(&node, &["counters"]);
        assert!(page.contains("workers.count") && page.contains("queue_full"), "{page}");
    });
}
