//! The same state gives the same parts, whatever came before it, and what did not change is shared.

use crate::render;
use crate::world::World;
use proptest::prelude::*;
use sluice_control::compile::{Compiled, Report, Severity};
use sluice_snapshot::{EndpointIndex, Snapshot};
use sluice_wire::{Addr, Proto};
use std::collections::BTreeMap;
use std::sync::Arc;

const NODES: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.1.0/24, 'fd00:244:1::/64']}
status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}
";

/// Many small manifests that touch each other.
fn manifests() -> Vec<(String, String)> {
    let mut all = vec![("node-a.yaml".to_owned(), NODES.to_owned())];
    for (name, net, ip) in [("node-b", 2, 12), ("node-c", 3, 13), ("node-d", 2, 14)] {
        let text = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, spec: {{podCIDR: 10.244.{net}.0/24}}, \
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.{ip}}}]}}}}"
        );
        all.push((format!("{name}.yaml"), text));
    }
    for i in 0..4 {
        let text = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s{i}}}, spec: {{type: NodePort, clusterIP: 10.96.0.{}, \
             ports: [{{port: 80, nodePort: {}}}]}}}}\n---\n\
             {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{i}-x, labels: {{kubernetes.io/service-name: s{i}}}}}, \
             addressType: IPv4, ports: [{{port: 8080}}], endpoints: [{{addresses: [10.244.1.{}]}}, {{addresses: [10.244.2.{i}]}}]}}",
            10 + i / 2,
            30_000 + i,
            5 + i,
        );
        all.push((format!("s{i}.yaml"), text));
    }
    for i in 0..4 {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p{i}, labels: {{app: a{}}}}}, status: {{podIPs: [{{ip: 10.244.1.{}}}]}}}}",
            i % 2,
            5 + i / 2 * 2,
        );
        all.push((format!("p{i}.yaml"), text));
    }
    let policy = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: one}, spec: {podSelector: {matchLabels: {app: a0}}, \
                  ingress: [{from: [{podSelector: {matchLabels: {app: a1}}}]}]}}";
    all.push(("policy.yaml".to_owned(), policy.to_owned()));
    for (name, tier, action) in [("guard", "Admin", "Pass"), ("base", "Baseline", "Deny")] {
        let text = format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: {name}}}, \
             spec: {{tier: {tier}, priority: 1, subject: {{namespaces: {{}}}}, \
             ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]}}}}"
        );
        all.push((format!("{name}.yaml"), text));
    }
    all
}

fn world() -> World {
    let mut world = World::new();
    world.attach("default/p0", &["10.244.1.5"]);
    world.attach("default/p1", &["10.244.1.6"]);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_events_does_not_matter(
        order in Just((0..manifests().len()).collect::<Vec<_>>()).prop_shuffle(),
        flaps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3), 0..20),
    ) {
        let manifests = manifests();
        let mut plain = world();
        manifests.iter().for_each(|(file, text)| plain.write(file, text));
        let want = render::everything(&plain.compile().unwrap());

        let mut other = world();
        let mut flaps = flaps.into_iter();
        for at in order {
            let (file, text) = &manifests[at];
            other.write(file, text);
            if let Some((at, how)) = flaps.next() {
                let (file, text) = &manifests[at.index(manifests.len())];
                match how {
                    0 => other.remove(file),
                    1 => other.write(file, &text.replace("10.244.1.", "10.244.1.1")),
                    _ => drop(other.compile()),
                }
            }
            let _ = other.compile();
        }
        // What was deleted or changed in between is put back.
        manifests.iter().for_each(|(file, text)| other.write(file, text));
        let compiled = other.compile().unwrap();
        prop_assert_eq!(render::everything(&compiled), want);
        prop_assert_eq!(listed(&compiled), listed(&plain.compile().unwrap()));
    }
}

/// Every endpoint, with what it stands behind.
fn listed(compiled: &Compiled) -> BTreeMap<(Addr, u16), Vec<(Addr, u16)>> {
    let index = compiled.parts.services.endpoints();
    let empty = EndpointIndex::default();
    let names = |endpoint| index.frontends(endpoint).map(|f| (f.addr, f.port));
    let row = |endpoint| {
        let mut names: Vec<_> = names(endpoint).collect();
        names.sort_unstable();
        (endpoint, names)
    };
    index.joined_or_left(&empty).map(row).collect()
}

