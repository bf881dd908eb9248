//! What workers say of themselves: where their time goes, how full their bursts are, and the uplink's rings.

use crate::clients::{echoes, ping, udp_socket_to};
use crate::cluster::*;
use crate::workers::with;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sluice_lab::{Lab, Node, Place};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn float(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

fn whole(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

/// Waits until the only worker of the node is as wanted, over the last seconds; how it is.
fn worker(lab: &Lab, node: &Node<'_>, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
    let mut row = Value::Null;
    let waited = lab.wait(what, PATIENCE * 2, || {
        row = node.sluice_json(&["status"]).unwrap()["workers"][0].take();
        wanted(&row)
    });
    waited.unwrap_or_else(|err| panic!("{err:#}: {row:#}"));
    let sum: f64 = ["busy", "poll", "idle"].map(|name| float(&row, name)).iter().sum();
    assert!((sum - 1.0).abs() < 1e-9, "{row:#}");
    row
}

/// Datagrams of one flow that are answered, many at a time, until `stop`.
fn keep_busy(from: &Place<'_>, to: (IpAddr, u16), stop: &AtomicBool) {
    let job = || {
        let socket = udp_socket_to(to)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        // Also when the test has failed meanwhile.
        let end = Instant::now() + PATIENCE * 3;
        while !stop.load(Ordering::Relaxed) && Instant::now() < end {
            for _ in 0..16 {
                socket.send(b"busy")?;
            }
            // What is lost on a busy machine is not waited for.
            for _ in 0..16 {
                if socket.recv(&mut [0; 64]).is_err() {
                    break;
                }
            }
        }
        Ok(())
    };
    from.within(job).unwrap();
}

#[test]
fn a_worker_is_idle_then_busy_with_a_long_flow_and_idle_again() {
    in_lab(&with(1, 1, "adaptive"), |lab| {
        let node = lab.node("node-a").unwrap();
        let quiet = worker(lab, &node, "an idle worker", |row| float(row, "idle") > 0.8);
        let (user, target, stop) = (
            lab.pod("user").unwrap(),
            (address(lab, "web-1", false), 7),
            AtomicBool::new(false),
        );
        std::thread::scope(|scope| {
            scope.spawn(|| keep_busy(&user, target, &stop));
            // The rate of the time-stamp counter is known some time after the start.
            let counts = |row: &Value| row["cycles_per_packet"].is_f64() || std::env::consts::ARCH != "x86_64";
            let loaded = worker(lab, &node, "a busy worker", |row| {
                let works = float(row, "busy") > 2.0 * float(&quiet, "busy").max(0.05);
                works && row["cache_hit"].as_f64() > Some(0.95) && counts(row)
            });
            stop.store(true, Ordering::Relaxed);
            assert!(float(&loaded, "idle") < float(&quiet, "idle"), "{loaded:#}");
            // A packet needs more than nothing, and less than all there is.
            let tsc_hz = node.sluice_json(&["status"]).unwrap()["tsc_hz"].as_f64();
            let (rate, cycles) = (
                float(&loaded, "packets_per_second"),
                loaded["cycles_per_packet"].as_f64(),
            );
            let Some((hz, cycles)) = tsc_hz.zip(cycles) else {
                return;
            };
            let told = hz > 1e8 && cycles > 100.0 && cycles * rate < hz * 1.01;
            assert!(told, "{hz} ticks a second: {loaded:#}");
        });
        worker(lab, &node, "a worker that is idle again", |row| {
            float(row, "idle") > 0.8
        });
    });
}

#[test]
fn a_worker_that_never_sleeps_polls_and_is_never_idle() {
    alone_in_lab(&with(1, 1, "busy"), |lab| {
        let node = lab.node("node-a").unwrap();
        let row = worker(lab, &node, "a worker that polls", |row| float(row, "poll") > 0.5);
        assert!(whole(&row, "idle_ns") == 0 && whole(&row, "poll_ns") > 0, "{row:#}");
    });
}

/// Fewest packets that the bursts of a worker can have held, most, and how many bursts there were.
fn bounds(worker: &Value) -> [u64; 3] {
    let mut sums = [0; 3];
    for class in worker["bursts"].as_array().unwrap() {
        let bursts = whole(class, "bursts");
        for (sum, each) in sums.iter_mut().zip([whole(class, "from"), whole(class, "to"), 1]) {
            *sum += each * bursts;
        }
    }
    sums
}

#[test]
fn bursts_are_counted_once_each_by_the_packets_they_held() {
    in_lab(&with(2, 2, "adaptive"), |lab| {
        let node = lab.node("node-a").unwrap();
        // Of a queue that nothing has come by yet, the worker takes as much at once as there is.
        let agent = Pid::from_raw(node.agent_pid().unwrap());
        kill(agent, Signal::SIGSTOP).unwrap();
        let flood = || {
            let socket = udp_socket_to((of(NODE_A, false), 30007))?;
            (0..400).try_for_each(|_| socket.send(b"many").map(drop))?;
            Ok(())
        };
        let flooded = lab.place("outside").unwrap().within(flood);
        kill(agent, Signal::SIGCONT).unwrap();
        flooded.unwrap();
        ping(&lab.pod("user").unwrap(), address(lab, "web-2", false));
        echoes(&lab.pod("user").unwrap(), (address(lab, "web-2", true), 7), 50);

        // A reading may catch a burst half-way.
        let mut report = Value::Null;
        let counted = lab.wait("bursts that bracket the packets", PATIENCE, || {
            report = node.sluice_json(&["counters"]).unwrap();
            let workers = report["workers"].as_array().unwrap();
            let fits = |worker: &Value| {
                let [least, most, _] = bounds(worker);
                (least..=most).contains(&whole(worker, "packets"))
            };
            let bursts: u64 = workers.iter().map(|worker| bounds(worker)[2]).sum();
            workers.len() == 2 && workers.iter().all(fits) && bursts == whole(&report["totals"], "bursts")
        });
        counted.unwrap_or_else(|err| panic!("{err:#}: {report:#}"));
        let full = |worker: &Value| -> u64 {
            let classes = worker["bursts"].as_array().unwrap().iter();
            classes
                .filter(|class| whole(class, "from") >= 16)
                .map(|class| whole(class, "bursts"))
                .sum()
        };
        let workers = report["workers"].as_array().unwrap();
        assert!(workers.iter().map(full).sum::<u64>() > 0, "{workers:#?}");
        let page = node.sluice(&["counters"]).unwrap();
        assert!(
            page.text().unwrap().contains("bursts of 1") && page.stdout.contains("uplink queue 1"),
            "{page}"
        );
    });
}

#[test]
fn the_uplinks_rings_are_shown_queue_by_queue() {
    in_lab(&with(2, 2, "adaptive"), |lab| {
        let node = lab.node("node-a").unwrap();
        ping(&lab.pod("user").unwrap(), address(lab, "web-2", false));
        let report = node.sluice_json(&["counters"]).unwrap();
        let rings = report["rings"].as_array().unwrap();
        let seen: Vec<_> = rings.iter().map(|row| (whole(row, "queue"), &row["port"])).collect();
        let uplink = Value::from("uplink");
        assert_eq!(seen, [(0, &uplink), (1, &uplink)], "taps have no rings");
        for row in rings {
            for ring in ["rx", "fill", "tx", "completion"] {
                let level = &row[ring];
                assert!(
                    whole(level, "size") >= 64 && whole(level, "used") <= whole(level, "size"),
                    "{row:#}"
                );
            }
            assert!(
                whole(&row["fill"], "used") > 0,
                "the kernel has nothing to receive into: {row:#}"
            );
            assert_eq!(row["worker"], row["queue"], "{row:#}");
        }
    });
}
