//! An agent that is killed and comes back.

use crate::clients::{Attempt, Conversation, attempt, curl, ping, ping_with};
use crate::cluster::*;
use serde_json::json;
use sluice_lab::{Lab, Node, Place, Signal};
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

        // How soon all three are answered again.
        let back = || {
            let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            node.start_agent().unwrap();
            let each = pings.iter().map(|ping| {
                let first = || replies(&ping.said()).find(|at| *at > started);
                lab.wait("pings after the restart", PATIENCE, || first().is_some())
                    .unwrap();
                first().unwrap() - started
            });
            each.fold(0.0, f64::max)
        };
        // Who else uses the machine can only make it slower: one of three shows what the agent needs.
        let mut took = vec![back()];
        while took.len() < 3 && took.iter().all(|seconds| *seconds >= 2.0) {
            node.kill_agent(Signal::SIGKILL).unwrap();
            took.push(back());
        }
        assert!(
            took.iter().any(|seconds| *seconds < 2.0),
            "back only after {took:.2?} s"
        );
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

/// What the agent's node knows of pods: their number, and that none waits to be taken up.
fn pods(node: &Node<'_>) -> usize {
    let status = node.sluice_json(&["status"]).unwrap();
    assert_eq!(status["ready"], true, "{status:#}");
    status["pods"].as_u64().unwrap() as usize
}

#[test]
fn pods_come_and_go_while_the_agent_is_away() {
    let mut topology = two_nodes();
    for (name, last) in [("goes", 100), ("again", 101), ("comes", 102)] {
        let run = if name == "comes" { r#""http""# } else { "" };
        let pod = format!(
            r#"{{"name": "{name}", "node": "node-a", "addresses": ["10.244.1.{last}", "fd00:244:1::{last}"], "run": [{run}]}}"#
        );
        add_pod(&mut topology, &pod);
    }
    in_lab(&topology, |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let run = |command: &[&str]| node.run(command).unwrap().text().map(drop).unwrap();
        let comes = lab.pod("comes").unwrap();
        comes.detach().unwrap();
        let [goes, again] = ["goes", "again"].map(|name| {
            let path = lab.pod(name).unwrap().netns();
            path.file_name().unwrap().to_string_lossy().into_owned()
        });
        // An interface whose other end goes with the namespace, as soon as nothing keeps that any more.
        for (namespace, near) in [(&goes, "end-goes"), (&again, "end-again")] {
            run(&[
                "ip", "link", "add", near, "type", "veth", "peer", "name", "far", "netns", namespace,
            ]);
        }
        let is_there = |near: &str| node.run(&["ip", "link", "show", near]).unwrap().ok();
        assert!(is_there("end-goes") && is_there("end-again") && pods(&node) == 4);

        node.kill_agent(Signal::SIGKILL).unwrap();
        assert!(comes.attach().is_err(), "nobody is there to attach it");
        run(&["ip", "netns", "delete", &goes]);
        run(&["ip", "netns", "delete", &again]);
        lab.remove("pod-goes.yaml").unwrap();
        // The same name, another namespace: the pod was made anew, with another address.
        run(&["ip", "netns", "add", &again]);
        run(&["ip", "-n", &again, "link", "set", "lo", "up"]);
        lab.edit("pod-again.yaml", |pod| {
            pod["status"] = json!({"phase": "Running", "podIPs": [{"ip": "10.244.1.111"}]});
        })
        .unwrap();

        node.start_agent().unwrap();
        assert_eq!(pods(&node), 2, "those that are still what they were");
        lab.wait("the old namespaces to vanish", PATIENCE, || {
            !is_there("end-goes") && !is_there("end-again")
        })
        .unwrap();
        comes.attach().unwrap();
        let path = lab.pod("again").unwrap().netns().to_string_lossy().into_owned();
        let attach = [
            "attach",
            "--netns",
            &path,
            "--interface",
            "eth0",
            "--pod",
            "default/again",
        ];
        node.sluice(&[&attach[..], &["--address", "10.244.1.111/24"]].concat())
            .unwrap()
            .text()
            .unwrap();
        assert_eq!(pods(&node), 4);

        for v6 in FAMILIES {
            ping(&user, address(lab, "web-2", v6));
            assert_eq!(curl(&user, address(lab, "comes", v6), "/"), "comes");
        }
        ping(&user, "10.244.1.111".parse().unwrap());
        for gone in ["10.244.1.100", "10.244.1.101"] {
            let output = ping_with(&user, gone.parse().unwrap(), &[]);
            assert!(
                output.stdout.contains("Host Unreachable"),
                "{gone} is nobody's: {output}"
            );
        }
        // And once more: what was saved is what is there.
        node.kill_agent(Signal::SIGKILL).unwrap();
        node.start_agent().unwrap();
        assert_eq!(pods(&node), 4);
        ping(&user, "10.244.1.111".parse().unwrap());
        run(&["ip", "netns", "delete", &again]);
        lab.wait("the agent to notice", PATIENCE, || pods(&node) == 3).unwrap();
    });
}

