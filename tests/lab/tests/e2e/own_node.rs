//! What an agent finds out and says about its own node, with an API server.

use crate::cluster::*;
use serde_json::{Map, Value, json};
use sluice_lab::{Lab, Signal};

/// What the status of the first node warns of, as one text.
fn warned(lab: &Lab) -> String {
    let status = lab.node("node-a").unwrap().sluice_json(&["status"]);
    let warnings = status.unwrap_or_default()["warnings"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let texts = warnings
        .iter()
        .map(|warning| format!("{}: {}", warning["object"], warning["text"]));
    texts.collect::<Vec<_>>().join("\n")
}

fn over(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn an_agent_that_would_serve_its_own_api_server_says_what_to_do_and_waits() {
    in_lab_of_an_api_server(&two_nodes(), |lab, _| {
        let node = lab.node("node-a").unwrap();
        assert!(!warned(lab).contains("kubernetes.servers"), "{}", warned(lab));
        node.kill_agent(Signal::SIGKILL).unwrap();
        std::fs::remove_file(lab.dir().join("node-a.state/cluster")).unwrap();
        node.launch_agent_with(&over(json!({"kubernetes": {"servers": ["https://10.96.0.1:6443"]}})))
            .unwrap();
        lab.wait("the agent to say so", PATIENCE, || {
            warned(lab).contains("set kubernetes.servers to")
        })
        .unwrap();
        let status = node.sluice_json(&["status"]).unwrap();
        assert_eq!(status["ready"], false, "{status}");
        let log = std::fs::read_to_string(node.agent_log()).unwrap();
        assert_eq!(log.matches("set kubernetes.servers to").count(), 1, "told once");
        node.stop_agent().unwrap();
        node.start_agent().unwrap();
        assert!(!warned(lab).contains("kubernetes.servers"), "{}", warned(lab));
    });
}
