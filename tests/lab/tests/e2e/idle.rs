//! What an agent costs when nothing happens, and how soon it is there when something does.

use crate::clients::ping;
use crate::cluster::*;
use serde_json::json;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// CPU time that a process has used.
fn cpu_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may contain blanks: state is field 3, user and system time are 14 and 15, proc_pid_stat(5).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap() as u64;
    Duration::from_millis(ticks * 1000 / per_second)
}

#[test]
fn a_hundred_pods_without_traffic_cost_less_than_a_twentieth_of_a_core() {
    const PODS: usize = 100;
    const WATCHED: Duration = Duration::from_secs(4);
    let mut topology = two_nodes();
    topology.nodes[0].agent = serde_json::from_value(json!({"workers": {"polling": "adaptive"}})).unwrap();
    for n in 0..PODS - 2 {
        let pod = json!({
            "name": format!("idle-{n}"), "node": "node-a",
            "addresses": [format!("10.244.1.{}", 100 + n), format!("fd00:244:1::1:{n}")],
        });
        add_pod(&mut topology, &pod.to_string());
    }
    in_lab(&topology, |lab| {
        let node = lab.node("node-a").unwrap();
        assert_eq!(node.sluice_json(&["status"]).unwrap()["pods"], PODS);
        let pid = node.agent_pid().unwrap();
        // Pods' kernels still announce themselves for a while; a quiet stretch comes, or the agent is never quiet.
        let mut used = Duration::MAX;
        lab.wait("a quiet stretch", PATIENCE * 3, || {
            let (before, began) = (cpu_time(pid), Instant::now());
            std::thread::sleep(WATCHED);
            used = (cpu_time(pid) - before).mul_f64(WATCHED.as_secs_f64() / began.elapsed().as_secs_f64());
            used < WATCHED / 20
        })
        .unwrap_or_else(|err| panic!("{used:?} of {WATCHED:?}: {err:#}"));
        println!("idle with {PODS} pods: {used:?} of CPU time in {WATCHED:?}");
        ping(&lab.pod("idle-97").unwrap(), address(lab, "web-2", false));
    });
}

#[test]
fn a_worker_that_sleeps_is_awake_at_once() {
    let median = |polling: &str| {
        let mut topology = two_nodes();
        topology.nodes[0].agent = serde_json::from_value(json!({"workers": {"polling": polling}})).unwrap();
        let mut times = Vec::new();
        alone_in_lab(&topology, |lab| {
            let user = lab.pod("user").unwrap();
            let web = address(lab, "web-1", false);
            let exchange = || {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.connect((web, 7))?;
                let mut buffer = [0; 64];
                for _ in 0..200 {
                    // Long enough for the worker to fall asleep.
                    std::thread::sleep(Duration::from_millis(2));
                    let began = Instant::now();
                    socket.send(b"wake up")?;
                    socket.recv(&mut buffer)?;
                    times.push(began.elapsed());
                }
                Ok(())
            };
            user.within(exchange).unwrap();
        });
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (asleep, awake) = (median("adaptive"), median("busy"));
    // A request and its answer wake a worker each.
    let wake = asleep.saturating_sub(awake) / 2;
    println!(
        "median round trip {asleep:?} through a worker that sleeps, {awake:?} through one that never does: {wake:?} to wake"
    );
    assert!(wake < Duration::from_millis(5), "{wake:?}");
}
