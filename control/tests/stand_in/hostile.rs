//! Objects that no controller would write, from an API server that takes them: what is wrong is told by name, and the rest is served.

use super::cluster::{Follower, server};
use super::objects::{NODE, node, service, slice};
use serde_json::{Value, json};
use sluice_apiserver::Server;
use sluice_control::compile::{Compiled, Compiler, FibRoute, HostPort, Inputs, Settings, Underlay, Uplink, UplinkPort};
use sluice_lb::SchedulerKind;
use sluice_snapshot::Caps;
use sluice_wire::{Addr, MacAddr, PortSlot, Proto, Scope, Vni};

const HERE: &str = "192.0.2.1";

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<std::net::IpAddr>().unwrap())
}

/// What this node makes of all that is known.
fn compiled(follower: &Follower) -> (Compiled, String) {
    let settings = Settings {
        node_name: NODE.into(),
        vni: Vni::new(1).unwrap(),
        tunnel_port: 8472,
        tunnel_mtu: None,
        default_scheduler: SchedulerKind::Rr,
        service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
        node_ports: (30_000, 32_767),
        masquerade_ports: (40_000, 65_535),
    };
    let route = |prefix: &str, gateway: Option<&str>| FibRoute {
        prefix: prefix.parse().unwrap(),
        gateway: gateway.map(addr),
        ifindex: 2,
        metric: 0,
        pref_src: None,
    };
    let underlay = Underlay {
        addresses: vec![(2, addr(HERE))],
        routes: vec![route("192.0.2.0/24", None), route("0.0.0.0/0", Some("192.0.2.254"))],
        neighbours: Vec::new(),
        uplink: Uplink {
            ifindex: 2,
            name: "eth1".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
        },
    };
    let host = HostPort {
        slot: PortSlot(0),
        scope: Scope::port(0),
        mac: MacAddr([2, 0, 0, 0, 0, 2]),
        mtu: 1450,
        caps: Caps::default(),
    };
    let uplink = UplinkPort {
        slot: PortSlot(1),
        scope: Scope::port(1),
        caps: Caps::default(),
    };
    let inputs = Inputs {
        settings: &settings,
        underlay: &underlay,
        pods: &[],
        host: &host,
        uplink: &uplink,
    };
    let compiled = Compiler::default().compile(&follower.store, &inputs).unwrap();
    let reports: Vec<String> = compiled.reports.iter().map(ToString::to_string).collect();
    (compiled, reports.join("\n"))
}

/// The three nodes, of which the last one is nobody's victim.
fn cluster() -> Server {
    let server = server();
    for (name, range, address) in [
        ("node-b", "10.244.2.0/24", "192.0.2.2"),
        ("node-c", "10.244.3.0/24", "192.0.2.3"),
    ] {
        let mut node = node(name, range);
        node["status"]["addresses"][0]["address"] = json!(address);
        server.apply(node).unwrap();
    }
    server
}

fn peers(compiled: &Compiled) -> Vec<String> {
    let peers = compiled.parts.forwarding.peers();
    peers
        .filter(|(_, peer)| !peer.prefixes.is_empty())
        .map(|(_, peer)| peer.name.to_string())
        .collect()
}

fn frontend(compiled: &Compiled, address: &str) -> bool {
    let mut all = compiled.steering.frontends.iter();
    all.any(|frontend| frontend.addr == addr(address) && frontend.proto == Proto::TCP)
}

#[test]
fn what_belongs_to_others_is_told_and_theirs_goes_on() {
    let server = cluster();
    let mut overlapping = node("node-d", "10.244.2.128/25");
    overlapping["status"]["addresses"][0]["address"] = json!("192.0.2.4");
    server.apply(overlapping).unwrap();
    let with_port = |name: &str, address: &str, node_port: u16, created: &str| {
        let mut service = service(name, address, 80);
        service["spec"]["type"] = json!("NodePort");
        service["spec"]["ports"][0]["nodePort"] = json!(node_port);
        service["metadata"]["creationTimestamp"] = json!(created);
        service
    };
    for object in [
        with_port("old", "10.96.0.40", 30_040, "2026-01-01T00:00:00Z"),
        with_port("young", "10.96.0.41", 30_040, "2026-02-01T00:00:00Z"),
        with_port("thief", "10.96.0.40", 30_042, "2026-03-01T00:00:00Z"),
        with_port("here", HERE, 30_043, "2026-03-01T00:00:00Z"),
        with_port("there", "192.0.2.3", 30_044, "2026-03-01T00:00:00Z"),
    ] {
        server.apply(object).unwrap();
    }
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    let (compiled, told) = compiled(&follower);
    for want in [
        "node node-d: its pod range 10.244.2.128/25 overlaps 10.244.2.0/24 of node node-b, which keeps it",
        "service default/young: node port 30040/TCP belongs to default/old and default/young; the older one (or the first by name), default/old, serves it",
        "service default/thief: address 10.96.0.40 port 80/TCP belongs to default/old and default/thief",
        HERE,
        "192.0.2.3",
    ] {
        assert!(told.contains(want), "{want}\n{told}");
    }
    assert_eq!(peers(&compiled), ["node-b", "node-c"]);
    assert!(frontend(&compiled, "10.96.0.10") && frontend(&compiled, "10.96.0.40"));
    assert!(
        !frontend(&compiled, HERE) && !frontend(&compiled, "192.0.2.3"),
        "addresses of nodes are theirs"
    );
}

