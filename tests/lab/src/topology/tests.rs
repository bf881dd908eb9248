use super::*;

const GOOD: &str = "
nodes:
  - {name: a, kind: linux, addresses: [192.0.2.11/24], podCIDRs: [10.244.1.0/24]}
  - {name: b, addresses: [192.0.2.12/24], podCIDRs: [10.244.2.0/24]}
pods:
  - {name: web, node: b, addresses: [10.244.2.5], run: [http, 'udp-echo:53']}
";

#[test]
fn reads_servers_with_and_without_port() {
    let t = Topology::parse(GOOD).unwrap();
    let run = &t.pod("web").unwrap().run;
    assert_eq!((run[0].kind, run[0].port), (ServerKind::Http, 80));
    assert_eq!((run[1].kind, run[1].port), (ServerKind::UdpEcho, 53));
    assert_eq!(t.node("b").unwrap().kind, NodeKind::Sluice);
}

#[test]
fn survives_the_way_through_its_own_text() {
    let t = Topology::parse(GOOD).unwrap();
    let json = serde_json::to_string(&t).unwrap();
    assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), t);
}

#[test]
fn refuses_what_cannot_be_built_and_names_it() {
    for (from, to, wanted) in [
        ("kind: linux", "kind: linux, colour: red", "colour"),
        ("10.244.2.5]", "10.244.3.5]", "pod web: address 10.244.3.5 lies outside"),
        ("10.244.2.5]", "10.244.2.0]", "pod web: address 10.244.2.0 lies outside"),
        ("node: b", "node: c", "there is no node c"),
        (
            "192.0.2.12/24",
            "192.0.2.11/24",
            "node b: address 192.0.2.11 is used twice",
        ),
        ("192.0.2.12/24", "192.0.3.12/24", "use kind router"),
        ("10.244.2.0/24", "10.244.0.0/16", "overlap"),
        ("10.244.2.0/24", "10.245.2.0/24", "outside clusterCIDRs"),
        ("10.244.2.0/24", "10.244.2.1/24", "host bits"),
        ("name: web", "name: a", "the name is taken"),
        ("name: web", "name: Web", "use 1 to 32 of a-z"),
        ("[http,", "[ftp,", "`ftp` is not a server"),
        ("udp-echo:53", "udp-echo:x", "`x` is not a port"),
        ("podCIDRs: [10.244.1.0/24]", "podCIDRs: []", "node a: podCIDRs"),
        (
            "nodes:",
            "underlay: {kind: cable}\nclients: [{name: c, addresses: [192.0.2.9/24]}]\nnodes:",
            "no place for clients",
        ),
        (
            "podCIDRs: [10.244.2.0/24]}",
            "podCIDRs: [10.244.2.0/24], workers: 3}\nunderlay: {kind: cable}",
            "both ends of a cable",
        ),
        (
            "podCIDRs: [10.244.2.0/24]}",
            "podCIDRs: [10.244.2.0/24]}\n  - {name: c, addresses: [192.0.2.13/24], podCIDRs: [10.244.3.0/24]}\nunderlay: {kind: cable}",
            "there are 3 nodes",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = Topology::parse(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(format!("{error:#}").contains(wanted), "{to}: {error:#}");
    }
}