#[test]
fn an_endpoint_is_listed_with_its_services_as_long_as_a_slice_names_it() {
    let mut world = world();
    let manifests = manifests();
    manifests.iter().for_each(|(file, text)| world.write(file, text));
    let addr = |text: &str| crate::world::addr(text);
    let first = world.compile().unwrap();
    let all = listed(&first);
    assert_eq!(all.len(), 8);
    assert_eq!(all[&(addr("10.244.1.6"), 8080)], [(addr("10.96.0.10"), 80)]);

    // Not ready: no new connections, which changes no service that has another endpoint; but old ones go on.
    let (file, text) = manifests.iter().find(|(file, _)| file == "s1.yaml").unwrap();
    let drains = text.replace(
        "[10.244.1.6]}",
        "[10.244.1.6], conditions: {ready: false, serving: true, terminating: true}}",
    );
    assert_ne!(&drains, text);
    world.write(file, &drains);
    let second = world.compile().unwrap();
    assert_eq!(listed(&second), all);

    world.write(file, &drains.replace("10.244.1.6", "10.244.1.77"));
    let third = world.compile().unwrap();
    let now = listed(&third);
    assert!(!now.contains_key(&(addr("10.244.1.6"), 8080)));
    assert_eq!(now[&(addr("10.244.1.77"), 8080)], [(addr("10.96.0.10"), 80)]);
    // Nothing but who is listed differs, and that is worth a generation.
    assert!(Snapshot::first(second.parts).successor(third.parts).is_some());
}

#[test]
fn nothing_changed_publishes_nothing() {
    let mut world = world();
    manifests().iter().for_each(|(file, text)| world.write(file, text));
    let first = Snapshot::first(world.compile().unwrap().parts);
    let again = world.compile().unwrap().parts;
    for (before, after) in [
        (
            Arc::as_ptr(&first.parts.node).cast::<()>(),
            Arc::as_ptr(&again.node).cast(),
        ),
        (Arc::as_ptr(&first.parts.ports).cast(), Arc::as_ptr(&again.ports).cast()),
        (
            Arc::as_ptr(&first.parts.forwarding).cast(),
            Arc::as_ptr(&again.forwarding).cast(),
        ),
        (
            Arc::as_ptr(&first.parts.services).cast(),
            Arc::as_ptr(&again.services).cast(),
        ),
        (
            Arc::as_ptr(&first.parts.policies).cast(),
            Arc::as_ptr(&again.policies).cast(),
        ),
    ] {
        assert_eq!(before, after);
    }
    assert!(first.successor(again).is_none());
    // The same files again, as after a touch, are no change either.
    manifests().iter().for_each(|(file, text)| world.write(file, text));
    assert!(first.successor(world.compile().unwrap().parts).is_none());
}

#[test]
fn one_changed_service_leaves_the_others_as_they_are() {
    let mut world = world();
    let manifests = manifests();
    manifests.iter().for_each(|(file, text)| world.write(file, text));
    let before = world.compile().unwrap().parts;
    let (file, text) = manifests.iter().find(|(file, _)| file == "s1.yaml").unwrap();
    world.write(file, &text.replace("10.244.2.1", "10.244.2.99"));
    let after = world.compile().unwrap().parts;
    let mut same = 0;
    for (slot, service) in before.services.iter() {
        let now = after.services.get(slot).expect("slots are stable");
        assert_eq!(now.name(), service.name());
        assert_eq!(
            Arc::ptr_eq(now, service),
            service.name().name != "s1",
            "{}",
            service.name()
        );
        same += usize::from(Arc::ptr_eq(now, service));
    }
    assert_eq!(same, 3);
    let slot_of = |parts: &sluice_snapshot::Parts| {
        let service = parts
            .services
            .iter()
            .find(|(_, s)| s.name().name == "s1")
            .unwrap()
            .1
            .clone();
        service
            .endpoints()
            .iter()
            .find(|e| e.addr == crate::world::addr("10.244.1.6"))
            .unwrap()
            .slot
    };
    assert_eq!(
        slot_of(&before),
        slot_of(&after),
        "an endpoint keeps its slot while its service changes"
    );
    assert!(Arc::ptr_eq(&before.forwarding, &after.forwarding) && Arc::ptr_eq(&before.policies, &after.policies));
}

