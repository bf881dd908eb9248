//! What stays the node's own beside the packet path.

use crate::clients::{Attempt, Conversation, attempt, ping_with};
use crate::cluster::*;
use crate::faults;
use crate::frames::{Mac, datagram, mac_of};
use crate::masquerade_ports::serve;
use crate::raw::{RawPort, contains, drops};
use sluice_lab::{Lab, Place, Signal};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

/// Whether one ping with this identifier is answered.
fn answered(from: &Place<'_>, to: IpAddr, id: u16) -> bool {
    ping_with(from, to, &["-e", &id.to_string()]).ok()
}

/// Masqueraded pings have an identifier of the masquerade range at the node, the node's own have any: both are answered.
#[test]
fn the_nodes_own_pings_are_answered_beside_those_of_its_pods() {
    in_lab(&two_nodes(), |lab: &Lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        for v6 in FAMILIES {
            let to = of(OUTSIDE, v6);
            for step in 0..10 {
                assert!(answered(&node, to, 50_000 + step), "the node's own, {step}");
                assert!(answered(&user, to, 60_000 + step), "a pod's, {step}");
                assert!(answered(&node, to, 40_000 + 100 * step), "the node's own again, {step}");
            }
        }
        // What a pod has used is the node's again when its connection is over. To the same place an answer would keep that alive.
        let all = || FAMILIES.iter().all(|v6| answered(&node, of(NODE_B, *v6), 60_000));
        lab.wait("the identifiers that a pod has used", PATIENCE * 4, all)
            .unwrap();
    });
}

/// What a switch floods, and what is for all, reaches every node, whose NIC may take everything: only frames for the uplink's own MAC
/// are taken.
#[test]
fn frames_for_other_macs_are_not_taken_from_the_wire() {
    in_lab(&two_nodes(), |lab| {
        let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
        node.run(&["ip", "link", "set", "eth0", "promisc", "on"]).unwrap();
        let (wire, kernel) = (RawPort::open(lab, &outside, "eth0"), RawPort::open(lab, &node, "eth0"));
        let (own, from) = (mac_of(&node), mac_of(&outside));
        let send = |to: Mac, v6: bool, text: &str| {
            let ends = ((of(OUTSIDE, v6), 5555), (of(NODE_A, v6), 30007));
            wire.send(&datagram((from, to), ends.0, ends.1, text));
        };
        let comes = |frame: &[u8], text: &str| frame.starts_with(&from) && contains(frame, text.as_bytes());
        for v6 in FAMILIES {
            let ours = || {
                send(own, v6, "ours");
                wire.next(PATIENCE, |frame| comes(frame, "ours"))
            };
            assert!(faults::again(ours, Option::is_some).is_some());
            let mut other = own;
            other[5] ^= 0x55;
            for (to, what) in [(other, "another's"), ([0xff; 6], "everybody's")] {
                send(to, v6, what);
                kernel.carrying(what);
                // Of one flow, so an answer to the first would come first.
                let answered = Cell::new(false);
                let last = || {
                    send(own, v6, "ours again");
                    wire.next(PATIENCE, |frame| {
                        answered.set(answered.get() | comes(frame, what));
                        comes(frame, "ours again")
                    })
                };
                let last = faults::again(last, Option::is_some);
                assert!(last.is_some() && !answered.get(), "{what} was answered");
            }
        }
        assert_eq!(drops(&node, "other_mac"), 0, "they do not come so far");
    });
}

/// What comes in by a queue without a socket would be lost.
#[test]
fn fewer_queues_than_the_interface_has_are_refused_at_start() {
    let mut topology = two_nodes();
    topology.nodes[0].queues = Some(2);
    in_lab(&topology, |lab| {
        let node = lab.node("node-a").unwrap();
        let queues = |count: u32| {
            let over = serde_json::json!({"uplink": {"interface": "eth0", "queues": count}});
            node.kill_agent(Signal::SIGTERM).unwrap();
            node.start_agent_with(over.as_object().unwrap())
        };
        queues(2).unwrap();
        let said = format!("{:#}", queues(1).unwrap_err());
        assert!(
            said.contains("uplink.queues is 1, but eth0 has 2 receive queues") && said.contains("ethtool -L eth0"),
            "{said}"
        );
        node.start_agent().unwrap();
        // More than there are is no harm.
        queues(64).unwrap();
        assert_eq!(node.sluice_json(&["status"]).unwrap()["uplink"]["queues"], 2);
    });
}

/// The kernel knows nothing of such a connection, and would reset it with the first packet that it sees.
#[test]
fn a_connection_through_a_node_port_outlives_its_service() {
    in_lab(&two_nodes(), |lab| {
        let outside = lab.place("outside").unwrap();
        let ends = FAMILIES.map(|v6| (of(NODE_A, v6), 30080));
        let tried = |want: Attempt| {
            let is = |end: &(IpAddr, u16)| attempt(&outside, *end, Duration::from_millis(700)) == want;
            ends.iter().all(is)
        };
        let mut open = ends.map(|end| Conversation::open(&outside, end));
        open.iter_mut().for_each(|talk| drop(talk.http(PATIENCE).unwrap()));
        lab.remove("service-default-web.yaml").unwrap();
        lab.wait("the service to go", PATIENCE, || tried(Attempt::Silence))
            .unwrap();
        for _ in 0..8 {
            open.iter_mut().for_each(|talk| drop(talk.http(PATIENCE).unwrap()));
            assert!(tried(Attempt::Silence), "new ones are nobody's");
        }
    });
}

/// Ended by resets, which are soonest forgotten: after ten seconds nothing uses the port.
#[test]
fn a_node_port_whose_service_and_connections_are_gone_is_the_nodes_again() {
    in_lab(&two_nodes(), |lab| {
        let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
        let ends = FAMILIES.map(|v6| (of(NODE_A, v6), 30080));
        let reached = |end: &(IpAddr, u16)| match attempt(&outside, *end, Duration::from_millis(300)) {
            Attempt::Connected => true,
            Attempt::Silence => false,
            Attempt::Refused => panic!("somebody refuses at {end:?}, where a program listens"),
        };
        let used = || {
            let flows = node.sluice_json(&["flows", "--limit", "10000"]).unwrap();
            let flows = flows.as_array().unwrap().iter();
            flows.filter(|flow| flow["destination_port"] == 30080).count()
        };
        let mut open = ends.map(|end| Conversation::open(&outside, end));
        lab.remove("service-default-web.yaml").unwrap();
        let known = || {
            let rows = node.sluice_json(&["services"]).unwrap();
            rows.as_array().unwrap().iter().any(|row| row["name"] == "web")
        };
        lab.wait("the service to go", PATIENCE, || !known()).unwrap();
        let _program = serve(lab, 30080);
        for talk in &mut open {
            talk.http(PATIENCE).unwrap();
        }
        assert!(!ends.iter().any(reached), "the port is the connections'");
        assert_eq!(used(), 2);
        // A socket that is closed with something unread resets its connection.
        open.iter_mut().for_each(|talk| talk.leave_unread(PATIENCE));
        drop(open);
        lab.wait("the program to be reached", PATIENCE * 2, || ends.iter().all(reached))
            .unwrap();
        assert_eq!(used(), 0);
    });
}
