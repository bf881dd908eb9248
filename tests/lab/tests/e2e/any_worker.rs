//! Several workers: the same load for any number of them, connections whose directions meet different ones, and numbers that change.

use crate::clients::{Conversation, curl, echoes, ping, spread};
use crate::cluster::*;
use crate::load::requests;
use crate::workers::with;
use serde_json::{Value, json};
use sluice_lab::{Lab, Node, Signal};
use std::time::Duration;

/// Until the pods of both nodes can be reached.
fn settled(lab: &Lab) {
    let user = lab.pod("user").unwrap();
    for (name, v6) in ["web-1", "web-2"].into_iter().flat_map(|n| FAMILIES.map(|v6| (n, v6))) {
        let address = address(lab, name, v6).to_string();
        lab.wait(name, PATIENCE, || user.reaches(&address, 80)).unwrap();
    }
}

/// Connections through a ClusterIP beside bulk data from the other node, then datagrams, both families.
fn carries_the_load(workers: u32) {
    in_lab(&with(workers, workers, "adaptive"), |lab| {
        settled(lab);
        let user = lab.pod("user").unwrap();
        let far = address(lab, "web-2", false);
        let bulk = format!("while :; do curl -sf -m 60 -o /dev/null http://{far}/big || echo broken; done");
        let bulk = user.spawn(&["sh", "-c", &bulk]).unwrap();
        for v6 in FAMILIES {
            let names = requests(&user, (of(WEB, v6), 80), 1000);
            assert_eq!(names.len(), 1000);
            assert_eq!(spread(&names).len(), 2, "both endpoints serve");
        }
        let said = bulk.stop();
        assert!(!said.stdout.contains("broken"), "{said}");
        // Nobody sends a datagram again that a full queue had no room for.
        for v6 in FAMILIES {
            assert_eq!(spread(&echoes(&user, (of(ECHO, v6), 7), 100)).len(), 2);
        }
        for name in ["node-a", "node-b"] {
            crate::balance::balanced(lab, &lab.node(name).unwrap());
        }
    });
}

#[test]
fn one_worker_carries_the_load() {
    carries_the_load(1);
}

#[test]
fn two_workers_carry_the_load() {
    carries_the_load(2);
}

#[test]
fn four_workers_carry_the_load() {
    carries_the_load(4);
}

/// Packets that each worker took in.
fn taken(node: &Node<'_>) -> Vec<u64> {
    let status = node.sluice_json(&["status"]).unwrap();
    let workers = status["workers"].as_array().unwrap().iter();
    workers.map(|w| w["packets"].as_u64().unwrap()).collect()
}

/// TCP connections of the pod `user` to the service, as the agent knows them.
fn flows(node: &Node<'_>) -> Vec<Value> {
    let rows = node.sluice_json(&["flows", "--limit", "10000"]).unwrap();
    let web = |row: &&Value| row["destination"] == WEB[0] && row["protocol"] == "tcp";
    let rows = rows.as_array().unwrap_or_else(|| panic!("{rows:#}"));
    rows.iter().filter(web).cloned().collect()
}

