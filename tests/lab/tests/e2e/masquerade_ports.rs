//! The ports that pods are masqueraded to: few of them, used up, and shared with programs of the host.

use crate::balance::total;
use crate::clients::{Attempt, Conversation, attempt, datagram};
use crate::cluster::*;
use crate::raw::drops;
use serde_json::Value;
use sluice_lab::{Lab, Running, Signal, Topology};
use std::net::IpAddr;
use std::time::Duration;

const PORTS: [u16; 4] = [50_000, 50_001, 50_002, 50_003];
const SOON: Duration = Duration::from_millis(700);

fn few_ports() -> Topology {
    let mut topology = two_nodes();
    let snat = serde_json::json!({"snat": {"ports": format!("{}-{}", PORTS[0], PORTS[3])}});
    topology.nodes[0].agent = snat.as_object().unwrap().clone();
    topology
}

/// Connections from user to the web server outside that stay open.
fn connect(lab: &Lab, v6: bool, count: usize) -> Vec<Conversation> {
    let user = lab.pod("user").unwrap();
    let mut open = Vec::new();
    for _ in 0..count {
        let mut talk = Conversation::open(&user, (of(OUTSIDE, v6), 80));
        talk.http(PATIENCE).unwrap();
        open.push(talk);
    }
    open
}

/// Ends connections by a reset, which is what a socket sends that is closed with unread data.
fn reset(mut open: Vec<Conversation>) {
    for talk in &mut open {
        talk.leave_unread(PATIENCE);
    }
}

/// Ports that TCP connections to outside are masqueraded to.
fn in_use(lab: &Lab, to: IpAddr) -> Vec<u64> {
    let flows = lab
        .node("node-a")
        .unwrap()
        .sluice_json(&["flows", "--address", &to.to_string()])
        .unwrap();
    let flows = flows.as_array().unwrap().iter();
    let tcp = flows.filter(|flow| flow["protocol"] == "tcp" && flow["destination_port"] == 80);
    let mut ports: Vec<u64> = tcp.filter_map(|flow| flow["masqueraded_port"].as_u64()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn used_up_ports_are_a_drop_with_a_reason_and_come_back() {
    in_lab(&few_ports(), |lab| {
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        let drops = || drops(&node, "snat_ports_exhausted");
        for v6 in FAMILIES {
            let web = (of(OUTSIDE, v6), 80);
            let open = connect(lab, v6, PORTS.len());
            assert_eq!(in_use(lab, web.0), PORTS.map(u64::from));
            let before = drops();
            assert_eq!(attempt(&user, web, SOON), Attempt::Silence);
            assert!(drops() > before);
            // Towards another server, and with another protocol, the same ports serve once more.
            assert_eq!(attempt(&user, (of(OUTSIDE, v6), 7777), SOON), Attempt::Refused);
            assert_eq!(
                datagram(&user, (of(OUTSIDE, v6), 7), "hi", PATIENCE).unwrap(),
                "outside hi"
            );
            reset(open);
            lab.wait("the ports of connections that ended", PATIENCE * 2, || {
                attempt(&user, web, SOON) == Attempt::Connected
            })
            .unwrap();
        }
        assert!(total(&node, "connections") > 0);
    });
}

/// A server of the host, of both families.
pub(crate) fn serve(lab: &Lab, port: u16) -> Running {
    let listen = format!("TCP6-LISTEN:{port},fork,reuseaddr");
    let server = lab
        .node("node-a")
        .unwrap()
        .spawn(&["socat", &listen, "EXEC:cat"])
        .unwrap();
    let listens = || {
        let sockets = lab.node("node-a").unwrap().run(&["ss", "-Hltn"]).unwrap();
        sockets.stdout.contains(&format!(":{port} "))
    };
    lab.wait("the server to listen", PATIENCE, listens).unwrap();
    server
}

fn answers(lab: &Lab, port: u16) -> bool {
    let outside = lab.place("outside").unwrap();
    FAMILIES
        .iter()
        .all(|v6| attempt(&outside, (of(NODE_A, *v6), port), SOON) == Attempt::Connected)
}

fn contested(lab: &Lab, port: u16) -> bool {
    let status = lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap();
    let object = Value::from(format!("masquerade port {port}"));
    status["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|warning| warning["object"] == object)
}

#[test]
fn a_host_program_that_binds_a_port_gets_it_when_nothing_is_masqueraded_there() {
    in_lab(&few_ports(), |lab| {
        let mut kept = connect(lab, false, 1);
        let busy = in_use(lab, of(OUTSIDE, false))[0] as u16;
        let free = *PORTS.iter().find(|port| **port != busy).unwrap();
        let (_one, other) = (serve(lab, free), serve(lab, busy));
        lab.wait("a port that nobody used to be the host's", PATIENCE, || {
            answers(lab, free)
        })
        .unwrap();
        lab.wait("the status to tell of the other one", PATIENCE, || contested(lab, busy))
            .unwrap();
        assert!(!contested(lab, free));
        // The connection that has it goes on; new ones find neither of the two.
        kept[0].http(PATIENCE).unwrap();
        let more = connect(lab, false, 2);
        let used = in_use(lab, of(OUTSIDE, false));
        assert!(used.len() == 3 && !used.contains(&u64::from(free)), "{used:?}");
        let user = lab.pod("user").unwrap();
        assert_eq!(attempt(&user, (of(OUTSIDE, false), 80), SOON), Attempt::Silence);
        kept[0].http(PATIENCE).unwrap();
        assert!(!answers(lab, busy), "what comes to {busy} is the connection's");
        reset(kept);
        lab.wait("the other port to be the host's", PATIENCE * 2, || answers(lab, busy))
            .unwrap();
        assert!(!contested(lab, busy));
        drop((more, other));
    });
}

#[test]
fn ports_that_the_host_holds_at_start_are_never_taken() {
    in_lab(&few_ports(), |lab| {
        let node = lab.node("node-a").unwrap();
        node.kill_agent(Signal::SIGTERM).unwrap();
        let _server = serve(lab, PORTS[1]);
        node.start_agent().unwrap();
        assert!(answers(lab, PORTS[1]));
        let _open = connect(lab, true, 3);
        assert!(!in_use(lab, of(OUTSIDE, true)).contains(&u64::from(PORTS[1])));
        let user = lab.pod("user").unwrap();
        assert_eq!(attempt(&user, (of(OUTSIDE, true), 80), SOON), Attempt::Silence);
        assert!(answers(lab, PORTS[1]));
    });
}
