//! Renewal by what entries rest on together, against its slow twin: each entry by itself, each dependency one by one.

use super::bench::Bench;
use super::twin::{Step, change, step};
use super::world::{A, B, NODE_PORT, REMOTE, SERVICE, prefix};
use crate::action::Action;
use crate::cache::{Basis, Entry, FlowCache};
use crate::counters::Events;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use sluice_lb::ServiceSlot;
use sluice_snapshot::{Deps, Snapshot, dep};
use sluice_wire::{DepId, DropReason, FlowKey, FlowWords, Generation, Proto, Scope, Tuple};
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Event {
    Decided(u16, Vec<DepId>),
    Asked(u16),
    Forgotten(u16),
    Changed(Step),
}

/// What changes of [`step`] are about.
fn things() -> Vec<DepId> {
    vec![
        dep::address(A.addr(true)),
        dep::address(B.addr(true)),
        dep::address(REMOTE.addr(true)),
        dep::address(SERVICE.addr(true)),
        dep::endpoint(B.addr(true)),
        dep::endpoint(REMOTE.addr(true)),
        dep::policy(A.slot),
        dep::policy(B.slot),
        dep::service(ServiceSlot(0)),
        dep::service(ServiceSlot(1)),
        dep::node_port(NODE_PORT),
        dep::route(&prefix("10.244.2.0/24")),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let flow = || 0u16..40;
    prop_oneof![
        3 => (flow(), subsequence(things(), 0..=3)).prop_map(|(flow, ids)| Event::Decided(flow, ids)),
        6 => flow().prop_map(Event::Asked),
        1 => flow().prop_map(Event::Forgotten),
        3 => step().prop_filter("changes", |step| !matches!(step, Step::Send { .. } | Step::Time(_))).prop_map(Event::Changed),
    ]
}

fn deps(ids: &[DepId]) -> Deps {
    let mut deps = Deps::default();
    ids.iter().for_each(|id| deps.add(*id));
    deps
}

fn key(flow: u16) -> FlowKey {
    FlowKey {
        tuple: Tuple {
            src: A.addr(true),
            dst: B.addr(true),
            sport: flow,
            dport: 1,
            proto: Proto::UDP,
        },
        scope: Scope::port(1),
    }
}

/// All fall into three sets, which are too few for them.
fn hash(flow: u16) -> u64 {
    u64::from(flow) << 50 | u64::from(flow % 3)
}

fn holds(snapshot: &Snapshot, ids: &[DepId], since: Generation) -> bool {
    let whole = snapshot.stamps.latest(&Deps::default());
    ids.iter()
        .map(|id| snapshot.stamps.latest(&deps(&[*id])))
        .chain([whole])
        .all(|changed_in| changed_in <= since)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_entry_is_renewed_exactly_while_nothing_of_it_changed(events in vec(event(), 1..120)) {
        let mut bench = Bench::new();
        let mut cache = FlowCache::new(112);
        let mut twin: HashMap<u16, (Vec<DepId>, Generation)> = HashMap::new();
        let counted = Events::default();
        for event in &events {
            let snapshot = bench.snapshot.clone();
            let place = |cache: &FlowCache, flow| cache.find(&FlowWords::from(&key(flow)), hash(flow));
            match event {
                Event::Decided(flow, ids) => {
                    let (action, basis) = (Action::drop(DropReason::PolicyEgress), Basis::Denial { era: 0 });
                    let connections = &bench.shared.connections;
                    let entry = Entry::new(key(*flow), snapshot.generation, &action, basis, connections);
                    cache.insert(hash(*flow), entry, deps(ids));
                    twin.insert(*flow, (ids.clone(), snapshot.generation));
                    prop_assert!(place(&cache, *flow).is_some());
                }
                Event::Asked(flow) => {
                    let Some(place) = place(&cache, *flow) else { continue };
                    let (ids, since) = twin.get_mut(flow).expect("it was decided once");
                    let want = holds(&snapshot, ids, *since);
                    prop_assert_eq!(cache.renewed(place, &snapshot, &counted).is_some(), want);
                    if want {
                        *since = snapshot.generation;
                    }
                }
                Event::Forgotten(flow) => {
                    place(&cache, *flow).map(|place| cache.remove(place));
                }
                Event::Changed(step) => _ = bench.change(|w| change(w, step)),
            }
            let there = twin.iter().filter(|(flow, _)| place(&cache, **flow).is_some());
            let combinations: HashSet<_> = there.map(|(_, (ids, _))| ids).collect();
            prop_assert_eq!(cache.grounds(), combinations.len());
        }
    }
}
