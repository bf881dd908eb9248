use super::twin::Twin;
use super::*;
use crate::compile::AttachedPod;
use crate::model::{Change, Key, Kind, NodeRecord, Object};
use proptest::prelude::*;
use sluice_snapshot::Caps;
use sluice_wire::MacAddr;

/// What happens to a cluster of few names and few addresses, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Pod {
        name: u8,
        node: u8,
        addrs: Vec<u8>,
        created: u8,
        host: bool,
    },
    Gone {
        name: u8,
    },
    Range {
        node: u8,
        at: u8,
    },
    Attach {
        slot: u16,
        name: u8,
        addrs: Vec<u8>,
    },
    Detach {
        slot: u16,
    },
    Nothing,
}

fn addr(last: u8) -> Addr {
    Addr::v4([10, 0, last / 4, last])
}

fn step() -> impl Strategy<Value = Step> {
    let addrs = || prop::collection::vec(0u8..12, 0..3);
    prop_oneof![
        4 => (0u8..6, 0u8..3, addrs(), 0u8..3, prop::bool::weighted(0.15))
            .prop_map(|(name, node, addrs, created, host)| Step::Pod { name, node, addrs, created, host }),
        2 => (0u8..6).prop_map(|name| Step::Gone { name }),
        1 => (0u8..3, 0u8..3).prop_map(|(node, at)| Step::Range { node, at }),
        2 => (0u16..4, 0u8..7, addrs()).prop_map(|(slot, name, addrs)| Step::Attach { slot, name, addrs }),
        1 => (0u16..4).prop_map(|slot| Step::Detach { slot }),
        1 => Just(Step::Nothing),
    ]
}

fn apply(step: Step, store: &mut Store, attached: &mut BTreeMap<u16, AttachedPod>, incarnation: u32) {
    let pod_name = |name: u8| format!("pod-{name}");
    match step {
        Step::Pod {
            name,
            node,
            addrs,
            created,
            host,
        } => {
            let identity = Pod {
                namespace: "default".into(),
                name: pod_name(name),
                addrs: addrs.into_iter().map(addr).collect(),
                host_network: host,
                ..Pod::default()
            };
            store.apply(Change::Upsert(Object::Pod(Arc::new(PodRecord {
                identity: Arc::new(identity),
                node: Some(format!("node-{node}")),
                created: Some(created.to_string()),
                uid: None,
            }))));
        }
        Step::Gone { name } => {
            store.apply(Change::Delete(Key {
                kind: Kind::Pod,
                namespace: "default".into(),
                name: pod_name(name),
            }));
        }
        Step::Range { node, at } => {
            store.apply(Change::Upsert(Object::Node(Arc::new(NodeRecord {
                name: format!("node-{node}"),
                prefixes: vec![format!("10.0.{at}.0/24").parse().unwrap()],
                ..NodeRecord::default()
            }))));
        }
        Step::Attach { slot, name, addrs } => {
            let pod = AttachedPod {
                slot: PortSlot(slot),
                scope: Scope::port(incarnation),
                mac: MacAddr([2, 0, 0, 0, 0, 1]),
                mtu: 1500,
                caps: Caps::default(),
                addrs: addrs.into_iter().map(addr).collect(),
                pod: format!("default/{}", pod_name(name)),
            };
            attached.insert(slot, pod);
        }
        Step::Detach { slot } => _ = attached.remove(&slot),
        Step::Nothing => {}
    }
}

fn sorted(mut reports: Vec<Report>) -> Vec<Report> {
    reports.sort();
    reports
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Some steps at a time; looked at are those pods that the way of small steps says may be something else, and all of them by the
    /// obvious way.
    #[test]
    fn looking_at_some_pods_is_looking_at_all(rounds in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..12)) {
        let (mut store, mut attached) = (Store::default(), BTreeMap::new());
        let (mut some, mut twin) = (Pods::default(), Twin::default());
        let mut seen: BTreeMap<Name, Arc<Pod>> = BTreeMap::new();
        let mut before = None;
        for (round, steps) in rounds.into_iter().enumerate() {
            for (n, step) in steps.into_iter().enumerate() {
                apply(step, &mut store, &mut attached, 1 + (round * 10 + n) as u32);
            }
            let here = attachments(&attached.values().cloned().collect::<Vec<_>>());
            let now = store.revisions();
            let (mut told, mut told_by_twin) = (Vec::new(), Vec::new());
            let (all, local_of_twin) = twin.survey(&store, &here, &mut told_by_twin);
            let local = match before.replace(now) {
                None => {
                    let (pods, local) = some.survey(&store, &here, &mut told);
                    seen = pods.into_iter().map(|pod| (view::name_of(&pod), pod)).collect();
                    local
                }
                Some(before) => {
                    let changed = store.pods_changed_since(before.pods).unwrap();
                    let ranges = before.prefixes != now.prefixes;
                    let (pods, local) = some.survey_changed(&store, &here, (changed, ranges), &mut told);
                    for (name, pod) in pods {
                        match pod {
                            Some(pod) => _ = seen.insert(name, pod),
                            None => _ = seen.remove(&name),
                        }
                    }
                    local
                }
            };
            let all: BTreeMap<Name, Arc<Pod>> = all.into_iter().map(|pod| (view::name_of(&pod), pod)).collect();
            prop_assert_eq!(&seen, &all);
            prop_assert_eq!(local, local_of_twin);
            prop_assert_eq!(sorted(told), sorted(told_by_twin));
        }
    }
}
