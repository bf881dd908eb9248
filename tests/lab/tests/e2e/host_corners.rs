//! The node itself as a server of services, as their client, and as the way to nowhere.

use crate::clients::{Attempt, attempt, curl, datagram, ping};
use crate::cluster::*;
use crate::faults;
use crate::greeter::{Greeter, greeted};
use crate::raw::drops;
use serde_json::json;
use sluice_lab::{Lab, Place, Topology};
use std::net::IpAddr;
use std::time::Duration;

/// Where programs of the node listen.
const PORT: u16 = 8000;
/// Service `own`: a pod in node-a's own network, node port 30700, TCP and UDP.
const OWN: [&str; 2] = ["10.96.0.70", "fd00:96::70"];

fn topology() -> Topology {
    let mut topology = two_nodes_and(&format!(
        "  - {{name: own, type: NodePort, clusterIPs: [{}, \"{}\"], ports: [{{name: tcp, port: 80, targetPort: {PORT}, nodePort: 30700}}, \
         {{name: udp, protocol: UDP, port: 80, targetPort: {PORT}, nodePort: 30700}}]}}\n",
        OWN[0], OWN[1]
    ));
    let meta = |name: &str| json!({"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "own", "app": "own"}});
    topology
        .objects
        .push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta("own"),
        "spec": {"nodeName": "node-a", "hostNetwork": true, "containers": [{"name": "main", "image": "lab"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": NODE_A[0]}, {"ip": NODE_A[1]}]}}));
    for (v6, family) in [(false, "IPv4"), (true, "IPv6")] {
        topology.objects.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": meta(&format!("own-{}", family.to_lowercase())), "addressType": family,
            "endpoints": [{"addresses": [NODE_A[usize::from(v6)]], "nodeName": "node-a"}],
            "ports": [{"name": "tcp", "protocol": "TCP", "port": PORT}, {"name": "udp", "protocol": "UDP", "port": PORT}]}));
    }
    topology
}

/// Everybody reaches the service that node-a itself serves, and is seen under the right address.
fn everybody_is_served(lab: &Lab) {
    let _greeter = Greeter::start(&lab.node("node-a").unwrap(), &NODE_A, PORT);
    for v6 in FAMILIES {
        let service = (of(OWN, v6), 80);
        let node_port = |node| (of(node, v6), 30700);
        let (own, node_b) = (of(OWN, v6), of(NODE_B, v6));
        let cases: [(&str, (IpAddr, u16), IpAddr); 8] = [
            ("user", service, address(lab, "user", v6)),
            ("user", node_port(NODE_A), address(lab, "user", v6)),
            ("web-2", service, node_b),
            ("node-a", service, own),
            ("node-b", service, node_b),
            ("outside", node_port(NODE_A), own),
            ("outside", node_port(NODE_B), node_b),
            ("web-2", node_port(NODE_A), own),
        ];
        for (from, to, seen) in cases {
            let place = lab.place(from).unwrap();
            let want = format!("node-a {seen}");
            let said = greeted(&place, to, PATIENCE).unwrap_or_else(|e| panic!("{from} to {to:?}: {e}"));
            assert_eq!(said, want, "{from} to {to:?}");
            let said = datagram(&place, to, "?", PATIENCE).unwrap_or_else(|e| panic!("{from} to {to:?} by UDP: {e}"));
            assert_eq!(said, want, "{from} to {to:?} by UDP");
        }
    }
}

#[test]
fn a_service_is_served_by_the_network_of_a_node_itself_to_everybody() {
    in_lab(&topology(), everybody_is_served);
}

#[test]
fn strict_reverse_path_filters_change_nothing() {
    in_lab(&topology(), |lab| {
        for name in ["node-a", "node-b"] {
            let node = lab.node(name).unwrap();
            node.stop_agent().unwrap();
            let strict = "for f in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$f/rp_filter; done";
            node.run(&["sh", "-c", strict]).unwrap().text().unwrap();
            node.start_agent().unwrap();
        }
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        for v6 in FAMILIES {
            let far = address(lab, "web-2", v6);
            ping(&node, far);
            assert_eq!(curl(&node, far, "/"), "web-2");
            assert!(curl(&node, of(WEB, v6), "/").starts_with("web-"));
            ping(&lab.pod("web-2").unwrap(), of(NODE_A, v6));
            ping(&user, of(NODE_A, v6));
            assert_eq!(curl(&user, of(OUTSIDE, v6), "/"), "outside");
            assert!(curl(&lab.place("outside").unwrap(), (of(NODE_A, v6), 30080), "/").starts_with("web-"));
        }
        everybody_is_served(lab);
    });
}

#[test]
fn a_pod_in_the_network_of_its_node_is_judged_as_the_node() {
    in_lab(&topology(), |lab| {
        lab.apply(
            "only-own.yaml",
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: only-own}, spec: {podSelector: {matchLabels: {app: web}}, \
             ingress: [{from: [{podSelector: {matchLabels: {app: own}}}]}]}}",
        )
        .unwrap();
        let (user, a, b) = (
            lab.pod("user").unwrap(),
            lab.node("node-a").unwrap(),
            lab.node("node-b").unwrap(),
        );
        let short = Duration::from_millis(500);
        for v6 in FAMILIES {
            let web = (address(lab, "web-1", v6), 80);
            lab.wait("the policy", PATIENCE, || {
                attempt(&user, web, short) == Attempt::Silence
            })
            .unwrap();
            // As kubelet's probes, which come from the same address, always may.
            assert_eq!(attempt(&a, web, PATIENCE), Attempt::Connected);
            // A node's address stands for all of its pods, so a label of one does not allow it.
            assert_eq!(attempt(&b, web, short), Attempt::Silence);
        }
    });
}