#[test]
fn annotations_of_another_node_harm_nobody_else() {
    let own = {
        let server = cluster();
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        compiled(&follower).0.parts.node.vtep_mac_v4
    };
    let mac = |mac: &str| ("backend-data", format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#));
    let endless = "x".repeat(3 << 20);
    for (key, value) in [
        mac("01:00:5e:00:00:01"),
        mac("ff:ff:ff:ff:ff:ff"),
        mac("00:00:00:00:00:00"),
        mac(&own.to_string()),
        mac("\u{1b}[2J"),
        ("public-ip", "127.0.0.1".into()),
        ("public-ip", HERE.into()),
        ("public-ip", "224.0.0.1".into()),
        ("public-ip", "10.244.1.7".into()),
        ("public-ip", endless.clone()),
        ("backend-data", r#"{"VNI":4294967296}"#.into()),
        ("backend-data", r#"{"VNI":-1}"#.into()),
        (
            "backend-data",
            r#"{"VNI":16777217,"VtepMAC":"02:00:00:00:00:09"}"#.into(),
        ),
        ("backend-data", endless.clone()),
        ("backend-type", endless),
    ] {
        let server = cluster();
        let mut hostile = (**server
            .objects("nodes")
            .iter()
            .find(|node| node["metadata"]["name"] == "node-b")
            .unwrap())
        .clone();
        hostile["metadata"]["annotations"] = json!({format!("flannel.alpha.coreos.com/{key}"): value});
        server.apply(hostile).unwrap();
        let mut follower = Follower::of(&server);
        follower.catch_up(&server);
        let (compiled, reports) = compiled(&follower);
        let shown: String = value.chars().take(80).collect();
        let told = format!("{}\n{reports}", follower.told());
        assert!(told.to_lowercase().contains("node node-b"), "{key} {shown:?}: {told}");
        assert!(
            told.len() < 2000 && !told.contains('\u{1b}'),
            "{key} {shown:?}: {} bytes",
            told.len()
        );
        assert!(peers(&compiled).contains(&"node-c".to_owned()), "{key} {shown:?}");
        assert!(frontend(&compiled, "10.96.0.10"), "{key} {shown:?}");
    }
}

#[test]
fn thousands_of_ports_and_endpoints_are_served_and_what_is_beside_them_is_too() {
    let server = cluster();
    let ports: Vec<Value> = (1..=5000)
        .map(|n| json!({"name": format!("p{n}"), "port": n, "protocol": "TCP"}))
        .collect();
    let mut wide = service("wide", "10.96.0.50", 80);
    wide["spec"]["ports"] = json!(ports);
    let addresses: Vec<String> = (0..1000).map(|n| format!("10.244.2.{}", n % 250 + 1)).collect();
    let mut endpoints = slice("wide", &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let ports: Vec<Value> = (1..=100)
        .map(|n| json!({"name": format!("p{n}"), "port": 8000 + n, "protocol": "TCP"}))
        .collect();
    endpoints["ports"] = json!(ports);
    for object in [wide, endpoints] {
        server.apply(object).unwrap();
    }
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    let (compiled, _) = compiled(&follower);
    let mine = compiled
        .steering
        .frontends
        .iter()
        .filter(|frontend| frontend.addr == addr("10.96.0.50"));
    assert_eq!(mine.count(), 5000);
    assert!(frontend(&compiled, "10.96.0.10"));
    assert!(follower.problems.is_empty(), "{}", follower.told());
}
