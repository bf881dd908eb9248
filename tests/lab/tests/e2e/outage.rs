//! What a cluster does to a node's packets while it changes, and while its API server is away: nothing.

use crate::clients::{Conversation, curl, stream};
use crate::cluster::*;
use serde_json::{Value, json};
use sluice_lab::{ApiServer, Lab, Node};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Seconds without the API server, unless this says so.
const VARIABLE: &str = "SLUICE_OUTAGE_SECONDS";
const SECONDS: u64 = 5;
/// Datagrams a second. Who answers may stand still for a third of a second before its socket is full.
const RATE: u32 = 500;

/// Probes that do not say that all is well.
fn failing(node: &Node<'_>) -> Vec<String> {
    let urls = [
        "http://127.0.0.1:9475/livez",
        "http://127.0.0.1:9475/readyz",
        "http://127.0.0.1:10256/healthz",
    ];
    let ask = |url: &&str| node.run(&["curl", "-fsS", "--max-time", "5", url]).unwrap();
    let answers = urls.iter().map(ask).filter(|answer| !answer.ok());
    answers.map(|answer| answer.to_string()).collect()
}

/// A service elsewhere, with an end point that is ready or is not.
fn slice(ready: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "elsewhere-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "elsewhere"}},
        "endpoints": [
            {"addresses": ["10.244.2.200"], "nodeName": "node-b", "conditions": {"ready": ready}},
            {"addresses": ["10.244.2.201"], "nodeName": "node-b", "conditions": {"ready": true}},
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

/// A node elsewhere, with another address each time.
fn node_elsewhere(round: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-z", "annotations": {
            "flannel.alpha.coreos.com/backend-type": "vxlan", "flannel.alpha.coreos.com/public-ip": format!("192.0.2.{}", 101 + round % 100),
            "flannel.alpha.coreos.com/backend-data": "{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:7a:7a\"}"}},
        "spec": {"podCIDR": "10.244.99.0/24", "podCIDRs": ["10.244.99.0/24"]},
    })
}

/// What changes later on. A node that comes or goes makes each flow be decided anew once: who is masqueraded to outside depends on the
/// ranges of all nodes.
fn make_elsewhere(api: &ApiServer) {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "elsewhere", "namespace": "default"},
        "spec": {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    });
    for object in [service, slice(true), node_elsewhere(0)] {
        api.server().apply(object).unwrap();
    }
}

/// A thousand changes of end points, a hundred of policies and a hundred of nodes, evenly over ten seconds.
fn change_everything(api: &ApiServer) {
    let server = api.server();
    let began = Instant::now();
    for round in 0..1000u32 {
        let due = began + Duration::from_millis(10) * round;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        server.apply(slice(round % 2 == 0)).unwrap();
        if round % 10 == 0 {
            let policy = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": "elsewhere", "namespace": "default"},
                "spec": {"podSelector": {"matchLabels": {"name": "nobody"}}, "ingress": [{"ports": [{"port": 1000 + round}]}]},
            });
            server.apply(policy).unwrap();
            server.apply(node_elsewhere(1 + round / 10)).unwrap();
        }
    }
}

fn counter(node: &Node<'_>, name: &str) -> u64 {
    node.sluice_json(&["counters"]).unwrap()["totals"][name]
        .as_u64()
        .unwrap()
}

#[test]
fn changes_elsewhere_lose_no_packet_and_decide_no_flow_again() {
    alone_in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        let web = (of(ECHO, false), 7);
        make_elsewhere(api);
        lab.wait("the other node to be known", PATIENCE, || {
            node.sluice_json(&["status"]).unwrap()["nodes"] == 3
        })
        .unwrap();
        crate::clients::echoes(&user, web, 4);
        let before = counter(&node, "decided_again");
        let generations = || node.sluice_json(&["status"]).unwrap()["generation"].as_u64().unwrap();
        let (first, done) = (generations(), AtomicBool::new(false));
        let sent = std::thread::scope(|threads| {
            let stream = threads.spawn(|| stream(&user, web, RATE, || done.load(Relaxed)));
            change_everything(api);
            done.store(true, Relaxed);
            stream.join().unwrap()
        });
        let published = generations() - first;
        println!(
            "{published} configurations while {} datagrams were sent: {} unanswered, {:.1} ms blocked",
            sent.datagrams,
            sent.unanswered.len(),
            1e3 * sent.unanswered.len() as f64 / f64::from(RATE)
        );
        assert!(published > 300, "{published} configurations are hardly any");
        assert_eq!(sent.unanswered, [] as [u64; 0]);
        assert_eq!(counter(&node, "decided_again"), before);
    });
}

#[test]
fn without_the_api_server_no_probe_fails_and_nothing_is_lost() {
    let seconds = std::env::var(VARIABLE).map_or(SECONDS, |text| text.parse().unwrap());
    alone_in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let user = lab.pod("user").unwrap();
        let nodes = ["node-a", "node-b"].map(|name| lab.node(name).unwrap());
        let mut old = Conversation::open(&user, (of(WEB, true), 80));
        let name = old.who().unwrap();
        api.server().lines().refuse(true);
        api.server().lines().close_all();
        let (end, done) = (Instant::now() + Duration::from_secs(seconds), AtomicBool::new(false));
        let sent = std::thread::scope(|threads| {
            let stream = threads.spawn(|| stream(&user, (of(ECHO, false), 7), RATE, || done.load(Relaxed)));
            while Instant::now() < end {
                for node in &nodes {
                    assert_eq!(failing(node), [] as [String; 0]);
                }
                assert_eq!(old.who().unwrap(), name);
                std::thread::sleep(Duration::from_millis(500));
            }
            done.store(true, Relaxed);
            stream.join().unwrap()
        });
        println!(
            "{seconds} s, {} datagrams, {} unanswered",
            sent.datagrams,
            sent.unanswered.len()
        );
        assert_eq!(sent.unanswered, [] as [u64; 0]);
        back(lab, api);
        assert_eq!(old.who().unwrap(), name);
    });
}

/// What was changed meanwhile is served soon after.
fn back(lab: &Lab, api: &ApiServer) {
    let user = lab.pod("user").unwrap();
    let slice = "endpointslice-default-web-ipv4.yaml";
    lab.edit(slice, |slice| {
        let ends = slice["endpoints"].as_array_mut().unwrap();
        ends.retain(|end| end["nodeName"] == "node-a");
    })
    .unwrap();
    api.server().lines().refuse(false);
    lab.wait("what was missed to be served", Duration::from_secs(60), || {
        (0..8).all(|_| curl(&user, (of(WEB, false), 80), "/").contains("web-1"))
    })
    .unwrap();
}
