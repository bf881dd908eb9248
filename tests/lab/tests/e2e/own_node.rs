//! What an agent finds out and says about its own node, with an API server.

use crate::clients::ping;
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

#[test]
fn an_address_that_overwrites_is_announced_and_nonsense_is_not() {
    const FLANNEL: &str = "flannel.alpha.coreos.com/";
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let note = |key: &str| {
            let nodes = api.server().objects("nodes");
            let node = nodes.iter().find(|node| node["metadata"]["name"] == "node-a").unwrap();
            node["metadata"]["annotations"][format!("{FLANNEL}{key}")].clone()
        };
        let overwrite = |value: &str| {
            let nodes = api.server().objects("nodes");
            let node = nodes.iter().find(|node| node["metadata"]["name"] == "node-a").unwrap();
            let mut node = (**node).clone();
            node["metadata"]["annotations"][format!("{FLANNEL}public-ip-overwrite")] = json!(value);
            api.server().apply(node).unwrap();
        };
        lab.wait("the own address", PATIENCE, || note("public-ip") == NODE_A[0])
            .unwrap();
        overwrite("198.51.100.77");
        lab.wait("the other one", PATIENCE, || note("public-ip") == "198.51.100.77")
            .unwrap();
        assert_eq!(note("public-ipv6"), NODE_A[1]);
        assert!(!warned(lab).contains("198.51.100.77"), "{}", warned(lab));
        overwrite("224.0.0.1");
        lab.wait("the own address again", PATIENCE, || note("public-ip") == NODE_A[0])
            .unwrap();
        lab.wait("a word about it", PATIENCE, || {
            warned(lab).contains("public-ip-overwrite is ignored")
        })
        .unwrap();
    });
}

#[test]
fn what_becomes_of_the_node_and_of_its_pods_is_told_in_events() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let told = |reason: &str, name: &str| {
            let events = api.server().objects("events");
            let found = events
                .iter()
                .find(|event| event["reason"] == reason && event["involvedObject"]["name"] == name);
            found.map(|event| (**event).clone())
        };
        for node in ["node-a", "node-b"] {
            lab.wait("the node to be told ready", PATIENCE, || {
                told("NetworkReady", node).is_some()
            })
            .unwrap();
        }
        let node = lab.node("node-a").unwrap();
        // The node's end of the wire keeps its addresses when the other one goes.
        let wire = lab.place("net").unwrap();
        let set = |state: &str| {
            wire.run(&["ip", "link", "set", "n0", state])
                .unwrap()
                .text()
                .unwrap()
                .to_owned()
        };
        set("down");
        lab.wait("a word about the uplink", PATIENCE, || {
            told("UplinkDown", "node-a").is_some()
        })
        .unwrap();
        set("up");
        let event = told("UplinkDown", "node-a").unwrap();
        assert_eq!(
            (&event["type"], &event["involvedObject"]["kind"]),
            (&json!("Warning"), &json!("Node"))
        );
        assert_eq!(
            (&event["metadata"]["namespace"], &event["reportingInstance"]),
            (&json!("default"), &json!("node-a"))
        );
        assert!(
            event["message"]
                .as_str()
                .unwrap()
                .contains("other nodes cannot be reached"),
            "{event}"
        );
        assert!(told("UplinkDown", "node-b").is_none());
        lab.wait("no warning of it", PATIENCE, || !warned(lab).contains("uplink"))
            .unwrap();
        let source = node.sluice_json(&["status"]).unwrap()["source"].clone();
        assert!(
            source["events_written"].as_u64() >= Some(2) && source["events_dropped"] == 0,
            "{source}"
        );
    });
}

#[test]
fn a_node_reaches_services_of_ranges_that_are_objects_while_they_are() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let place = lab.place("node-a").unwrap();
        let routed = || {
            let routes = place.run(&["ip", "route", "show", "dev", "sluice0"]).unwrap();
            routes.text().unwrap().contains("10.112.0.0/16")
        };
        assert!(!routed());
        api.server()
            .apply(json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
                "spec": {"cidrs": ["10.112.0.0/16"]},
            }))
            .unwrap();
        lab.wait("a route to it", PATIENCE, routed).unwrap();
        api.server().delete("servicecidrs", None, "more");
        lab.wait("no route to it", PATIENCE, || !routed()).unwrap();
        assert_eq!(
            lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap()["source"]["problems"],
            json!([])
        );
    });
}

#[test]
fn an_annotation_of_the_node_chooses_the_uplink() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        for words in [
            &["link", "add", "other0", "type", "veth", "peer", "name", "other1"][..],
            &["link", "set", "other0", "up"],
            &["link", "set", "other1", "up"],
        ] {
            node.run(&[&["ip"], words].concat()).unwrap().text().unwrap();
        }
        let annotate = |name: Option<&str>| {
            let nodes = api.server().objects("nodes");
            let own = nodes.iter().find(|one| one["metadata"]["name"] == "node-a").unwrap();
            let mut own = (**own).clone();
            own["metadata"]["annotations"]["sluice.io/uplink"] = json!(name);
            api.server().apply(own).unwrap();
        };
        let status = || node.sluice_json(&["status"]).unwrap_or_default();
        annotate(Some("nowhere0"));
        lab.wait("an interface that is not there to be told", PATIENCE, || {
            warnings(&node)
                .iter()
                .any(|w| w["text"].as_str().unwrap().contains("asks for `nowhere0`"))
        })
        .unwrap();
        assert_eq!(status()["uplink"]["name"], "eth0");
        annotate(Some("other0"));
        lab.wait("the other uplink", PATIENCE, || status()["uplink"]["name"] == "other0")
            .unwrap();
        api.server().lines().refuse(true);
        api.server().lines().close_all();
        node.kill_agent(Signal::SIGKILL).unwrap();
        node.launch_agent().unwrap();
        lab.wait("the same without the API server", PATIENCE, || {
            status()["uplink"]["name"] == "other0"
        })
        .unwrap();
        api.server().lines().refuse(false);
        annotate(None);
        lab.wait("the one of the configuration", PATIENCE, || {
            status()["uplink"]["name"] == "eth0" && status()["ready"] == true
        })
        .unwrap();
        ping(&user, address(lab, "web-2", false));
        node.run(&["ip", "link", "delete", "other0"]).unwrap().text().unwrap();
    });
}
