//! Services inside the cluster.

use crate::clients::{Attempt, answers, attempt, curl, datagram, echoes, spread};
use crate::cluster::*;
use serde_json::json;
use sluice_lab::{Lab, Topology};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Waits until both agents show `wanted` for the service `web`.
fn wait_for_scheduler(lab: &Lab, wanted: &str) {
    for node in ["node-a", "node-b"] {
        let node = lab.node(node).unwrap();
        lab.wait(&format!("{} to schedule by {wanted}", node.name()), PATIENCE, || {
            node.sluice_json(&["services", "default/web"])
                .is_ok_and(|rows| rows[0]["scheduler"] == wanted)
        })
        .unwrap();
    }
}

#[test]
fn a_cluster_ip_spreads_over_pods_of_all_nodes() {
    in_lab(&two_nodes(), |lab| {
        for from in ["user", "web-1", "web-2"] {
            let from = lab.pod(from).unwrap();
            for v6 in FAMILIES {
                // 64 fair coins miss one side, or fall below ten there, less than once in a billion runs.
                for names in [
                    answers(&from, (of(WEB, v6), 80), 64),
                    echoes(&from, (of(ECHO, v6), 7), 64),
                ] {
                    let counts = spread(&names);
                    assert!(counts.len() == 2 && counts.values().all(|n| *n >= 8), "{counts:?}");
                }
            }
        }
    });
}

#[test]
fn the_scheduler_annotation_gives_exact_turns() {
    in_lab(&two_nodes(), |lab| {
        lab.edit("service-default-web.yaml", |service| {
            service["metadata"]["annotations"] = json!({"sluice.io/scheduler": "rr"});
        })
        .unwrap();
        wait_for_scheduler(lab, "rr");
        for v6 in FAMILIES {
            let names = answers(&lab.pod("user").unwrap(), (of(WEB, v6), 80), 40);
            assert!(
                names.windows(2).all(|pair| pair[0] != pair[1]),
                "not in turns: {names:?}"
            );
        }
    });
}

#[test]
fn client_affinity_sticks() {
    let mut topology = two_nodes();
    topology.agent = serde_json::from_value(json!({"services": {"scheduler": "rr"}})).unwrap();
    topology.services[0].spec = serde_json::from_value(json!({"sessionAffinity": "ClientIP"})).unwrap();
    in_lab(&topology, |lab| {
        for v6 in FAMILIES {
            for client in ["user", "web-1"] {
                let names = answers(&lab.pod(client).unwrap(), (of(WEB, v6), 80), 20);
                assert_eq!(spread(&names).len(), 1, "{client}: {names:?}");
            }
        }
        let free = echoes(&lab.pod("user").unwrap(), (of(ECHO, false), 7), 4);
        assert_eq!(
            spread(&free).len(),
            2,
            "a service without affinity takes turns: {free:?}"
        );
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let topology = two_nodes_and(
        "  - {name: empty, type: NodePort, clusterIPs: [10.96.0.99, 'fd00:96::63'], selector: {app: nobody}, ports: [{name: a, port: 80, nodePort: 30099}, {name: b, protocol: UDP, port: 7, nodePort: 30098}]}",
    );
    in_lab(&topology, |lab| {
        let (user, node, outside) = (
            lab.pod("user").unwrap(),
            lab.node("node-a").unwrap(),
            lab.place("outside").unwrap(),
        );
        for v6 in FAMILIES {
            let empty = of(["10.96.0.99", "fd00:96::63"], v6);
            for (from, to, udp) in [
                (&*user, (empty, 80), (empty, 7)),
                (&*node, (empty, 80), (empty, 7)),
                (&outside, (of(NODE_A, v6), 30099), (of(NODE_A, v6), 30098)),
            ] {
                let started = Instant::now();
                assert_eq!(
                    attempt(from, to, PATIENCE),
                    Attempt::Refused,
                    "{} to {to:?}",
                    from.name()
                );
                let error = datagram(from, udp, "hello", PATIENCE).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} to {udp:?}", from.name());
                assert!(
                    started.elapsed() < Duration::from_secs(2),
                    "{} was told late",
                    from.name()
                );
            }
        }
    });
}

fn with_own_services() -> Topology {
    two_nodes_and(
        "  - {name: own, clusterIPs: [10.96.0.30, 'fd00:96::1e'], selector: {name: web-1}, ports: [{name: http, port: 8080, targetPort: 80}]}
  - {name: own-echo, clusterIPs: [10.96.0.31, 'fd00:96::1f'], selector: {name: web-1}, ports: [{name: echo, protocol: UDP, port: 7}]}",
    )
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    in_lab(&with_own_services(), |lab| {
        let web = lab.pod("web-1").unwrap();
        for v6 in FAMILIES {
            let own = (of(["10.96.0.30", "fd00:96::1e"], v6), 8080);
            assert_eq!(curl(&web, own, "/"), "web-1");
            let seen = curl(&web, own, "/from");
            assert_ne!(
                seen,
                address(lab, "web-1", v6).to_string(),
                "a pod does not answer itself across the wire"
            );
            assert_eq!(
                echoes(&web, (of(["10.96.0.31", "fd00:96::1f"], v6), 7), 3),
                vec!["web-1"; 3]
            );
        }
    });
}

#[test]
fn new_endpoints_serve_and_removed_ones_get_no_new_connection() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        let only = |lab: &Lab, name: &str| {
            lab.edit("endpointslice-default-web-ipv4.yaml", |slice| {
                let endpoints = slice["endpoints"].as_array_mut().unwrap();
                endpoints.retain(|e| e["targetRef"]["name"] == name);
            })
            .unwrap();
        };
        let file = lab.dir().join("manifests/endpointslice-default-web-ipv4.yaml");
        let both = std::fs::read_to_string(file).unwrap();
        only(lab, "web-2");
        // So many go to one of two by chance once in 2^40.
        lab.wait("web-1 to be left out", PATIENCE, || {
            spread(&answers(&user, (of(WEB, false), 80), 40)) == [("web-2", 40)].into()
        })
        .unwrap();
        lab.apply("endpointslice-default-web-ipv4.yaml", &both).unwrap();
        lab.wait("web-1 to be back", PATIENCE, || {
            spread(&answers(&user, (of(WEB, false), 80), 8)).len() == 2
        })
        .unwrap();
    });
}
