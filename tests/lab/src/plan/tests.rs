use super::*;

fn two(kind: &str) -> Topology {
    Topology::parse(&format!(
        "underlay: {{kind: {kind}}}
nodes:
  - {{name: a, kind: linux, addresses: [192.0.2.11/24, '2001:db8:2::11/64'], podCIDRs: [10.244.1.0/24, 'fd00:244:1::/64']}}
  - {{name: b, addresses: [192.0.2.12/24], podCIDRs: [10.244.2.0/24], workers: 4}}
pods:
  - {{name: p, node: a, addresses: [10.244.1.5]}}
  - {{name: q, node: b, addresses: [10.244.2.5]}}
clients:
  - {{name: c, addresses: [192.0.2.100/24]}}"
    ))
    .unwrap()
}

fn text(t: &Topology) -> String {
    let steps = steps(t, &|place| format!("ns-{place}"));
    steps
        .iter()
        .flat_map(|s| s.lines.iter().map(move |l| format!("{}: {l}\n", s.place)))
        .collect()
}

#[test]
fn a_linux_node_reaches_each_peer_the_way_flannel_does() {
    let text = text(&two("bridge"));
    for line in [
        "a: link add flannel.1 address 02:5c:00:00:00:01 mtu 1450 type vxlan id 1 dev eth0 local 192.0.2.11 dstport 8472 nolearning",
        "a: address add 10.244.1.0/32 dev flannel.1",
        "a: neigh replace 10.244.2.0 lladdr 02:5c:00:00:00:02 dev flannel.1 nud permanent",
        "a: route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
        "a: fdb append 02:5c:00:00:00:02 dev flannel.1 dst 192.0.2.12 self permanent",
        "a: address add 10.244.1.1/24 dev cni0",
        "p: link add eth0 mtu 1450 type veth peer name veth0 mtu 1450 netns ns-a",
        "p: route add default via 10.244.1.1 dev eth0",
        "a: link set veth0 master cni0 up",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\nis missing in\n{text}");
    }
    assert!(
        !text.contains("b: link add flannel"),
        "the agent's node is left to the agent"
    );
    assert!(!text.contains("q: link add"), "the agent makes its pods' interfaces");
}

#[test]
fn uplinks_have_a_queue_for_each_worker_on_both_ends() {
    let text = text(&two("bridge"));
    let count = "numtxqueues 4 numrxqueues 4";
    assert!(text.contains(&format!(
        "b: link add eth0 mtu 1500 {count} type veth peer name n1 netns ns-net {count}\n"
    )));
}

#[test]
fn one_segment_has_one_bridge_and_no_gateway() {
    let text = text(&two("bridge"));
    assert_eq!(text.matches("net: link add br").count(), 1);
    assert!(!text.contains("net: address"), "{text}");
    assert!(!text.contains("c: route add default"), "{text}");
}

#[test]
fn a_router_has_a_bridge_and_an_address_in_each_subnet() {
    let mut t = two("router");
    t.nodes[1].addresses = vec!["198.51.100.12/24".parse().unwrap()];
    let text = text(&t);
    assert_eq!(text.matches("net: link add br").count(), 2);
    assert!(
        text.contains("net: address replace 198.51.100.1/24 dev br1\n"),
        "{text}"
    );
    assert!(
        text.contains("net: address replace 2001:db8:2::1/64 dev br0 nodad\n"),
        "{text}"
    );
    assert!(
        text.contains("b: route add default via 198.51.100.1 dev eth0\n"),
        "{text}"
    );
}

#[test]
fn a_cable_joins_two_nodes_and_nobody_gives_a_bare_node_anything() {
    let mut t = two("bridge");
    t.underlay.kind = UnderlayKind::Cable;
    t.clients.clear();
    t.nodes[0].workers = 4;
    t.nodes[0].kind = NodeKind::Bare;
    let text = text(&t);
    let count = "numtxqueues 4 numrxqueues 4";
    for line in [
        format!("a: link add eth0 mtu 1500 {count} type veth peer name eth0 netns ns-b {count}"),
        "b: address add 192.0.2.12/24 dev eth0".into(),
        "b: link set eth0 mtu 1500 up".into(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\nis missing in\n{text}");
    }
    for stranger in ["b: link add", "bridge", "flannel", "p: link add"] {
        assert!(!text.contains(stranger), "{stranger}\nis in\n{text}");
    }
}
