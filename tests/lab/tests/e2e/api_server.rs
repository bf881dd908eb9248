//! Agents that have their objects from an API server.

use crate::clients::{Attempt, Conversation, attempt, curl};
use crate::cluster::*;
use crate::policy;
use serde_json::{Value, json};
use sluice_lab::{ApiServer, Lab, Signal};
use std::time::Duration;

const FLANNEL: &str = "flannel.alpha.coreos.com/";

fn node(api: &ApiServer, name: &str) -> Value {
    let nodes = api.server().objects("nodes");
    let found = nodes.iter().find(|node| node["metadata"]["name"] == name);
    (**found.unwrap()).clone()
}

fn source(lab: &Lab) -> Value {
    lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap()["source"].clone()
}

/// The pod's requests to the service reach both of its pods.
fn served(lab: &Lab, v6: bool) {
    let user = lab.pod("user").unwrap();
    let mut answers = Vec::new();
    lab.wait("both pods to answer", PATIENCE, || {
        answers.push(curl(&user, (of(WEB, v6), 80), "/"));
        ["web-1", "web-2"]
            .iter()
            .all(|name| answers.iter().any(|answer| answer.contains(name)))
    })
    .unwrap_or_else(|err| panic!("{err}: {answers:?}"));
}

#[test]
fn nodes_find_each_other_by_what_their_agents_write_on_them() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        served(lab, false);
        for (name, addresses) in [("node-a", NODE_A), ("node-b", NODE_B)] {
            let mut bare = node(api, name);
            bare["metadata"]["annotations"] = json!({"example.com/note": "stays"});
            bare["status"]["conditions"] =
                json!([{"type": "NetworkUnavailable", "status": "True"}, {"type": "Ready", "status": "True"}]);
            api.server().apply(bare).unwrap();
            let condition = |node: &Value| node["status"]["conditions"][0]["status"].clone();
            lab.wait("the agent to fill it in", PATIENCE, || {
                condition(&node(api, name)) == "False"
            })
            .unwrap();
            let now = node(api, name);
            let note = |key: &str| now["metadata"]["annotations"][format!("{FLANNEL}{key}")].clone();
            assert_eq!(note("kube-subnet-manager"), "true");
            assert_eq!(note("backend-type"), "vxlan");
            assert_eq!(
                (note("public-ip"), note("public-ipv6")),
                (json!(addresses[0]), json!(addresses[1]))
            );
            for key in ["backend-data", "backend-v6-data"] {
                let data: Value = serde_json::from_str(note(key).as_str().unwrap()).unwrap();
                assert_eq!(data["VNI"], 1);
                assert_eq!(data["VtepMAC"].as_str().unwrap().len(), 17, "{data}");
            }
            assert_eq!(now["metadata"]["annotations"]["example.com/note"], "stays");
            assert_eq!(now["status"]["conditions"][1]["type"], "Ready");
            assert_eq!(now["status"]["conditions"][0]["reason"], "SluiceIsUp");
        }
        for v6 in FAMILIES {
            served(lab, v6);
        }
        let version = api.server().version();
        served(lab, false);
        assert_eq!(api.server().version(), version, "what is said is not said again");
    });
}

#[test]
fn changes_of_objects_reach_packets() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let (user, web) = (lab.pod("user").unwrap(), (address(lab, "web-2", false), 80));
        served(lab, false);
        policy::apply(
            lab,
            "closed",
            &json!({"podSelector": {"matchLabels": {"name": "web-2"}},
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]}),
        );
        let open = || attempt(&user, web, Duration::from_millis(300)) == Attempt::Connected;
        lab.wait("the policy to bite", PATIENCE, || !open()).unwrap();
        lab.edit("pod-user.yaml", |pod| {
            pod["metadata"]["labels"] = json!({"role": "friend"});
        })
        .unwrap();
        lab.wait("the label to help", PATIENCE, open).unwrap();
        lab.edit("pod-user.yaml", |pod| {
            pod["metadata"]["labels"] = json!({"role": "user"});
        })
        .unwrap();
        lab.wait("it to be gone", PATIENCE, || !open()).unwrap();
        lab.remove("closed.yaml").unwrap();
        lab.wait("the policy to be gone", PATIENCE, open).unwrap();
        let mut gone = false;
        for slice in [
            "endpointslice-default-web-ipv4.yaml",
            "endpointslice-default-web-ipv6.yaml",
        ] {
            lab.edit(slice, |slice| {
                slice["endpoints"].as_array_mut().unwrap().retain(|end| {
                    let stays = end["nodeName"] != "node-b";
                    gone |= !stays;
                    stays
                });
            })
            .unwrap();
        }
        assert!(gone, "there was an end point on the other node");
        lab.wait("the service to have one end", PATIENCE, || {
            (0..12).all(|_| curl(&user, (of(WEB, false), 80), "/").contains("web-1"))
        })
        .unwrap();
        let status = source(lab);
        assert_eq!(
            (&status["kind"], &status["synced"], &status["problems"]),
            (&json!("kubernetes"), &json!(true), &json!([]))
        );
        assert_eq!(status["place"], "https://127.0.0.1:6443/");
        // Each agent asked for each kind once, in one stream, and for no list.
        assert_eq!(api.server().counters().requests("list", "services"), 0);
        assert_eq!(api.server().counters().requests("watch", "services"), 2);
    });
}