#[test]
fn packets_to_a_service_address_that_no_service_wants_go_round_nowhere() {
    in_lab(&topology(), |lab| {
        let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
        // As a node of a cluster does, and a router that sends what it does not know back to it.
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        for place in [&*node, &outside] {
            place.run(&["sh", "-c", forward]).unwrap().text().unwrap();
        }
        let route = |at: &Place<'_>, v6: bool, what: &[&str]| {
            let family = if v6 { "-6" } else { "-4" };
            at.run(&[&["ip", family, "route", "add"], what].concat())
                .unwrap()
                .text()
                .map(drop)
                .unwrap();
        };
        for v6 in FAMILIES {
            let range = ["10.96.0.0/16", "fd00:96::/112"][usize::from(v6)];
            route(&outside, v6, &[range, "via", NODE_A[usize::from(v6)]]);
            route(&node, v6, &["default", "via", OUTSIDE[usize::from(v6)]]);
        }
        let mut sent = 0;
        for v6 in FAMILIES {
            let nobody: IpAddr = if v6 { "fd00:96::7777" } else { "10.96.77.77" }.parse().unwrap();
            for to in [(nobody, 9), (of(WEB, v6), 9)] {
                for from in ["user", "node-a", "outside"] {
                    let (place, before) = (lab.place(from).unwrap(), drops(&node, "no_service_port"));
                    let what = format!("the packet of {from} to {to:?}");
                    let dropped = || {
                        assert!(datagram(&place, to, "?", Duration::from_millis(100)).is_err());
                        lab.wait(&what, PATIENCE, || drops(&node, "no_service_port") > before)
                    };
                    faults::again(dropped, Result::is_ok).unwrap();
                    sent += 1;
                }
            }
        }
        // One that goes round is dropped once for each round, or never. Some may be there twice where devices double them.
        let most = if faults::everywhere() { sent + 5 } else { sent };
        assert!(
            (sent..=most).contains(&drops(&node, "no_service_port")),
            "{sent} were sent"
        );
    });
}

#[test]
fn pods_reach_a_resolver_of_their_node_at_addresses_of_its_own() {
    let dns = ["10.96.0.53", "fd00:96::53"];
    let topology = two_nodes_and(&format!(
        "  - {{name: dns, clusterIPs: [{}, \"{}\"], selector: {{app: web}}, ports: [{{name: dns, protocol: UDP, port: 53, targetPort: 7}}]}}\n",
        dns[0], dns[1]
    ));
    in_lab(&topology, |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let ask = |from: &Place<'_>, at: &str| datagram(from, (at.parse().unwrap(), 53), "?", PATIENCE).unwrap();
        for at in dns {
            assert!(ask(&user, at).starts_with("web-"), "served by the service");
        }
        let add = |what: &[&str]| node.run(&[&["ip"], what].concat()).unwrap().text().map(drop).unwrap();
        add(&["link", "add", "nodelocaldns", "up", "type", "bridge"]);
        for at in ["169.254.20.10/32", "10.96.0.53/32"] {
            add(&["address", "add", at, "dev", "nodelocaldns"]);
        }
        for at in ["fd00:20::10/128", "fd00:96::53/128"] {
            add(&["address", "add", at, "dev", "nodelocaldns", "nodad"]);
        }
        let own = ["169.254.20.10", "fd00:20::10", dns[0], dns[1]];
        let _resolver = Greeter::start(&node, &own, 53);
        for at in own {
            let v6 = at.contains(':');
            let want = format!("node-a {}", address(lab, "user", v6));
            let answer = || datagram(&user, (at.parse().unwrap(), 53), "?", Duration::from_millis(300));
            lab.wait(&format!("the node's resolver at {at}"), PATIENCE, || {
                answer().is_ok_and(|said| said == want)
            })
            .unwrap();
        }
        // The pods of other nodes, where nothing listens locally, go on with the service.
        for at in dns {
            assert!(ask(&lab.pod("web-2").unwrap(), at).starts_with("web-"));
        }
    });
}