/// Four workers and one queue of the uplink. Whatever comes from the wire meets the one worker that owns the queue; a pod's first packet, and
/// each after a silence of three seconds (TUN_FLOW_EXPIRE, drivers/net/tun.c), meets the one that the kernel's hash of the flow says.
#[test]
fn directions_that_meet_different_workers_are_one_connection() {
    const CONNECTIONS: usize = 48;
    let mut topology = with(4, 1, "adaptive");
    topology.agent = serde_json::from_value(json!({"services": {"scheduler": "lc"}})).unwrap();
    in_lab(&topology, |lab| {
        settled(lab);
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        let mut open: Vec<(Conversation, String)> = Vec::new();
        let before = taken(&node);
        for _ in 0..CONNECTIONS {
            let mut conversation = Conversation::open(&user, (of(WEB, false), 80));
            let name = conversation.who().unwrap();
            open.push((conversation, name));
        }
        // All but one of them, of four, have nothing but what comes from pods.
        let busy = |before: &[u64]| {
            taken(&node)
                .iter()
                .zip(before)
                .filter(|(now, then)| now >= &&(*then + 8))
                .count()
        };
        assert!(busy(&before) >= 3, "{before:?} before, {:?} after", taken(&node));
        let of_name = |name: &str| open.iter().filter(|(_, n)| n == name).count();
        assert_eq!(
            (of_name("web-1"), of_name("web-2")),
            (24, 24),
            "least connection counts what is open"
        );

        for _ in 0..2 {
            let before = taken(&node);
            std::thread::sleep(Duration::from_secs(4));
            for (conversation, name) in &mut open {
                assert_eq!(conversation.who().unwrap(), *name);
            }
            assert!(busy(&before) >= 3, "{before:?} before, {:?} after", taken(&node));
        }
        let rows = flows(&node);
        assert_eq!(rows.len(), CONNECTIONS);
        for row in &rows {
            assert_eq!(row["state"], "established", "{row:#}");
            // SYN, SYN with ACK, ACK, and three times at least a request, an answer and an ACK.
            let lately = Duration::from_secs(4).as_millis() as u64 * 3;
            assert!(
                row["packets"].as_u64() >= Some(11) && row["idle_ms"].as_u64() < Some(lately),
                "{row:#}"
            );
        }

        // One endpoint drains: no new connections, and the old ones go on.
        const FILE: &str = "endpointslice-default-web-ipv4.yaml";
        let keep_one = |slice: &mut Value| {
            let endpoints = slice["endpoints"].as_array_mut().unwrap();
            endpoints.retain(|e| e["targetRef"]["name"] == "web-1");
        };
        lab.edit(FILE, keep_one).unwrap();
        let served = || {
            let rows = node.sluice_json(&["services", "default/web"]).unwrap();
            let weight = |address: &str| {
                let mut endpoints = rows[0]["endpoints"].as_array().into_iter().flatten();
                let endpoint = endpoints.find(|endpoint| endpoint["address"] == address);
                endpoint.map_or(0, |endpoint| endpoint["weight"].as_u64().unwrap_or(0))
            };
            weight("10.244.1.5") > 0 && weight("10.244.2.5") == 0
        };
        lab.wait("the agent to follow", PATIENCE, served).unwrap();
        for (conversation, name) in &mut open {
            assert_eq!(conversation.who().unwrap(), *name);
        }
        assert_eq!(curl(&user, of(WEB, false), "/"), "web-1");

        drop(open);
        let over = |row: &Value| row["state"] == "time_wait" || row["state"] == "closed";
        lab.wait("all connections to end", PATIENCE, || flows(&node).iter().all(over))
            .unwrap();
    });
}

/// Gives the first node's NIC this many queues, and its other end as many; the kernel refuses while a program is attached to one of them.
fn set_queues(lab: &Lab, queues: u32) {
    let count = queues.to_string();
    let ends = [
        (lab.place("net").unwrap(), "n0"),
        (lab.place("node-a").unwrap(), "eth0"),
    ];
    for (place, interface) in ends {
        let now = place.run(&["ethtool", "-l", interface]).unwrap();
        let now = now
            .stdout
            .rsplit("TX:")
            .next()
            .and_then(|text| text.split_whitespace().next());
        if now != Some(count.as_str()) {
            let set = place
                .run(&["ethtool", "-L", interface, "rx", &count, "tx", &count])
                .unwrap();
            assert!(set.ok(), "{set}");
        }
    }
}

#[test]
fn workers_and_queues_may_change_at_a_restart() {
    in_lab(&with(4, 4, "adaptive"), |lab| {
        settled(lab);
        let (user, outside) = (lab.pod("user").unwrap(), lab.place("outside").unwrap());
        let node = lab.node("node-a").unwrap();
        // Pod to pod, so no record is needed to take it up again.
        let mut far = Conversation::open(&user, (address(lab, "web-2", false), 80));
        let mut near = Conversation::open(&user, (address(lab, "web-1", true), 80));
        for (workers, queues, signal) in [
            (2, 4, Signal::SIGKILL),
            (1, 1, Signal::SIGTERM),
            (2, 4, Signal::SIGTERM),
            (4, 2, Signal::SIGTERM),
        ] {
            node.kill_agent(signal).unwrap();
            set_queues(lab, queues);
            let over = json!({"workers": {"count": workers}});
            node.start_agent_with(over.as_object().unwrap()).unwrap();
            let status = node.sluice_json(&["status"]).unwrap();
            assert_eq!(status["workers"].as_array().unwrap().len(), workers);
            assert_eq!(status["uplink"]["queues"], queues);
            for conversation in [&mut far, &mut near] {
                let reply = conversation.who();
                assert!(reply.is_ok(), "{workers} workers, {queues} queues: {reply:?}");
            }
            for v6 in FAMILIES {
                ping(&user, address(lab, "web-2", v6));
                assert_eq!(spread(&requests(&user, (of(WEB, v6), 80), 64)).len(), 2);
                assert!(curl(&outside, (of(NODE_A, v6), 30080), "/").starts_with("web-"));
            }
        }
    });
}
