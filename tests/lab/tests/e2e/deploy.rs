//! The agent as `deploy/daemonset.yaml` runs it: with its capabilities, its mounts, its environment, and nothing else.

use crate::clients::{curl, ping};
use crate::cluster::*;
use serde_json::{Map, Value, json};
use sluice_lab::{Container, Lab, Node, Signal};
use std::collections::BTreeSet;

fn daemon_set() -> Value {
    serde_saphyr::from_str(include_str!("../../../../deploy/daemonset.yaml")).unwrap()
}

/// Resources and verbs.
fn granted() -> BTreeSet<(String, String)> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(include_str!("../../../../deploy/rbac.yaml")).unwrap();
    let rules = documents
        .iter()
        .flat_map(|document| document["rules"].as_array().into_iter().flatten());
    let words = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    let mut granted = BTreeSet::new();
    for rule in rules {
        for resource in words(&rule["resources"]) {
            granted.extend(words(&rule["verbs"]).into_iter().map(|verb| (resource.clone(), verb)));
        }
    }
    granted
}

fn auto() -> Map<String, Value> {
    let over = json!({"uplink": {"interface": "auto"}});
    over.as_object().unwrap().clone()
}

fn log(node: &Node<'_>) -> String {
    std::fs::read_to_string(node.agent_log()).unwrap()
}

/// A value of /proc/PID/status.
fn status(node: &Node<'_>, key: &str) -> String {
    let pid = node.agent_pid().unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("{key} in {text}"))
        .trim_start_matches(':')
        .trim()
        .to_owned()
}

/// Pods of the node reach each other, those of the other node, services and the outside.
fn served(lab: &Lab) {
    let (user, outside) = (lab.pod("user").unwrap(), lab.place("outside").unwrap());
    for v6 in FAMILIES {
        for pod in ["web-1", "web-2"] {
            ping(&user, address(lab, pod, v6));
        }
        let mut answers = Vec::new();
        lab.wait("both pods of the service to answer", PATIENCE, || {
            answers.push(curl(&user, (of(WEB, v6), 80), "/"));
            let by = |pod: &str| answers.iter().any(|answer| answer.contains(pod));
            by("web-1") && by("web-2")
        })
        .unwrap_or_else(|err| panic!("{err}: {answers:?}"));
        curl(&user, (of(OUTSIDE, v6), 80), "/");
        curl(&outside, (of(NODE_A, v6), 30080), "/");
    }
}

/// A network namespace that came after the agent.
struct Late<'l>(Node<'l>, String);

impl<'l> Late<'l> {
    fn new(lab: &'l Lab) -> Self {
        let (node, name) = (lab.node("node-a").unwrap(), format!("{}-late", lab.name()));
        node.run(&["ip", "netns", "add", &name]).unwrap().text().unwrap();
        Self(node, name)
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(&["ip", "netns", "delete", &self.1]);
    }
}

#[test]
fn what_the_daemon_set_gives_is_all_that_the_agent_needs() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let node = lab.node("node-a").unwrap();
        let container = node.container(&daemon_set()).unwrap();
        node.stop_agent().unwrap();
        node.start_agent_within(&container, &auto()).unwrap();
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let mask = u64::from_str_radix(&status(&node, set), 16).unwrap();
            assert_eq!(mask.count_ones() as usize, container.capabilities.len(), "{set}");
        }
        served(lab);
        let said = |command: &[&str]| node.run(command).unwrap().text().unwrap().to_owned();
        assert_eq!(said(&["sysctl", "-n", "net.ipv4.conf.sluice0.rp_filter"]), "2");
        assert_eq!(
            said(&["sysctl", "-n", "net.ipv4.ip_local_reserved_ports"]),
            "40000-65535"
        );
        assert!(said(&["nft", "list", "table", "inet", "sluice"]).contains("30080"));

        node.kill_agent(Signal::SIGKILL).unwrap();
        node.start_agent_within(&container, &auto()).unwrap();
        served(lab);

        node.take_over_agent_within(&container, &auto()).unwrap();
        served(lab);
        for probe in ["livez", "readyz"] {
            node.sluice(&["probe", probe]).unwrap().text().unwrap();
        }

        let late = Late::new(lab);
        let netns = format!("/var/run/netns/{}", late.1);
        let attach = [
            "attach",
            "--netns",
            &netns,
            "--interface",
            "eth0",
            "--address",
            "10.244.1.77/24",
            "--pod",
            "default/late",
        ];
        let said = node.sluice(&attach).unwrap();
        let said = said.text().unwrap();
        assert!(!said.contains("warning"), "{said}");
        let detach = ["detach", "--netns", &netns, "--interface", "eth0"];
        node.sluice(&detach).unwrap().text().unwrap();

        assert_eq!(warnings(&node), [] as [Value; 0]);
        let log = log(&node);
        assert!(
            log.contains("the uplink was found: it has 192.0.2.11, which NODE_IP says"),
            "{log}"
        );
        let granted = granted();
        for row in api.server().counters().json()["requests"].as_array().unwrap() {
            let right = (
                row["resource"].as_str().unwrap().to_owned(),
                row["verb"].as_str().unwrap().to_owned(),
            );
            assert!(granted.contains(&right), "deploy/rbac.yaml grants no {right:?}");
        }
        // What tests do to the agent on purpose it warns of.
        let loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        let loud: Vec<&str> = log
            .lines()
            .filter(loud)
            .filter(|line| !line.contains("this agent "))
            .collect();
        assert_eq!(loud, [""; 0]);
    });
}

