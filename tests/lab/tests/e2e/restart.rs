//! An agent that is killed and comes back.

use crate::clients::{Attempt, Conversation, attempt, curl, ping};
use crate::cluster::*;
use sluice_lab::{Lab, Place, Signal};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a pod's interface looks like to the pod, without the state of its carrier.
fn interface(pod: &Place<'_>) -> String {
    let tool = |args: &[&str]| {
        pod.run(&[&["ip", "-o"], args].concat())
            .unwrap()
            .text()
            .unwrap()
            .to_string()
    };
    let (link, addresses) = (tool(&["link", "show", "eth0"]), tool(&["address", "show", "eth0"]));
    let routes = format!("{}\n{}", tool(&["route"]), tool(&["-6", "route"])).replace(" linkdown", "");
    let words = |text: &str, after: &[&str]| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let found = words.windows(2).filter(|w| after.contains(&w[0])).map(|w| w.join(" "));
        found.collect::<Vec<_>>().join("\n")
    };
    format!(
        "{}\n{}\n{}",
        words(&link, &["mtu", "link/ether"]),
        words(&addresses, &["inet", "inet6"]),
        routes
    )
}

/// The node's own life: its address, and a connection to a process on it.
struct Ssh(Conversation);

impl Ssh {
    fn works(&mut self, lab: &Lab, when: &str) {
        let outside = lab.place("outside").unwrap();
        ping(&outside, of(NODE_A, false));
        ping(&outside, of(NODE_A, true));
        let reply = self
            .0
            .ask(when, PATIENCE)
            .unwrap_or_else(|e| panic!("the old connection, {when}: {e}"));
        assert_eq!(reply, when);
        let mut new = Conversation::open(&outside, (of(NODE_A, true), 2222));
        assert_eq!(new.ask("new", PATIENCE).unwrap(), "new", "{when}");
    }
}

#[test]
fn after_sigkill_pods_reach_each_other_within_two_seconds_and_the_node_never_goes_away() {
    alone_in_lab(&two_nodes(), |lab| {
        let (user, outside, node) = (
            lab.pod("user").unwrap(),
            lab.place("outside").unwrap(),
            lab.node("node-a").unwrap(),
        );
        let _daemon = node
            .spawn(&["socat", "TCP6-LISTEN:2222,fork,reuseaddr", "EXEC:cat"])
            .unwrap();
        lab.wait("the node's daemon", PATIENCE, || outside.reaches(NODE_A[0], 2222))
            .unwrap();
        let mut ssh = Ssh(Conversation::open(&outside, (of(NODE_A, false), 2222)));
        ssh.works(lab, "before");
        let before = interface(&user);

        let far = address(lab, "web-2", false).to_string();
        let load = format!("while :; do curl -s -m 2 -o /dev/null http://{far}/big; done");
        let _load = user.spawn(&["sh", "-c", &load]).unwrap();
        let pings: Vec<_> = [
            address(lab, "web-1", false),
            address(lab, "web-2", false),
            address(lab, "web-2", true),
        ]
        .iter()
        .map(|to| {
            user.spawn(&["ping", "-n", "-D", "-i", "0.05", &to.to_string()])
                .unwrap()
        })
        .collect();
        lab.wait("pings before the kill", PATIENCE, || {
            pings.iter().all(|p| replies(&p.said()).count() > 5)
        })
        .unwrap();

        node.kill_agent(Signal::SIGKILL).unwrap();
        ssh.works(lab, "while it is away");
        for v6 in FAMILIES {
            let to = (of(NODE_A, v6), 30080);
            assert_eq!(
                attempt(&outside, to, Duration::from_millis(500)),
                Attempt::Silence,
                "a reset would end connections"
            );
        }
        assert_eq!(interface(&user), before, "the pod keeps what it has");

        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        node.start_agent().unwrap();
        for ping in &pings {
            let back = || replies(&ping.said()).find(|at| *at > started);
            lab.wait("pings after the restart", PATIENCE, || back().is_some())
                .unwrap();
            let took = back().unwrap() - started;
            assert!(took < 2.0, "back only after {took:.2} s");
        }
        ssh.works(lab, "after the restart");
        assert_eq!(interface(&user), before);
        for v6 in FAMILIES {
            assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
            assert!(curl(&outside, (of(NODE_A, v6), 30080), "/").starts_with("web-"));
        }
    });
}

/// Times of replies, seconds since 1970: `[1700000000.123456] 64 bytes from …`.
fn replies(text: &str) -> impl Iterator<Item = f64> {
    let lines = text.lines().filter(|line| line.contains(" bytes from "));
    lines.filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
}

#[test]
fn an_agent_killed_again_and_again_comes_back_each_time() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        for name in ["node-a", "node-b", "node-a"] {
            let node = lab.node(name).unwrap();
            node.kill_agent(Signal::SIGKILL).unwrap();
            node.start_agent().unwrap();
            for v6 in FAMILIES {
                ping(&user, address(lab, "web-2", v6));
                assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
            }
        }
    });
}
