//! One worker or several, queues for all of them or not, sleeping or not.

use crate::clients::{answers, bulk, curl, echoes, ping, spread};
use crate::cluster::*;
use serde_json::json;
use sluice_lab::{Lab, Topology};

/// The first node gets `workers` on `queues`, polling as told.
pub(crate) fn with(workers: u32, queues: u32, polling: &str) -> Topology {
    let mut topology = two_nodes();
    let node = &mut topology.nodes[0];
    (node.workers, node.queues) = (workers, Some(queues));
    node.agent = serde_json::from_value(json!({"workers": {"polling": polling}})).unwrap();
    topology
}

fn all_works(lab: &Lab) {
    let (user, outside) = (lab.pod("user").unwrap(), lab.place("outside").unwrap());
    for v6 in FAMILIES {
        for to in ["web-1", "web-2"] {
            let target = address(lab, to, v6);
            ping(&user, target);
            assert_eq!(echoes(&user, (target, 7), 20), vec![to; 20]);
            bulk(&user, (target, 80), "").unwrap();
        }
        assert_eq!(spread(&answers(&user, (of(WEB, v6), 80), 64)).len(), 2);
        assert_eq!(spread(&answers(&outside, (of(NODE_A, v6), 30080), 64)).len(), 2);
        assert_eq!(curl(&user, of(OUTSIDE, v6), "/"), "outside");
        ping(&lab.node("node-a").unwrap(), address(lab, "web-2", v6));
    }
    let status = lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap();
    let wanted = &lab.topology().nodes[0];
    assert_eq!(status["workers"].as_array().unwrap().len(), wanted.workers as usize);
    assert_eq!(status["uplink"]["queues"], wanted.queues.unwrap());
}

#[test]
fn one_worker_does_it_all() {
    in_lab(&with(1, 1, "adaptive"), all_works);
}

#[test]
fn one_worker_serves_several_queues() {
    in_lab(&with(1, 2, "adaptive"), all_works);
}

#[test]
fn frames_cross_between_workers_where_the_uplink_has_fewer_queues() {
    in_lab(&with(3, 1, "adaptive"), all_works);
}

#[test]
fn busy_polling_never_sleeps() {
    alone_in_lab(&with(1, 1, "busy"), |lab| {
        all_works(lab);
        let node = lab.node("node-a").unwrap();
        assert_eq!(crate::balance::total(&node, "sleeps"), 0);
    });
}

#[test]
fn adaptive_polling_sleeps_when_nothing_comes() {
    in_lab(&with(2, 2, "adaptive"), |lab| {
        let node = lab.node("node-a").unwrap();
        let sleeps = || crate::balance::total(&node, "sleeps");
        let before = sleeps();
        lab.wait("a worker to sleep", PATIENCE, || sleeps() > before).unwrap();
        ping(&lab.pod("user").unwrap(), address(lab, "web-2", false));
    });
}

/// The scheduling policy of an agent's first worker (proc_pid_stat(5), field 41).
fn policy(pid: i32) -> u32 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
    let worker = stats.into_iter().find(|stat| stat.contains("(worker-0)")).unwrap();
    worker
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(38)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_worker_that_leaves_time_to_others_goes_before_them_unless_told_otherwise() {
    const ORDINARY: u32 = 0;
    const ROUND_ROBIN: u32 = 2;
    let mut topology = with(1, 1, "adaptive");
    topology.nodes[1].agent = serde_json::from_value(json!({"workers": {"priority": "normal"}})).unwrap();
    in_lab(&topology, |lab| {
        let of = |node| policy(lab.node(node).unwrap().agent_pid().unwrap());
        lab.wait("a worker to sleep", PATIENCE, || of("node-a") == ROUND_ROBIN)
            .unwrap();
        ping(&lab.pod("user").unwrap(), address(lab, "web-2", false));
        assert_eq!(of("node-b"), ORDINARY);
    });
}

#[test]
fn an_agent_without_the_right_to_go_first_says_what_to_grant_and_forwards() {
    in_lab(&with(1, 1, "adaptive"), |lab| {
        let node = lab.node("node-a").unwrap();
        node.stop_agent().unwrap();
        let lines = || std::fs::read_to_string(node.agent_log()).unwrap();
        let before = lines().len();
        let program = lab.dir().join("without-sys-nice");
        let sluice = sluice_lab::binary("sluice").unwrap();
        let script = format!(
            "#!/bin/sh\nexec setpriv --bounding-set -sys_nice --inh-caps -sys_nice -- {} \"$@\"\n",
            sluice.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        node.start_other_agent(&program, &serde_json::Map::new()).unwrap();
        lab.wait("a word about the right", PATIENCE, || {
            lines()[before..].contains("grant CAP_SYS_NICE")
        })
        .unwrap();
        ping(&lab.pod("user").unwrap(), address(lab, "web-2", false));
        assert_eq!(policy(node.agent_pid().unwrap()), 0, "an ordinary thread");
        assert_eq!(lines()[before..].matches("grant CAP_SYS_NICE").count(), 1);
    });
}
