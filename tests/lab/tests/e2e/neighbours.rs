//! A pod that floods, and one that is slow, beside two that only want to talk to each other.

use crate::clients::get;
use crate::cluster::*;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use nix::unistd::gettid;
use serde_json::json;
use sluice_lab::{Lab, Topology};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const REQUESTS: usize = 1000;
/// No flood lasts longer or sends more, whatever else happens.
const LONGEST: Duration = Duration::from_secs(20);
const MOST: usize = 20_000_000;

/// [`two_nodes`] with one worker on the first, so that all share its time, and a pod for mischief and one for patience there.
fn crowded() -> Topology {
    let mut topology = two_nodes();
    for (node, cpu) in topology.nodes.iter_mut().zip(0..2) {
        node.workers = 1;
        node.agent = serde_json::from_value(json!({"workers": {"cpus": [cpu]}})).unwrap();
    }
    for (name, last) in [("noisy", 66), ("slow", 77)] {
        let pod = json!({
            "name": name, "node": "node-a", "run": ["udp-echo"],
            "addresses": [format!("10.244.1.{last}"), format!("fd00:244:1::{last}")],
        });
        add_pod(&mut topology, &pod.to_string());
    }
    topology
}

/// Times of requests from `user` to `web-1`, none of which may fail.
fn requests(lab: &Lab) -> Vec<Duration> {
    let user = lab.pod("user").unwrap();
    let to = (address(lab, "web-1", false), 80).into();
    let one = |n| {
        let began = Instant::now();
        match get(to, "/", PATIENCE) {
            Ok(name) => assert_eq!(name, "web-1"),
            Err(err) => panic!("request {n}: {err}"),
        }
        began.elapsed()
    };
    let mut times: Vec<_> = user.within(|| Ok((0..REQUESTS).map(one).collect())).unwrap();
    times.sort_unstable();
    times
}

/// The CPU of everybody but the first node's worker, where there are two: what is measured is what pods do to each other by
/// way of that worker, and not how the kernel shares a CPU between a worker and pods.
const OTHERS: usize = 1;

fn run(command: &[&str]) {
    let status = Command::new(command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{command:?}");
}

/// Moves this thread, which starts the others, and the pods' servers away from the worker.
fn leave_the_worker_alone(lab: &Lab) {
    let cpu = OTHERS.to_string();
    let pin = |how: &[&str], pid: &str| run(&[&["taskset"], how, &["--pid", "--cpu-list", &cpu, pid]].concat());
    pin(&[], &gettid().to_string());
    for pod in lab.topology().pods.iter().map(|pod| lab.pod(&pod.name).unwrap()) {
        let netns = pod.netns();
        let name = netns.file_name().unwrap().to_str().unwrap();
        let inside = Command::new("ip").args(["netns", "pids", name]).output().unwrap();
        for pid in String::from_utf8(inside.stdout).unwrap().lines() {
            pin(&["--all-tasks"], pid);
        }
    }
}

/// Requests alone; while `flood` runs inside its own pod, which is the machine's part; and while it runs towards another pod. A flood
/// sends until it is told to stop and says how many packets it sent.
fn beside(lab: &Lab, what: &str, to: IpAddr, flood: impl Fn(IpAddr, &dyn Fn() -> bool) -> usize + Send + Sync) {
    leave_the_worker_alone(lab);
    let noisy = lab.pod("noisy").unwrap();
    let while_flooded = |to| {
        let (stop, began) = (AtomicBool::new(false), Instant::now());
        let on = || !stop.load(Ordering::Relaxed) && began.elapsed() < LONGEST;
        let unpleasant = || {
            // As a pod without a share of the CPU: it gets what the others leave.
            run(&["chrt", "--idle", "--pid", "0", &gettid().to_string()]);
            Ok(flood(to, &on))
        };
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| noisy.within(unpleasant).unwrap());
            let times = requests(lab);
            stop.store(true, Ordering::Relaxed);
            (times, flooding.join().unwrap())
        })
    };
    let at = |of: &[Duration], part: usize| of[of.len() * part / 100].as_secs_f64() * 1e6;
    let alone = requests(lab);
    println!("{what}: median and p99 of {REQUESTS} requests, us, and as ratios to those alone");
    let show = |how: &str, times: &[Duration], sent: usize| {
        let (median, p99) = (at(times, 50), at(times, 99));
        let ratios = (median / at(&alone, 50), p99 / at(&alone, 99));
        println!(
            "  {how:<18} {median:>6.0} {p99:>6.0}   {:>5.1} {:>5.1}   {sent:>8} packets",
            ratios.0, ratios.1
        );
    };
    show("alone", &alone, 0);
    let (inside, sent) = while_flooded(Ipv4Addr::LOCALHOST.into());
    show("flood in its pod", &inside, sent);
    let (beside, sent) = while_flooded(to);
    show("flood past the pod", &beside, sent);
    assert!(sent > 5_000, "{what}: that is no flood: {sent}");
    // How much slower depends on who else uses the machine; that nobody waits for a retransmission does not.
    assert!(at(&beside, 99) < 800_000.0, "{what}: {:?}", beside.last());
}