#[test]
fn without_the_api_server_everything_goes_on_and_afterwards_what_was_missed_is_served() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        served(lab, false);
        let user = lab.pod("user").unwrap();
        let mut old = Conversation::open(&user, (address(lab, "web-2", false), 80));
        api.server().lines().refuse(true);
        api.server().lines().close_all();
        let told = || {
            let problems = source(lab)["problems"].as_array().cloned().unwrap_or_default();
            problems
                .into_iter()
                .find(|problem| problem["origin"] == "API server https://127.0.0.1:6443/")
        };
        lab.wait("the agent to say so", PATIENCE, || told().is_some()).unwrap();
        let (away, text) = (source(lab), told().unwrap()["text"].to_string());
        assert!(
            text.contains("cannot be reached") && text.contains("what is known stays in force"),
            "{text}"
        );
        served(lab, false);
        served(lab, true);
        assert!(lab.node("node-a").unwrap().sluice_json(&["status"]).unwrap()["ready"] == true);
        assert!(
            source(lab)["last_heard_ms"].as_u64() > away["last_heard_ms"].as_u64(),
            "{away}"
        );
        policy::apply(
            lab,
            "closed",
            &json!({"podSelector": {"matchLabels": {"name": "web-2"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "nobody"}}}]}]}),
        );
        assert_eq!(old.who().unwrap(), "web-2", "an old connection");
        api.server().lines().refuse(false);
        lab.wait("what was missed to be served", PATIENCE, || {
            attempt(&user, (address(lab, "web-2", false), 80), Duration::from_millis(300)) == Attempt::Silence
        })
        .unwrap();
        lab.remove("closed.yaml").unwrap();
        lab.wait("all to be well", PATIENCE, || source(lab)["problems"] == json!([]))
            .unwrap();
        served(lab, false);
    });
}

#[test]
fn a_restart_without_the_api_server_serves_what_was_saved() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        served(lab, false);
        let node = lab.node("node-a").unwrap();
        let lists = || api.server().counters().requests("list", "services");
        let saved = lab.dir().join("node-a.state/cluster");
        lab.wait("a first batch to be saved", PATIENCE, || {
            std::fs::read_to_string(&saved).is_ok_and(|text| text.contains(r#""until":{"nodes""#))
        })
        .unwrap();
        api.server().lines().refuse(true);
        api.server().lines().close_all();
        node.kill_agent(Signal::SIGKILL).unwrap();
        node.start_agent().unwrap();
        let asked = lists();
        for v6 in FAMILIES {
            served(lab, v6);
        }
        let status = source(lab);
        assert!(status["saved_age_ms"].as_u64().is_some(), "{status}");
        assert_eq!(
            (&status["synced"], &status["last_heard_ms"]),
            (&json!(true), &Value::Null)
        );
        api.server().lines().refuse(false);
        lab.wait("the agent to follow again", PATIENCE, || {
            let status = source(lab);
            status["saved_age_ms"].is_null() && status["problems"] == json!([])
        })
        .unwrap();
        assert_eq!(lists(), asked, "it went on where it was");
        let text = node.sluice(&["status"]).unwrap().text().unwrap().to_string();
        assert!(text.contains("kubernetes https://127.0.0.1:6443/   heard "), "{text}");
    });
}

#[test]
fn a_rollout_asks_for_no_list_and_saves_in_the_place_of_the_agent_before() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        served(lab, false);
        let node = lab.node("node-a").unwrap();
        let state = |name: &str| lab.dir().join("node-a.state").join(name);
        let saved = |text: &str| std::fs::read_to_string(state("cluster")).is_ok_and(|all| all.contains(text));
        lab.wait("a first batch to be saved", PATIENCE, || saved(r#""until":{"nodes""#))
            .unwrap();
        let counters = || {
            let of = |verb| api.server().counters().requests(verb, "services");
            (of("list"), of("watch"))
        };
        let (lists, watches) = counters();
        node.take_over_agent(&serde_json::Map::new()).unwrap();
        assert_eq!(
            counters(),
            (lists, watches + 1),
            "one stream more, from where the first agent's was"
        );
        assert!(!state("cluster.next").exists());
        served(lab, true);
        policy::apply(
            lab,
            "saved-after-the-rollout",
            &json!({"podSelector": {}, "ingress": [{}]}),
        );
        lab.wait("the next batch to be saved", PATIENCE, || {
            saved("saved-after-the-rollout")
        })
        .unwrap();
        api.server().lines().refuse(true);
        api.server().lines().close_all();
        node.kill_agent(Signal::SIGKILL).unwrap();
        node.start_agent().unwrap();
        assert!(source(lab)["saved_age_ms"].as_u64().is_some());
        served(lab, false);
    });
}