#[test]
fn a_changed_cluster_policy_changes_policies_of_local_pods_and_nothing_else() {
    let mut world = world();
    let manifests = manifests();
    manifests.iter().for_each(|(file, text)| world.write(file, text));
    let before = world.compile().unwrap().parts;
    let (file, text) = manifests.iter().find(|(file, _)| file == "guard.yaml").unwrap();
    world.write(file, &text.replace("Pass", "Accept"));
    let after = world.compile().unwrap().parts;
    assert_ne!(after.policies.pods, before.policies.pods);
    assert!(
        Arc::ptr_eq(&after.policies.identities, &before.policies.identities),
        "nobody was looked at anew"
    );
    assert!(Arc::ptr_eq(&before.forwarding, &after.forwarding) && Arc::ptr_eq(&before.services, &after.services));
    world.write(file, text);
    let again = world.compile().unwrap().parts;
    assert_eq!(again.policies.pods, before.policies.pods);
    // One that is about pods of others alone changes nothing here.
    world.write(
        "others.yaml",
        &text.replace("guard", "others").replace(
            "namespaces: {}}, ingress",
            "namespaces: {matchLabels: {a: b}}}, ingress",
        ),
    );
    let others = world.compile().unwrap().parts;
    assert!(Arc::ptr_eq(&others.policies, &again.policies));
}

#[test]
fn a_neighbour_that_comes_and_goes_leaves_indices_and_scopes_alone() {
    let mut world = world();
    manifests().iter().for_each(|(file, text)| world.write(file, text));
    let route = |parts: &sluice_snapshot::Parts| parts.forwarding.lookup(crate::world::addr("10.244.2.7")).unwrap().1;
    let before = world.compile().unwrap().parts;
    world.neighbour("192.0.2.12", None);
    let without = world.compile().unwrap();
    assert_ne!(route(&without.parts), route(&before));
    assert!(
        without
            .wanted_neighbours
            .contains(&(2, crate::world::addr("192.0.2.12")))
    );
    world.neighbour("192.0.2.12", Some("02:00:00:00:99:99".parse().unwrap()));
    let after = world.compile().unwrap().parts;
    assert_eq!(route(&after), route(&before));
    let scopes =
        |parts: &sluice_snapshot::Parts| parts.forwarding.peers().map(|(s, p)| (s, p.scope)).collect::<Vec<_>>();
    assert_eq!(scopes(&after), scopes(&before));
    // A node that was deleted and came back is another one: flows of the old one are not its.
    let (file, text) = &manifests()[1];
    world.remove(file);
    world.compile().unwrap();
    world.write(file, text);
    assert_ne!(scopes(&world.compile().unwrap().parts), scopes(&before));
}

#[test]
fn pods_ranges_are_taken_from_the_wire_but_never_the_nodes_own_network() {
    let mut world = World::new();
    world.write("a.yaml", NODES);
    world.write(
        "c.yaml",
        "{apiVersion: v1, kind: Node, metadata: {name: node-c}, spec: {podCIDR: 10.244.3.0/24}, \
         status: {addresses: [{type: InternalIP, address: 203.0.113.9}]}}",
    );
    let node = |range: &str| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: node-b}}, spec: {{podCIDR: {range}}}, \
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.12}}]}}}}"
        )
    };
    let mut taken = |range: &str| {
        world.write("b.yaml", &node(range));
        let Compiled {
            parts,
            steering,
            reports,
            ..
        } = world.compile().unwrap();
        let steered: Vec<_> = steering.pod_ranges.iter().map(ToString::to_string).collect();
        let mut known = parts.node.cluster_prefixes.to_vec();
        known.sort();
        assert_eq!(
            known, steering.pod_ranges,
            "one list for the wire, the host and forwarding"
        );
        let tunnelled = parts
            .forwarding
            .routes()
            .any(|(prefix, _)| prefix.to_string() == range && steered.len() == 4);
        let told = reports
            .iter()
            .any(|r| r.object == "node node-b" && r.text.contains(&format!("its pod range {range} ")));
        assert!(tunnelled != told, "used or reported: {reports:?}");
        steered
    };
    let own = ["10.244.1.0/24", "10.244.3.0/24", "fd00:244:1::/64"];
    assert_eq!(taken("10.244.2.0/24"), [own[0], "10.244.2.0/24", own[1], own[2]]);
    let never = [
        ("192.0.2.0/24", "the node's network"),
        ("192.0.2.64/26", "a part of it"),
        ("192.0.0.0/8", "more than it"),
        ("192.0.2.11/32", "the node's address"),
        ("198.51.100.0/25", "another network that it is on"),
        ("203.0.113.0/24", "another node's address"),
        ("10.244.1.128/25", "this node's pods"),
    ];
    for (range, what) in never {
        assert_eq!(taken(range), own, "{range}: {what}");
    }
    world.write("a.yaml", &NODES.replace("10.244.1.0/24", "192.0.2.64/26"));
    let reports = world.compile().unwrap().reports;
    assert!(
        reports
            .iter()
            .any(|r| r.object == "node node-a" && r.text.contains("192.0.2.0/24")),
        "{reports:?}"
    );
    world.write(
        "a.yaml",
        "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {podCIDR: 192.0.2.64/26}}",
    );
    let reports = world.compile().unwrap_err();
    assert!(
        reports
            .iter()
            .any(|r| r.text.contains("none of its pod ranges can be used")),
        "{reports:?}"
    );
}

