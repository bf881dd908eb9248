//! Pods come and go while packets pass.

use crate::clients::{curl, ping};
use crate::cluster::*;
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn twenty_pods_coming_and_going_cost_the_others_no_packet() {
    const PODS: usize = 5;
    const ROUNDS: usize = 4;
    let mut topology = two_nodes();
    for i in 1..=PODS {
        let pod = json!({"name": format!("brief-{i}"), "node": "node-a",
            "addresses": [format!("10.244.1.{}", 100 + i), format!("fd00:244:1::{}", 100 + i)]});
        add_pod(&mut topology, &pod.to_string());
    }
    in_lab(&topology, |lab| {
        let user = lab.pod("user").unwrap();
        let pings: Vec<_> = ["web-1", "web-2"]
            .iter()
            .map(|to| {
                user.spawn(&["ping", "-n", "-i", "0.01", &address(lab, to, false).to_string()])
                    .unwrap()
            })
            .collect();
        for round in 0..ROUNDS {
            for i in 1..=PODS {
                let pod = lab.pod(&format!("brief-{i}")).unwrap();
                pod.detach().unwrap();
                let gone = pod.run(&["ip", "link", "show", "eth0"]).unwrap();
                assert!(!gone.ok(), "round {round}: {gone}");
                pod.attach().unwrap();
                for v6 in FAMILIES {
                    ping(&pod, address(lab, "web-2", v6));
                }
            }
        }
        for running in pings {
            let output = running.stop();
            // What was under way when ping was stopped is no loss, so the summary does not tell; a hole does.
            let answered: BTreeSet<usize> = output.stdout.lines().filter_map(sequence_number).collect();
            let last = answered.last().copied().unwrap_or(0);
            let lost: Vec<usize> = (1..last).filter(|n| !answered.contains(n)).collect();
            assert!(lost.is_empty(), "no answer to {lost:?}: {output}");
            assert!(
                last >= ROUNDS * PODS,
                "fewer packets than ports that came and went: {output}"
            );
        }
        let status = lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap();
        assert_eq!(status["pods"], 2 + PODS, "{status:#}");
    });
}

fn sequence_number(line: &str) -> Option<usize> {
    line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok()
}

/// A pod whose namespace is deleted under the agent, as when a runtime never calls.
#[test]
fn a_pod_that_vanishes_is_forgotten() {
    in_lab(&with_brief(), |lab| {
        let (node, brief) = (lab.node("node-a").unwrap(), lab.pod("brief").unwrap());
        let name = brief.netns();
        let name = name.file_name().unwrap().to_string_lossy().into_owned();
        node.run(&["ip", "netns", "delete", &name]).unwrap().text().unwrap();
        let pods = || node.sluice_json(&["status"]).unwrap()["pods"].clone();
        lab.wait("the agent to notice", PATIENCE, || pods() == 2).unwrap();
        let user = lab.pod("user").unwrap();
        ping(&user, address(lab, "web-2", false));
        assert!(curl(&user, of(WEB, false), "/").starts_with("web-"));
    });
}