/// Small datagrams to ports that `port` chooses.
fn datagrams(to: IpAddr, on: &dyn Fn() -> bool, port: impl Fn(usize) -> u16) -> usize {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut sent = 0;
    while sent < MOST && on() {
        for _ in 0..64 {
            // Refused and full are answers, too.
            let _ = socket.send_to(b"a small datagram", SocketAddr::new(to, port(sent)));
            sent += 1;
        }
    }
    sent
}

#[test]
fn a_flood_of_small_packets_costs_the_neighbours_no_request() {
    alone_in_lab(&crowded(), |lab| {
        let to = address(lab, "slow", false);
        beside(lab, "small packets", to, |to, on| datagrams(to, on, |_| 9));
    });
}

#[test]
fn a_spray_over_all_ports_costs_the_neighbours_no_request() {
    alone_in_lab(&crowded(), |lab| {
        let to = address(lab, "slow", false);
        beside(lab, "a spray", to, |to, on| {
            datagrams(to, on, |sent| (sent % 60_000) as u16 + 1000)
        });
    });
}

#[test]
fn a_syn_flood_costs_the_neighbours_no_request() {
    alone_in_lab(&crowded(), |lab| {
        let to = address(lab, "slow", false);
        beside(lab, "a SYN flood", to, |to, on| {
            let IpAddr::V4(to) = to else { unreachable!() };
            let mut sent = 0;
            while sent < MOST && on() {
                let tcp = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
                let port = (sent % 30_000) as u16 + 20_000;
                // Given up at once: the segment is on its way, and nobody waits for what comes back.
                let _ = connect(tcp.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to, port)));
                sent += 1;
            }
            sent
        });
    });
}

#[test]
fn a_pod_that_receives_slowly_costs_the_neighbours_no_request_and_is_named() {
    alone_in_lab(&crowded(), |lab| {
        let slow = lab.pod("slow").unwrap();
        let mut rules = String::from("*filter\n:INPUT ACCEPT [0:0]\n");
        for n in 0..4000 {
            rules.push_str(&format!(
                "-A INPUT -p udp --sport {} -s 198.51.100.{} -j DROP\n",
                1 + n,
                n % 250
            ));
        }
        rules.push_str("COMMIT\n");
        let file = lab.dir().join("rules");
        std::fs::write(&file, rules).unwrap();
        slow.run(&["iptables-restore", &file.to_string_lossy()])
            .unwrap()
            .text()
            .unwrap();
        let to = address(lab, "slow", false);
        let node = lab.node("node-a").unwrap();
        let warned = || {
            let status = node.sluice_json(&["status"]).unwrap();
            let warnings = status["warnings"].as_array().unwrap().clone();
            warnings.into_iter().find(|w| w["object"] == "Pod default/slow")
        };
        beside(lab, "a slow receiver", to, |to, on| {
            let mut sent = datagrams(to, on, |_| 9);
            // Longer than the requests, if the agent has not seen enough of it by then.
            let began = Instant::now();
            while !to.is_loopback() && warned().is_none() && began.elapsed() < LONGEST {
                let slice = Instant::now();
                sent += datagrams(to, &|| slice.elapsed() < Duration::from_millis(300), |_| 9);
            }
            sent
        });
        let warning = warned().expect("a warning about the slow pod");
        let text = warning["text"].as_str().unwrap();
        assert!(text.contains("of a worker's time"), "{text}");
    });
}