#[test]
fn a_service_at_an_address_of_the_node_takes_nothing_from_the_wire() {
    let mut world = World::new();
    world.write("a.yaml", NODES);
    let service = |ip: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: ssh}}, \
             spec: {{clusterIP: {ip}, ports: [{{port: 22}}]}}}}"
        )
    };
    world.write("b.yaml", &service("10.96.0.22"));
    assert_eq!(world.compile().unwrap().steering.frontends.len(), 1);
    world.write("b.yaml", &service("192.0.2.11"));
    let compiled = world.compile().unwrap();
    assert!(compiled.steering.frontends.is_empty());
    let warned = |r: &Report| r.object == "service address 192.0.2.11:22" && r.severity == Severity::Warning;
    assert!(compiled.reports.iter().any(warned), "{:?}", compiled.reports);
}

#[test]
fn a_node_port_that_changes_is_the_services_at_once() {
    let mut world = world();
    manifests().iter().for_each(|(file, text)| world.write(file, text));
    let ports = |compiled: &Compiled| {
        let served = |port| compiled.parts.services.node_port(Proto::TCP, port, true).is_some();
        let taken = |port| compiled.steering.node_ports.contains(&(Proto::TCP, port, true));
        [30_001, 30_777].map(|port| (served(port), taken(port)))
    };
    assert_eq!(ports(&world.compile().unwrap()), [(true, true), (false, false)]);
    let all = manifests();
    let (file, text) = all.iter().find(|(file, _)| file == "s1.yaml").unwrap();
    world.write(file, &text.replace("nodePort: 30001", "nodePort: 30777"));
    assert_eq!(ports(&world.compile().unwrap()), [(false, false), (true, true)]);
}

#[test]
fn who_has_an_address_of_two_pods_changes_with_the_ranges_of_their_nodes() {
    let node = |name: &str, range: &str, last: u8| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, spec: {{podCIDR: {range}}}, \
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.{last}}}]}}}}"
        )
    };
    let pod = |name: &str, node: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{nodeName: {node}}}, \
             status: {{podIPs: [{{ip: 10.244.5.5}}]}}}}"
        )
    };
    let owner = |compiled: &Compiled| {
        let said = compiled
            .reports
            .iter()
            .find(|report| report.text.contains("10.244.5.5"))
            .unwrap();
        said.object.clone()
    };
    let mut world = world();
    world.write("node-a.yaml", NODES);
    for (file, text) in [
        ("b.yaml", node("node-b", "10.244.5.0/24", 12)),
        ("c.yaml", node("node-c", "10.244.6.0/24", 13)),
        ("one.yaml", pod("one", "node-b")),
        ("two.yaml", pod("two", "node-c")),
    ] {
        world.write(file, &text);
    }
    assert_eq!(owner(&world.compile().unwrap()), "pod default/one");
    world.write("b.yaml", &node("node-b", "10.244.6.0/24", 12));
    world.write("c.yaml", &node("node-c", "10.244.5.0/24", 13));
    assert_eq!(owner(&world.compile().unwrap()), "pod default/two");
}
