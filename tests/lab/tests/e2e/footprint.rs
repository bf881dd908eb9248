//! What an agent holds of its machine: descriptors by kind, and memory of its own. What came for something that is gone must
//! be gone, too.

use crate::clients::{curl, echoes, ping};
use crate::cluster::*;
use serde_json::json;
use sluice_lab::{Lab, Node, manifests};
use std::collections::BTreeMap;

/// Growth that is none: tables are touched for the first time where their pages are first used, and the allocator keeps a
/// little of what was freed.
const TABLES_KIB: u64 = 96 << 10;

/// One agent's.
#[derive(Clone, Debug)]
pub(crate) struct Footprint {
    pid: i32,
    /// Descriptors that belong to no pod, by kind.
    pub(crate) descriptors: BTreeMap<String, i64>,
    /// Memory that is neither a file's nor shared: connection records are shared, all there from the start, and touched
    /// little by little.
    pub(crate) memory_kib: u64,
}

impl Footprint {
    pub(crate) fn of(node: &Node<'_>) -> Self {
        let pid = node.agent_pid().expect("a running agent");
        let mut descriptors = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            // One that is closed meanwhile is none.
            let Ok(link) = std::fs::read_link(entry.path()) else {
                continue;
            };
            let link = link.to_string_lossy();
            // `socket:[123]`, `net:[456]`: the kind without the number. A link of BPF is called differently when it was
            // made and when it was taken from a pin.
            let kind = match link.split_once(":[") {
                Some((kind, _)) if kind != "anon_inode" => kind.to_owned(),
                _ => link.replace("bpf_link", "bpf-link"),
            };
            *descriptors.entry(kind).or_insert(0) += 1;
        }
        let status = node.sluice_json(&["status"]).unwrap();
        let pods = status["pods"].as_i64().unwrap();
        let queues = pods * status["workers"].as_array().unwrap().len() as i64;
        let mut kinds = vec!["/dev/net/tun"];
        if status["warnings"].to_string().contains("damages packets on purpose") {
            kinds.extend(["anon_inode:[eventpoll]", "anon_inode:[eventfd]"]);
        }
        for kind in kinds {
            *descriptors.entry(kind.to_owned()).or_insert(0) -= queues;
        }
        Self {
            pid,
            descriptors,
            memory_kib: memory_kib(pid),
        }
    }
}

/// Connections to an API server that may have come or gone meanwhile.
const POOLED: i64 = 3;

impl Footprint {
    fn holds_hardly_more(&self, before: &Self) -> bool {
        const SOCKET: &str = "socket";
        let others = |of: &Self| {
            let mut all = of.descriptors.clone();
            all.remove(SOCKET);
            all
        };
        let sockets = |of: &Self| of.descriptors.get(SOCKET).copied().unwrap_or(0);
        others(self) == others(before) && sockets(self) <= sockets(before) + POOLED
    }
}

fn memory_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{status}"))
    };
    line("RssAnon:")
}

/// Those of all agents.
pub(crate) fn all(lab: &Lab) -> BTreeMap<String, Footprint> {
    let nodes = lab.topology().nodes.iter().map(|spec| lab.node(&spec.name).unwrap());
    let running = nodes.filter(Node::agent_running);
    running
        .map(|node| (node.name().to_owned(), Footprint::of(&node)))
        .collect()
}

/// Waits until the node's descriptors are those of `before` (a client that has just left may still be known), and judges
/// its memory.
pub(crate) fn is_as_before(lab: &Lab, node: &Node<'_>, before: &Footprint, growth_kib: u64) {
    let mut now = Footprint::of(node);
    let what = format!("the descriptors of {}", node.name());
    let waited = lab.wait(&what, PATIENCE, || {
        now = Footprint::of(node);
        now.descriptors == before.descriptors || (lab.api().is_some() && now.holds_hardly_more(before))
    });
    assert!(waited.is_ok(), "before {before:#?}\nnow {now:#?}");
    assert!(
        now.memory_kib <= before.memory_kib + growth_kib,
        "{} grew from {} KiB to {} KiB",
        node.name(),
        before.memory_kib,
        now.memory_kib
    );
}

/// What holds for every lab.
pub(crate) fn check(lab: &Lab, before: &BTreeMap<String, Footprint>) {
    for (name, before) in before {
        let node = lab.node(name).unwrap();
        // One that was started meanwhile may have another configuration, and began with nothing anyway.
        if node.agent_pid() == Some(before.pid) {
            is_as_before(lab, &node, before, TABLES_KIB);
        }
    }
}

/// After a lab is gone: its namespaces (and with them its interfaces and rules), pins, files and processes.
pub(crate) fn nothing_is_left(lab: &str) {
    let names = |dir: &str, of: &str| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(of)).collect()
    };
    let mut left = names("/run/netns", &format!("sl-{lab}-"));
    left.extend(names("/sys/fs/bpf", &format!("sluice-{lab}-")));
    left.extend(names("/run/sluice-lab", lab).into_iter().filter(|name| name == lab));
    let mark = format!("/run/sluice-lab/{lab}/");
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        left.extend(line.contains(&mark).then_some(line));
    }
    assert!(left.is_empty(), "lab {lab} has left behind: {left:#?}");
}

/// One round of everything that comes and goes.
fn round(lab: &Lab, n: usize) {
    let brief = lab.pod("brief").unwrap();
    brief.attach().unwrap();
    ping(&brief, address(lab, "web-2", n.is_multiple_of(2)));
    curl(&brief, of(WEB, false), "/");
    echoes(&brief, (of(ECHO, true), 7), 1);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "passing", "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}]}});
    lab.apply("passing.yaml", &manifests::to_yaml(&policy)).unwrap();
    let node = lab.node("node-a").unwrap();
    let known = || {
        node.sluice_json(&["policies"])
            .is_ok_and(|rows| rows.to_string().contains("default/passing"))
    };
    lab.wait("the policy", PATIENCE, known).unwrap();
    lab.remove("passing.yaml").unwrap();
    lab.wait("no policy", PATIENCE, || !known()).unwrap();
    // Clients that say nothing, half of something, and nonsense.
    for text in ["", "{\"verb\": ", "nonsense\n"] {
        use std::io::Write;
        let mut client = std::os::unix::net::UnixStream::connect(node.socket()).unwrap();
        client.write_all(text.as_bytes()).unwrap();
    }
    brief.detach().unwrap();
}

/// A leak of a descriptor a round, or of 128 KiB a round, shows.
#[test]
fn what_comes_and_goes_leaves_no_descriptor_and_no_memory() {
    const WARM_UP: usize = 8;
    const ROUNDS: usize = 16;
    const GROWTH_KIB: u64 = 2 << 10;
    in_lab(&with_brief(), |lab| {
        lab.pod("brief").unwrap().detach().unwrap();
        for n in 0..WARM_UP {
            round(lab, n);
        }
        let before = all(lab);
        for n in 0..ROUNDS {
            round(lab, n);
        }
        for (name, before) in &before {
            is_as_before(lab, &lab.node(name).unwrap(), before, GROWTH_KIB);
        }
    });
}
