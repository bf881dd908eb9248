//! Much at once.

use crate::balance::total;
use crate::clients::{get, spread};
use crate::cluster::*;
use serde_json::{Value, json};
use sluice_lab::{Lab, Place, Topology};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// web-3 and web-4 join, one on each node.
fn four_backends(scheduler: &str) -> Topology {
    let mut topology = two_nodes();
    for (name, node, subnet) in [("web-3", "node-a", 1), ("web-4", "node-b", 2)] {
        let pod = json!({"name": name, "node": node, "labels": {"app": "web", "name": name}, "run": ["http"],
            "addresses": [format!("10.244.{subnet}.7"), format!("fd00:244:{subnet}::7")]});
        add_pod(&mut topology, &pod.to_string());
    }
    topology.agent = serde_json::from_value(json!({"services": {"scheduler": scheduler}})).unwrap();
    topology
}

/// One connection for each request, a few at a time; all must be answered.
pub(crate) fn requests(from: &Place<'_>, to: (IpAddr, u16), count: usize) -> Vec<String> {
    const AT_ONCE: usize = 8;
    let job = || -> Vec<Result<String, String>> {
        let one = |i: usize| get(to.into(), "/", PATIENCE).map_err(|e| format!("request {i}: {e}"));
        (0..count / AT_ONCE).map(one).collect()
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(|| from.within(|| Ok(job())).unwrap()))
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let failed: Vec<_> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert!(
        failed.is_empty(),
        "{} of {count} failed; the first: {:?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    answers.into_iter().flatten().collect()
}

#[test]
fn ten_thousand_connections_in_turns_spread_exactly() {
    in_lab(&four_backends("rr"), |lab| {
        let names = requests(&lab.pod("user").unwrap(), (of(WEB, false), 80), 10_000);
        let counts = spread(&names);
        assert_eq!(
            counts,
            [("web-1", 2500), ("web-2", 2500), ("web-3", 2500), ("web-4", 2500)].into()
        );
    });
}

#[test]
fn ten_thousand_connections_at_random_spread_evenly() {
    in_lab(&four_backends("random"), |lab| {
        let names = requests(&lab.pod("user").unwrap(), (of(WEB, false), 80), 10_000);
        let counts = spread(&names);
        // Five standard deviations of a binomial with n = 10,000 and p = 1/4 are 217.
        assert!(
            counts.len() == 4 && counts.values().all(|n| (2283..=2717).contains(n)),
            "{counts:?}"
        );
    });
}

#[test]
fn backends_that_come_and_go_cost_no_connection() {
    in_lab(&four_backends("random"), |lab| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let churn = scope.spawn(|| come_and_go(lab, &done));
            let names = requests(&lab.pod("user").unwrap(), (of(WEB, false), 80), 10_000);
            done.store(true, Ordering::Relaxed);
            assert!(churn.join().unwrap() >= 10, "the backends hardly changed");
            let counts = spread(&names);
            assert!(
                counts["web-1"] + counts["web-2"] > counts["web-3"] + counts["web-4"],
                "{counts:?}"
            );
        });
    });
}

/// Takes web-3 and web-4 out of the slice and puts them back, over and over; how often.
fn come_and_go(lab: &Lab, done: &AtomicBool) -> usize {
    const FILE: &str = "endpointslice-default-web-ipv4.yaml";
    let mut all = Value::Null;
    lab.edit(FILE, |slice| all = slice.clone()).unwrap();
    let node = lab.node("node-a").unwrap();
    let mut times = 0;
    while !done.load(Ordering::Relaxed) {
        times += 1;
        let keep: &[&str] = if times % 2 == 1 {
            &["web-1", "web-2"]
        } else {
            &["web-1", "web-2", "web-3", "web-4"]
        };
        lab.edit(FILE, |slice| {
            let endpoints = all["endpoints"].as_array().unwrap().iter();
            slice["endpoints"] = endpoints
                .filter(|e| keep.iter().any(|name| e["targetRef"]["name"] == *name))
                .cloned()
                .collect();
        })
        .unwrap();
        let served = || {
            let rows = node.sluice_json(&["services", "default/web"]).unwrap();
            let endpoints = rows[0]["endpoints"].as_array().into_iter().flatten();
            let serves = |endpoint: &&Value| {
                endpoint["weight"] != 0 && endpoint["address"].as_str().is_some_and(|a| a.starts_with("10.244."))
            };
            endpoints.filter(serves).count() == keep.len()
        };
        lab.wait("the agent to follow", PATIENCE, served).unwrap();
    }
    times
}

#[test]
fn iperf3_through_a_cluster_ip_never_stalls() {
    let topology = two_nodes_and(
        "  - {name: meter, clusterIPs: [10.96.0.50, 'fd00:96::32'], selector: {name: web-2}, ports: [{name: iperf3, port: 5201}]}",
    );
    alone_in_lab(&topology, |lab| {
        let user = lab.pod("user").unwrap();
        let run = ["iperf3", "-J", "-t", "10", "-i", "0.5", "-c", "10.96.0.50"];
        let output = user.run_for(&run, PATIENCE * 3).unwrap();
        let report: Value = serde_json::from_str(output.text().unwrap()).unwrap();
        let intervals = report["intervals"].as_array().unwrap();
        assert!(intervals.len() >= 19, "{output}");
        for interval in intervals {
            assert!(
                interval["sum"]["bytes"].as_u64().is_some_and(|n| n > 0),
                "a stall: {interval:#}"
            );
        }
        let node = lab.node("node-a").unwrap();
        assert!(
            total(&node, "split_frames") > 1000,
            "super-frames were cut for the wire"
        );
        let node = lab.node("node-b").unwrap();
        assert!(total(&node, "merged_frames") > 1000, "and made of what came over it");
        for node in ["node-a", "node-b"] {
            crate::balance::balanced(lab, &lab.node(node).unwrap());
        }
    });
}
