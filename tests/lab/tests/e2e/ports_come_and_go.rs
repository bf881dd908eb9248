//! Pods come and go while packets pass.

use crate::clients::{curl, ping};
use crate::cluster::*;
use serde_json::json;

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
                user.spawn(&["ping", "-q", "-i", "0.01", &address(lab, to, false).to_string()])
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
            assert!(output.stdout.contains(" 0% packet loss"), "{output}");
            let sent = output
                .stdout
                .split(" packets transmitted")
                .next()
                .and_then(|t| t.rsplit('\n').next());
            let sent = sent.and_then(|n| n.trim().parse::<usize>().ok());
            assert!(
                sent.is_some_and(|n| n >= ROUNDS * PODS),
                "fewer packets than ports that came and went: {output}"
            );
        }
        let status = lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap();
        assert_eq!(status["pods"], 2 + PODS, "{status:#}");
    });
}

/// A pod whose namespace is deleted under the agent, as when a runtime never calls.
#[test]
fn a_pod_that_vanishes_is_forgotten() {
    let mut topology = two_nodes();
    add_pod(
        &mut topology,
        r#"{"name": "brief", "node": "node-a", "addresses": ["10.244.1.100", "fd00:244:1::100"]}"#,
    );
    in_lab(&topology, |lab| {
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
