//! Input that is wrong: reported, and nothing else suffers.

use crate::clients::{curl, ping};
use crate::cluster::*;
use serde_json::{Value, json};
use sluice_lab::{Lab, manifests};

fn status(lab: &Lab, node: &str) -> Value {
    lab.node(node).unwrap().sluice_json(&["status"]).unwrap()
}

fn all_works(lab: &Lab) {
    let user = lab.pod("user").unwrap();
    for v6 in FAMILIES {
        ping(&user, address(lab, "web-2", v6));
        assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
    }
}

#[test]
fn a_broken_file_is_named_with_its_line_and_the_last_good_state_serves_on() {
    in_lab(&two_nodes(), |lab| {
        const FILE: &str = "service-default-web.yaml";
        let good = std::fs::read_to_string(lab.dir().join("manifests").join(FILE)).unwrap();
        lab.apply(FILE, "apiVersion: v1\nkind: Service\nmetadata: {name: web\nspec: [\n")
            .unwrap();
        let problems = || {
            status(lab, "node-a")["source"]["problems"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        lab.wait("the problem to show", PATIENCE, || !problems().is_empty())
            .unwrap();
        let problem = &problems()[0];
        assert!(problem["origin"].as_str().unwrap().ends_with(FILE), "{problem}");
        assert!((3..=5).contains(&problem["line"].as_u64().unwrap()), "{problem}");
        let shown = lab.node("node-a").unwrap().sluice(&["status"]).unwrap();
        assert!(shown.text().unwrap().contains(FILE), "{shown}");
        all_works(lab);

        lab.apply(
            FILE,
            &good
                .replace("protocol: TCP", "protocol: TPC")
                .replace("\"TCP\"", "\"TPC\""),
        )
        .unwrap();
        lab.wait("the field to be named", PATIENCE, || {
            problems().iter().any(|p| p["text"].to_string().contains("protocol"))
        })
        .unwrap();
        all_works(lab);

        lab.apply(FILE, &good).unwrap();
        lab.wait("the problem to go", PATIENCE, || problems().is_empty())
            .unwrap();
        all_works(lab);
    });
}

#[test]
fn contradictions_are_reported_and_the_rest_works() {
    in_lab(&two_nodes(), |lab| {
        lab.edit("service-default-web.yaml", |service| {
            service["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z".into();
        })
        .unwrap();
        let apply = |file: &str, object: Value| lab.apply(file, &manifests::to_yaml(&object)).unwrap();
        apply(
            "pod-twin.yaml",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "twin", "namespace": "default"},
                "spec": {"nodeName": "node-b", "containers": [{"name": "main"}]},
                "status": {"phase": "Running", "podIP": "10.244.2.5", "podIPs": [{"ip": "10.244.2.5"}]}}),
        );
        apply(
            "service-usurper.yaml",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "usurper", "namespace": "default",
                "creationTimestamp": "2030-01-01T00:00:00Z"}, "spec": {"type": "ClusterIP", "clusterIP": WEB[0],
                "clusterIPs": [WEB[0]], "ipFamilies": ["IPv4"], "ports": [{"port": 80, "protocol": "TCP"}]}}),
        );
        apply(
            "node-lost.yaml",
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-lost"},
                "spec": {"podCIDR": "10.244.9.0/24", "podCIDRs": ["10.244.9.0/24"]}, "status": {"addresses": []}}),
        );
        // That two pods have an address is told once it has lasted a minute.
        for (what, words) in [
            ("the address of two services", [WEB[0], "usurper"]),
            ("the node without an address", ["node-lost", "address"]),
        ] {
            let told = || {
                let warnings = status(lab, "node-a")["warnings"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                warnings
                    .iter()
                    .any(|w| words.iter().all(|word| w.to_string().contains(word)))
            };
            if lab.wait(&format!("a warning about {what}"), PATIENCE, told).is_err() {
                panic!(
                    "no warning about {what} ({words:?}) in {:#}",
                    status(lab, "node-a")["warnings"]
                );
            }
        }
        assert_eq!(status(lab, "node-a")["ready"], true);
        all_works(lab);
        for file in ["pod-twin.yaml", "service-usurper.yaml", "node-lost.yaml"] {
            lab.remove(file).unwrap();
        }
        lab.wait("the warnings to go", PATIENCE, || {
            warnings(&lab.node("node-a").unwrap()).is_empty()
        })
        .unwrap();
        all_works(lab);
    });
}

#[test]
fn an_unknown_key_of_the_configuration_is_named_with_the_nearest_valid_one() {
    let mut topology = two_nodes();
    topology.nodes[0].agent = serde_json::from_value(json!({"workers": {"cuont": 2}})).unwrap();
    let error = Lab::up(&topology).err().expect("such an agent does not start");
    let said = format!("{error:#}");
    for word in [
        "node-a",
        "ended before it was ready",
        "node-a.yaml",
        "line ",
        "workers.cuont",
        "workers.count",
    ] {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
}

/// It has a configuration of its own, so neither the socket nor the state directory are in its way.
#[test]
fn a_second_agent_is_refused_by_name_and_costs_the_first_nothing() {
    in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let links = || {
            node.run(&["ip", "-json", "-details", "link", "show", "sluice0"])
                .unwrap()
                .stdout
        };
        let before = links();
        let first = std::fs::read_to_string(lab.dir().join("node-a.yaml")).unwrap();
        let other = first
            .replace("node-a.sock", "second.sock")
            .replace("-node-a", "-second");
        assert_ne!(first, other);
        let file = lab.dir().join("second.yaml");
        for text in [&other, &first] {
            std::fs::write(&file, text).unwrap();
            let second = node
                .sluice_alone(&["run", "--config", &file.to_string_lossy()])
                .unwrap();
            assert!(!second.ok(), "{second}");
            let said = format!("{}{}", second.stdout, second.stderr);
            let holder = format!("pid {}, uplink eth0", node.agent_pid().unwrap());
            assert!(
                said.contains("another agent serves this network namespace") && said.contains(&holder),
                "{said}"
            );
        }
        assert_eq!(links(), before, "the host's tap has the queues that it had");
        all_works(lab);
    });
}