#[test]
fn another_build_with_another_configuration_takes_over_and_gives_back() {
    in_lab(&two_nodes(), |lab| {
        let (node, user, outside) = (
            lab.node("node-a").unwrap(),
            lab.pod("user").unwrap(),
            lab.place("outside").unwrap(),
        );
        let pid = node.agent_pid().unwrap();
        let other = lab.dir().join("sluice-other");
        std::fs::copy(format!("/proc/{pid}/exe"), &other).unwrap();
        let own_workers = lab.topology().node("node-a").unwrap().workers as usize;
        let over = json!({"workers": {"count": 3}, "services": {"scheduler": "rr"},
            "snat": {"ports": "50000-60000"}});
        let before = interface(&user);
        let as_told = |is_other: bool| {
            for v6 in FAMILIES {
                ping(&user, address(lab, "web-1", v6));
                ping(&user, address(lab, "web-2", v6));
                assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
                assert!(curl(&outside, (of(NODE_A, v6), 30080), "/").starts_with("web-"));
                assert_eq!(curl(&user, of(OUTSIDE, v6), "/"), "outside");
            }
            let status = node.sluice_json(&["status"]).unwrap();
            let workers = status["workers"].as_array().unwrap().len();
            let scheduler = node.sluice_json(&["services", "default/web"]).unwrap()[0]["scheduler"].clone();
            let reserved = node
                .run(&["cat", "/proc/sys/net/ipv4/ip_local_reserved_ports"])
                .unwrap();
            let reserved = reserved.text().unwrap();
            let (want, ports) = if is_other {
                ((3, json!("rr")), "50000-60000")
            } else {
                ((own_workers, json!("random")), "40000-65535")
            };
            assert_eq!((workers, scheduler, reserved), (want.0, want.1, ports));
            assert_eq!(interface(&user), before, "pods keep what they have");
            assert_eq!(pods(&node), 2);
        };
        as_told(false);
        for how in [Signal::SIGKILL, Signal::SIGTERM] {
            node.kill_agent(how).unwrap();
            node.start_other_agent(&other, over.as_object().unwrap()).unwrap();
            as_told(true);
            node.kill_agent(how).unwrap();
            node.start_agent().unwrap();
            as_told(false);
        }
    });
}

/// The longest time without an answer, seconds, of pings that are sent twenty times a second.
fn longest_gap(text: &str) -> f64 {
    let times: Vec<f64> = replies(text).collect();
    times.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max)
}

#[test]
fn a_rollout_keeps_connections_and_costs_less_than_two_seconds() {
    let mut topology = two_nodes();
    // By it the next agent finds the same end of a connection.
    topology.agent = serde_json::from_value(json!({"services": {"scheduler": "mh"}})).unwrap();
    alone_in_lab(&topology, |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let before = interface(&user);
        let mut old = Conversation::open(&user, (of(WEB, false), 80));
        let name = old.who().unwrap();
        let ping = user
            .spawn(&[
                "ping",
                "-n",
                "-D",
                "-i",
                "0.05",
                &address(lab, "web-2", true).to_string(),
            ])
            .unwrap();
        let answered = |count: usize| {
            lab.wait("pings", PATIENCE, || replies(&ping.said()).count() >= count)
                .unwrap();
        };
        answered(5);
        // Who else uses the machine can only make it slower: one of three shows what the agents need.
        let mut gaps = Vec::new();
        while gaps.len() < 3 && gaps.iter().all(|seconds| *seconds >= 2.0) {
            let seen = ping.said().len();
            let mut more = serde_json::Map::new();
            more.insert("log".into(), json!({"level": "debug"}));
            node.take_over_agent(&more).unwrap();
            answered(replies(&ping.said()).count() + 5);
            let said = ping.said();
            let from = said[..seen].rfind('[').unwrap_or(0);
            gaps.push(longest_gap(&said[from..]));
        }
        println!("longest time without an answer over a rollout: {gaps:.2?} s");
        assert!(gaps.iter().any(|seconds| *seconds < 2.0), "{gaps:.2?} s");
        assert_eq!(old.who().unwrap(), name, "an old connection through a service");
        assert_eq!(interface(&user), before, "the pod keeps what it has");
        for v6 in FAMILIES {
            assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
        }
        assert!(
            std::fs::read_to_string(node.agent_log())
                .unwrap()
                .contains("waiting to be stopped")
        );
    });
}

/// One that cannot be followed by another goes on.
#[test]
fn an_agent_that_may_not_take_over_or_never_learns_enough_leaves_the_other_one_alone() {
    in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let user = lab.pod("user").unwrap();
        let file = lab.dir().join("node-a.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let nowhere = lab.dir().join("nowhere.yaml");
        let manifests = lab.dir().join("manifests").display().to_string();
        assert!(text.contains(&manifests), "{text}");
        std::fs::write(&nowhere, text.replace(&manifests, "/nowhere/at/all")).unwrap();
        let run = |more: &[&str]| {
            let program = sluice_lab::binary("sluice").unwrap();
            // The log is heard where output is.
            let sh = [
                "sh",
                "-c",
                "exec \"$0\" run --config \"$@\" 2>&1",
                program.to_str().unwrap(),
            ];
            node.spawn(&[&sh, more].concat()).unwrap()
        };
        let refused = run(&[file.to_str().unwrap()]);
        lab.wait("the second agent to be refused", PATIENCE, || !refused.running())
            .unwrap();
        assert!(
            refused
                .said()
                .contains("another agent serves this network namespace already"),
            "{}",
            refused.said()
        );
        let waits = run(&[nowhere.to_str().unwrap(), "--take-over"]);
        lab.wait("the other one to say that it waits", PATIENCE, || {
            waits.said().contains("it goes on until")
        })
        .unwrap();
        assert!(curl(&user, of(WEB, false), "/").starts_with("web-"));
        assert!(waits.running());
        drop(waits);
        assert!(node.sluice_json(&["status"]).unwrap()["ready"] == true);
        assert!(node.sluice(&["probe", "livez"]).unwrap().ok() && node.sluice(&["probe", "readyz"]).unwrap().ok());
    });
}
