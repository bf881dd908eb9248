//! The compiled policy against the reference, and what must not change it.

mod models;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use models::{addr, model, pod, port, proto};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_policy::reference::verdict_linear;
use sluice_policy::{Compiler, Direction, FlowView, Identities, Model, Pod, Verdict, compile};
use sluice_wire::{Addr, Proto};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

fn identities(model: &Model) -> Identities {
    Identities::default().next(model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn compiled_agrees_with_reference_on_verdict_and_rule(
        model in model(),
        flows in vec((addr(), proto(), port()), 48),
    ) {
        let mut flows = flows;
        flows.extend(model.pods.iter().flat_map(|pod| to_named_ports(pod)));
        let identities = identities(&model);
        let mut compiler = Compiler::default();
        let mut pass = compiler.pass(&model, &identities);
        for local in &model.pods {
            let policy = pass.compile(local);
            for &(peer_addr, proto, dport) in &flows {
                let flow = FlowView { peer: identities.lookup(peer_addr), peer_addr, proto, dport };
                for direction in DIRECTIONS {
                    let expected = verdict_linear(&model, direction, local, peer_addr, proto, dport);
                    let verdict = policy.verdict(direction, &flow);
                    prop_assert_eq!(verdict, expected, "{:?} {:?} {:?}", direction, local, flow);
                    match verdict {
                        Verdict::Allowed(rule) => prop_assert!(policy.rule(direction, rule).is_some()),
                        Verdict::NotIsolated => prop_assert!(policy.policies(direction).is_none()),
                        Verdict::Denied => prop_assert!(policy.policies(direction).is_some()),
                        Verdict::DeniedBy(_) => prop_assert!(false, "there is no cluster policy"),
                    }
                }
            }
        }
    }

    #[test]
    fn another_pod_of_a_known_identity_changes_no_policy(model in model(), which in any::<prop::sample::Index>(), at in addr()) {
        let before = identities(&model);
        let twin: Pod = Pod { name: "pod-more".into(), addrs: vec![at], ..(**which.get(&model.pods)).clone() };
        let mut grown = model.clone();
        grown.pods.push(Arc::new(twin));
        let after = before.next(&grown);
        for local in &model.pods {
            prop_assert_eq!(compile(&model, &before, local), compile(&grown, &after, local));
        }
        // And neither does its end.
        let ended = after.next(&model);
        prop_assert_eq!(&before, &ended);
    }

    #[test]
    fn a_pod_that_ends_and_returns_changes_no_policy(model in model(), which in any::<prop::sample::Index>()) {
        let all = identities(&model);
        let mut without = model.clone();
        without.pods.remove(which.index(model.pods.len()));
        let fewer = all.next(&without);
        let back = fewer.next(&model);
        prop_assert_eq!(&all, &back);
        for local in &without.pods {
            prop_assert_eq!(compile(&model, &all, local), compile(&without, &fewer, local));
        }
    }

    #[test]
    fn the_order_of_the_model_means_nothing(model in model()) {
        let identities = identities(&model);
        let mut reversed = model.clone();
        reversed.policies.reverse();
        reversed.pods.reverse();
        reversed.namespaces.reverse();
        prop_assert_eq!(&identities, &Identities::default().next(&reversed));
        for local in &model.pods {
            prop_assert_eq!(compile(&model, &identities, local), compile(&reversed, &identities, local));
        }
    }

    #[test]
    fn a_compiler_that_saw_other_models_compiles_as_a_fresh_one(models in vec(model(), 2..5), fork in any::<bool>()) {
        let mut compiler = Compiler::default();
        let mut table = Identities::default();
        for model in &models {
            // Tables need not grow from one another.
            let next = if fork { Identities::default().next(model) } else { table.next(model) };
            table = next;
            let mut pass = compiler.pass(model, &table);
            for local in &model.pods {
                prop_assert_eq!(pass.compile(local), compile(model, &table, local));
            }
        }
    }

    /// Pods change a few at a time; the slow way looks at all of them.
    #[test]
    fn changing_some_pods_is_looking_at_all(first in model(), steps in vec(vec(((0usize..6, any::<bool>()), pod()), 1..4), 1..8)) {
        let mut model = first;
        let mut pods: BTreeMap<(String, String), Arc<Pod>> = BTreeMap::new();
        for pod in &model.pods {
            pods.insert((pod.namespace.clone(), pod.name.clone()), Arc::clone(pod));
        }
        let known: BTreeSet<String> = pods.keys().map(|(namespace, _)| namespace.clone()).collect();
        model.pods = pods.values().cloned().collect();
        let mut fast = identities(&model);
        for step in steps {
            let slow = fast.clone();
            let mut changes = BTreeMap::new();
            for ((at, gone), mut pod) in step {
                pod.name = format!("pod-{at}");
                let key = (pod.namespace.clone(), pod.name.clone());
                let other = pods.keys().nth(at).cloned();
                match other.filter(|_| gone) {
                    Some(other) => {
                        pods.remove(&other);
                        changes.insert(other, None);
                    }
                    None if known.contains(&key.0) => {
                        let pod = Arc::new(pod);
                        pods.insert(key.clone(), Arc::clone(&pod));
                        changes.insert(key, Some(pod));
                    }
                    None => {}
                }
            }
            model.pods = pods.values().cloned().collect();
            let slow = slow.next(&model);
            let before = fast.addresses().clone();
            let listed: Vec<_> = changes.iter().map(|((a, b), pod)| ((a.as_str(), b.as_str()), pod.clone())).collect();
            let mut moved = fast.change(&listed);
            prop_assert_eq!(&fast, &slow);
            let both = before.keys().chain(fast.addresses().keys());
            let mut differ: Vec<_> = both.filter(|addr| before.get(addr) != fast.addresses().get(addr)).copied().collect();
            differ.sort();
            differ.dedup();
            moved.sort();
            prop_assert_eq!(moved, differ);
        }
    }

    #[test]
    fn identities_are_equal_exactly_where_policies_cannot_tell_pods_apart(first in model(), second in model()) {
        let one = identities(&first);
        let two = one.next(&second);
        let mut seen = HashMap::new();
        for (model, table) in [(&first, &one), (&second, &two)] {
            for local in &model.pods {
                let namespace = model.namespaces.iter().find(|n| n.name == local.namespace);
                let mut ports = local.named_ports.clone();
                ports.retain(|p| local.named_port(&p.name, p.proto) == Some(p.port));
                ports.sort();
                ports.dedup();
                let looks = (local.namespace.clone(), namespace.cloned(), local.labels.clone(), ports);
                for &at in &local.addrs {
                    let owner = owner(model, at);
                    prop_assert_eq!(table.lookup(at).is_some(), owner.is_some());
                    if owner == Some(local) {
                        let identity = table.lookup(at).unwrap();
                        prop_assert_eq!(*seen.entry(looks.clone()).or_insert(identity), identity);
                    }
                }
            }
        }
        let mut numbers: Vec<_> = seen.values().collect();
        numbers.sort();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), seen.len());
    }

    #[test]
    fn a_pod_outside_the_model_can_be_compiled(model in model(), local in pod(), peer_addr in addr()) {
        let identities = identities(&model);
        let policy = compile(&model, &identities, &local);
        for direction in DIRECTIONS {
            let flow = FlowView { peer: identities.lookup(peer_addr), peer_addr, proto: Proto::TCP, dport: 80 };
            let expected = verdict_linear(&model, direction, &local, peer_addr, flow.proto, flow.dport);
            prop_assert_eq!(policy.verdict(direction, &flow), expected);
        }
    }
}

/// Random flows seldom meet a pod at a port that it names.
fn to_named_ports(pod: &Pod) -> impl Iterator<Item = (Addr, Proto, u16)> {
    let ports = pod.named_ports.iter();
    ports.flat_map(|named| pod.addrs.iter().map(|&addr| (addr, named.proto, named.port)))
}

fn owner(model: &Model, at: Addr) -> Option<&Arc<Pod>> {
    let claims = model
        .pods
        .iter()
        .filter(|pod| !pod.host_network && pod.addrs.contains(&at));
    claims.min_by_key(|pod| (&pod.namespace, &pod.name))
}