#[test]
fn an_uplink_that_is_not_named_is_found_or_all_that_there_are_are_named() {
    let mut topology = two_nodes();
    topology.pods.retain(|pod| pod.node != "node-a");
    in_lab(&topology, |lab| {
        let node = lab.node("node-a").unwrap();
        let start = |interface: Value, environment: &[(&str, &str)]| {
            if node.agent_running() {
                node.stop_agent().unwrap();
            }
            let over = json!({"uplink": {"interface": interface}});
            let before = log(&node).len();
            let started = node.start_agent_with_in(over.as_object().unwrap(), environment);
            started.map_err(|_| log(&node)[before..].to_owned())
        };
        let uplink = || node.sluice_json(&["status"]).unwrap()["uplink"]["name"].clone();
        start(json!("auto"), &[("NODE_IP", NODE_A[1])]).unwrap();
        assert_eq!(uplink(), "eth0");
        start(json!(["bond*", "e*"]), &[]).unwrap();
        assert_eq!(uplink(), "eth0");
        let said = start(json!("auto"), &[]).unwrap_err();
        let there = "There are eth0 (192.0.2.11, 2001:db8:2::11";
        assert!(
            said.contains("NODE_IP is not set and there is no default route") && said.contains(there),
            "{said}"
        );
        node.run(&["ip", "route", "add", "default", "via", OUTSIDE[0]])
            .unwrap()
            .text()
            .unwrap();
        start(json!("auto"), &[]).unwrap();
        assert_eq!(uplink(), "eth0");
        let said = start(json!("auto"), &[("NODE_IP", NODE_B[0])]).unwrap_err();
        assert!(
            said.contains("no interface has 192.0.2.12") && said.contains(there),
            "{said}"
        );
        let said = start(json!("bond*"), &[]).unwrap_err();
        assert!(
            said.contains("is bond*, but no interface") && said.contains(there),
            "{said}"
        );
    });
}

/// Waits until the agent says this, whether it goes on or ends with it; then it is gone.
fn says(lab: &Lab, container: &Container, want: &str) {
    let node = lab.node("node-a").unwrap();
    let before = log(&node).len();
    node.launch_agent_within(container, &auto()).unwrap();
    let said = || log(&node)[before..].to_owned();
    let heard = lab.wait(want, PATIENCE, || said().contains(want));
    heard.unwrap_or_else(|err| panic!("{err}:\n{}", said()));
    if node.agent_running() {
        let _ = node.kill_agent(Signal::SIGKILL);
    }
}

#[test]
fn each_capability_that_the_daemon_set_gives_is_missed_by_name() {
    in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let whole = node.container(&daemon_set()).unwrap();
        node.kill_agent(Signal::SIGKILL).unwrap();
        let mut left = whole.capabilities.clone();
        for (name, instead, want) in [
            ("NET_ADMIN", &[][..], "Run with CAP_NET_ADMIN"),
            ("NET_RAW", &[], "It needs CAP_NET_RAW"),
            ("SYS_ADMIN", &[], "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"),
            // With what the program needs alone there are no pods.
            ("SYS_ADMIN", &["BPF", "PERFMON"], "Run with CAP_SYS_ADMIN"),
            ("IPC_LOCK", &[], "Run with CAP_IPC_LOCK"),
            ("SYS_NICE", &[], "grant CAP_SYS_NICE"),
        ] {
            let mut container = whole.clone();
            container.capabilities.retain(|other| other != name);
            assert_ne!(container, whole, "{name}");
            container
                .capabilities
                .extend(instead.iter().map(|name| (*name).to_owned()));
            says(lab, &container, want);
            left.retain(|other| other != name);
        }
        assert_eq!(left, [""; 0], "nobody knows what these are for");
        node.start_agent().unwrap();
        served(lab);
    });
}

#[test]
fn each_path_that_the_daemon_set_mounts_is_missed_by_name() {
    let mut topology = two_nodes();
    topology.pods.retain(|pod| pod.node != "node-a");
    in_lab(&topology, |lab| {
        let node = lab.node("node-a").unwrap();
        let whole = node.container(&daemon_set()).unwrap();
        let without = |path: &str| {
            let mut container = whole.clone();
            container.mounts.retain(|mount| mount.to.to_str() != Some(path));
            assert_ne!(container, whole, "{path}");
            container
        };
        // So that nothing is set already.
        node.stop_agent().unwrap();
        let told = [
            ("/etc/sluice", "config /etc/sluice/config.yaml: there is no such file"),
            ("/run/sluice", "cannot make the state directory /run/sluice"),
            ("/dev/net/tun", "give the agent /dev/net/tun"),
            (
                "/host/proc/sys/net",
                "Mount the node's /proc/sys/net writable at /host/proc/sys/net",
            ),
        ];
        for (path, want) in told {
            says(lab, &without(path), want);
        }
        // These two are missed later: when the agent is gone, and when a pod comes.
        let pins = std::path::PathBuf::from(format!("/sys/fs/bpf/sluice-{}-node-a", lab.name()));
        let pinned = || pins.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        let _ = std::fs::remove_dir_all(&pins);
        node.start_agent_within(&without("/sys/fs/bpf"), &auto()).unwrap();
        assert!(!pinned(), "the program went with its container");
        node.kill_agent(Signal::SIGKILL).unwrap();
        node.start_agent_within(&without("/run/netns"), &auto()).unwrap();
        assert!(pinned());
        let (netns, pod) = (
            lab.pod("web-2").unwrap().netns(),
            ["--interface", "eth0", "--address", "10.244.1.78/24"],
        );
        let attach = [
            &["attach", "--netns", netns.to_str().unwrap()],
            &pod[..],
            &["--pod", "default/late"],
        ]
        .concat();
        let refused = node.sluice(&attach).unwrap();
        assert!(!refused.ok() && refused.stderr.contains("does not exist"), "{refused}");
        assert_eq!(
            whole.mounts.len(),
            told.len() + 2,
            "nobody knows what the others are for"
        );
    });
}
