//! The cluster that most tests start from, and how a test runs in it: watched while it runs, balanced when it ends.

use crate::{balance, footprint};
use serde_json::Value;
use sluice_lab::topology::UnderlayKind;
use sluice_lab::{ApiServer, Lab, Node, Source, Topology};
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// How long anything may take that has no promised time of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Service `web`: TCP port 80 of every `app: web`, node port 30080.
pub(crate) const WEB: [&str; 2] = ["10.96.0.10", "fd00:96::a"];
/// Service `echo`: UDP port 7 of every `app: web`, node port 30007.
pub(crate) const ECHO: [&str; 2] = ["10.96.0.20", "fd00:96::14"];
/// The nodes' addresses.
pub(crate) const NODE_A: [&str; 2] = ["192.0.2.11", "2001:db8:2::11"];
pub(crate) const NODE_B: [&str; 2] = ["192.0.2.12", "2001:db8:2::12"];
/// The machine outside.
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.100", "2001:db8:2::100"];
/// Both families, as the index of the arrays above and of `Pod::address`.
pub(crate) const FAMILIES: [bool; 2] = [false, true];

const CLUSTER: &str = r#"
nodes:
  - {name: node-a, addresses: [192.0.2.11/24, "2001:db8:2::11/64"], podCIDRs: [10.244.1.0/24, "fd00:244:1::/64"]}
  - {name: node-b, addresses: [192.0.2.12/24, "2001:db8:2::12/64"], podCIDRs: [10.244.2.0/24, "fd00:244:2::/64"]}
pods:
  - {name: web-1, node: node-a, addresses: [10.244.1.5, "fd00:244:1::5"], labels: {app: web, name: web-1}, run: [http, udp-echo, iperf3]}
  - {name: web-2, node: node-b, addresses: [10.244.2.5, "fd00:244:2::5"], labels: {app: web, name: web-2}, run: [http, udp-echo, iperf3]}
  - {name: user, node: node-a, addresses: [10.244.1.9, "fd00:244:1::9"], labels: {role: user}}
clients:
  - {name: outside, addresses: [192.0.2.100/24, "2001:db8:2::100/64"], run: [http, udp-echo]}
services:
  - {name: web, type: NodePort, clusterIPs: [10.96.0.10, "fd00:96::a"], selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30080}]}
  - {name: echo, type: NodePort, clusterIPs: [10.96.0.20, "fd00:96::14"], selector: {app: web}, ports: [{name: echo, protocol: UDP, port: 7, nodePort: 30007}]}
"#;

/// Two nodes with an agent each: web-1 and user on the first, web-2 on the second, and a machine outside.
pub(crate) fn two_nodes() -> Topology {
    Topology::parse(CLUSTER).unwrap()
}

/// [`two_nodes`] with more written below its last list, the services.
pub(crate) fn two_nodes_and(more: &str) -> Topology {
    Topology::parse(&format!("{CLUSTER}{more}")).unwrap()
}

/// Where the second node and the machine outside are when a router is between.
pub(crate) const FAR_NODE_B: [&str; 2] = ["198.51.100.12", "2001:db8:3::12"];
pub(crate) const FAR_OUTSIDE: [&str; 2] = ["203.0.113.100", "2001:db8:4::100"];

/// A topology like [`two_nodes`] where each node, and the machine outside, has a segment of its own, with a router between.
pub(crate) fn across_a_router(mut topology: Topology) -> Topology {
    let nets =
        |pair: [&str; 2]| [(pair[0], 24), (pair[1], 64)].map(|(at, length)| format!("{at}/{length}").parse().unwrap());
    topology.underlay.kind = UnderlayKind::Router;
    topology.nodes[1].addresses = nets(FAR_NODE_B).into();
    topology.clients[0].addresses = nets(FAR_OUTSIDE).into();
    topology
}

/// [`two_nodes`] with a pod `brief` on the first, to be taken away and brought back.
pub(crate) fn with_brief() -> Topology {
    let mut topology = two_nodes();
    add_pod(
        &mut topology,
        r#"{"name": "brief", "node": "node-a", "addresses": ["10.244.1.100", "fd00:244:1::100"]}"#,
    );
    topology
}

/// A topology like [`two_nodes`] with one more pod.
pub(crate) fn add_pod(topology: &mut Topology, yaml: &str) {
    topology.pods.push(serde_json::from_str(yaml).unwrap());
}

/// Tests that promise a time, or need the whole machine, run alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// Runs `test` in a lab of `topology`. Afterwards every agent holds what it held before, its frames balance, it stops
/// cleanly, and nothing of the lab is left.
pub(crate) fn in_lab(topology: &Topology, test: impl FnOnce(&Lab)) {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    watched(Lab::up(topology).unwrap(), test);
}

/// As [`in_lab`], with agents that have their objects from an API server.
pub(crate) fn in_lab_of_an_api_server(topology: &Topology, test: impl FnOnce(&Lab, &ApiServer)) {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::up_from(topology, Source::ApiServer).unwrap();
    watched(lab, |lab| test(lab, lab.api().unwrap()));
}

/// As [`in_lab_of_an_api_server`], without any other test at the same time.
pub(crate) fn alone_in_lab_of_an_api_server(topology: &Topology, test: impl FnOnce(&Lab, &ApiServer)) {
    let _whole = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::up_from(topology, Source::ApiServer).unwrap();
    watched(lab, |lab| test(lab, lab.api().unwrap()));
}

/// As [`in_lab`], without any other test at the same time.
pub(crate) fn alone_in_lab(topology: &Topology, test: impl FnOnce(&Lab)) {
    let _whole = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    watched(Lab::up(topology).unwrap(), test);
}

fn watched(lab: Lab, test: impl FnOnce(&Lab)) {
    let lab = Watched(lab);
    let before = footprint::all(&lab.0);
    test(&lab.0);
    footprint::check(&lab.0, &before);
    balance::check(&lab.0);
    let name = lab.0.name().to_owned();
    drop(lab);
    footprint::nothing_is_left(&name);
}

/// A lab that shows what its agents said when the test fails: their logs go with the lab.
struct Watched(Lab);

impl Drop for Watched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for spec in &self.0.topology().nodes {
            let Ok(node) = self.0.node(&spec.name) else { continue };
            let log = std::fs::read_to_string(node.agent_log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- agent of {}, its last lines\n{}",
                spec.name,
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// The address of pod `name`.
pub(crate) fn address(lab: &Lab, name: &str, v6: bool) -> IpAddr {
    lab.pod(name).unwrap().address(v6).unwrap()
}

/// One of the pairs above, parsed.
pub(crate) fn of(pair: [&str; 2], v6: bool) -> IpAddr {
    pair[usize::from(v6)].parse().unwrap()
}

/// What the node's agent warns of, but for what any test may meet: that a pod receives slowly, on a busy machine, and that
/// `SLUICE_TESTING` is set for the whole run.
pub(crate) fn warnings(node: &Node<'_>) -> Vec<Value> {
    let status = node.sluice_json(&["status"]).unwrap();
    let mut all = status["warnings"].as_array().unwrap().clone();
    let of = |warning: &Value| warning["object"].as_str().unwrap().to_owned();
    all.retain(|warning| of(warning) != "testing" && !of(warning).starts_with("Pod "));
    all
}
