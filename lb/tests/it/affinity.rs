//! A client keeps its endpoint for as long as it should, and no longer.

use crate::common::*;
use proptest::prelude::*;
use sluice_lb::{Choice, ChosenBy, EndpointSlot, Runtime, SchedulerKind, Service, ServiceSlot, ServiceSpec};
use std::collections::HashMap;

const TIMEOUT_S: u32 = 100;

fn sticky(numbers: &[u32]) -> Service {
    let endpoints = numbers.iter().map(|&n| endpoint(n, 1)).collect();
    Service::new(ServiceSpec {
        affinity_s: Some(TIMEOUT_S),
        ..spec(SchedulerKind::Rr, endpoints)
    })
}

fn connect(service: &Service, runtime: &Runtime, who: u32, now_ns: u64) -> Choice {
    let ctx = context(client(who), now_ns, 0);
    let choice = service.pick(&ctx, runtime).expect("an endpoint");
    runtime.commit(service, &choice, ctx.tuple.src, now_ns);
    choice
}

#[test]
fn sticks_until_the_timeout_and_each_connection_renews_it() {
    let (service, runtime) = (sticky(&[0, 1, 2]), Runtime::new(1, 3));
    let first = connect(&service, &runtime, 1, 0);
    assert_eq!((first.by, first.index), (ChosenBy::Scheduler, 0));
    for start_s in [99, 198, 297] {
        let again = connect(&service, &runtime, 1, start_s * S);
        assert_eq!(
            (again.by, again.endpoint),
            (ChosenBy::Affinity, first.endpoint),
            "at {start_s} s"
        );
    }
    assert_eq!(
        runtime.cursor(ServiceSlot(0)),
        Some(1),
        "a remembered client is nobody's turn"
    );
    let later = connect(&service, &runtime, 1, 397 * S);
    assert_eq!((later.by, later.index), (ChosenBy::Scheduler, 1));
}

#[test]
fn moves_when_the_endpoint_leaves_and_stays_there_when_it_returns() {
    let (all, runtime) = (sticky(&[0, 1, 2]), Runtime::new(1, 3));
    assert_eq!(connect(&all, &runtime, 1, 0).endpoint, EndpointSlot(0));
    let moved = connect(&sticky(&[1, 2]), &runtime, 1, S);
    assert_eq!(moved.by, ChosenBy::Scheduler);
    let back = connect(&all, &runtime, 1, 2 * S);
    assert_eq!((back.by, back.endpoint), (ChosenBy::Affinity, moved.endpoint));
}

#[test]
fn two_first_connections_at_once_agree_on_the_first_committed() {
    let (service, runtime) = (sticky(&[0, 1, 2]), Runtime::new(1, 3));
    let ctx = context(client(1), 0, 0);
    let one = service.pick(&ctx, &runtime).unwrap();
    connect(&service, &runtime, 2, 0);
    let two = service.pick(&ctx, &runtime).unwrap();
    assert_ne!(one.endpoint, two.endpoint);
    runtime.commit(&service, &one, client(1), 0);
    runtime.commit(&service, &two, client(1), 0);
    assert_eq!(connect(&service, &runtime, 1, S).endpoint, one.endpoint);
}

#[test]
fn services_without_affinity_remember_nobody() {
    let (service, runtime) = (service(SchedulerKind::Rr, &[1, 1]), Runtime::new(1, 2));
    connect(&service, &runtime, 1, 0);
    assert_eq!(
        (connect(&service, &runtime, 1, 0).index, runtime.affinity_entries()),
        (1, 0)
    );
}

#[test]
fn a_slot_given_away_inherits_no_client() {
    let (service, runtime) = (sticky(&[0, 1]), Runtime::new(1, 2));
    let first = connect(&service, &runtime, 1, 0);
    runtime.release(first.endpoint);
    assert!(runtime.forget_endpoint(first.endpoint));
    assert_eq!(connect(&service, &runtime, 1, S).by, ChosenBy::Scheduler);
    assert_eq!(connect(&service, &runtime, 1, S).by, ChosenBy::Affinity);
    runtime.forget_service(ServiceSlot(0));
    let fresh = connect(&service, &runtime, 1, S);
    assert_eq!(
        (fresh.by, fresh.index),
        (ChosenBy::Scheduler, 0),
        "cursor and affinity begin anew"
    );
}

#[test]
fn ageing_drops_what_is_over_a_bounded_amount_a_call() {
    let (service, runtime) = (sticky(&[0, 1]), Runtime::new(1, 2));
    for who in 0..800 {
        connect(&service, &runtime, who, if who < 500 { 0 } else { 50 * S });
    }
    assert_eq!(runtime.age(99 * S, 10_000), 0);
    assert_eq!(runtime.affinity_entries(), 800);
    let mut dropped = 0;
    for _ in 0..200 {
        let now = runtime.age(100 * S, 10);
        assert!(now <= 10, "{now} in one call");
        dropped += now;
    }
    assert_eq!((dropped, runtime.affinity_entries()), (500, 300));
    for who in 500..800 {
        assert_eq!(
            connect(&service, &runtime, who, 100 * S).by,
            ChosenBy::Affinity,
            "client {who}"
        );
    }
    assert_eq!(runtime.age(u64::MAX, 0), 0);
}

#[test]
fn a_full_table_stays_bounded_and_gives_up_the_old() {
    let service = sticky(&[0, 1]);
    let runtime = Runtime::with_affinity_capacity(1, 2, 1024);
    for who in 0..20_000 {
        connect(&service, &runtime, who, u64::from(who));
    }
    let entries = runtime.affinity_entries();
    assert!((960..=1024).contains(&entries), "{entries} entries");
    let remembered = |who: &u32| {
        let picked = service.pick(&context(client(*who), 20_000, 0), &runtime).unwrap();
        picked.by == ChosenBy::Affinity
    };
    assert_eq!(
        (0..10_000).filter(remembered).count(),
        0,
        "clients of the first half are long gone"
    );
    assert!(
        (19_000..20_000).filter(remembered).count() > 500,
        "most of the latest are there"
    );
}

proptest! {
    /// Clients, endpoints that come and go, and time, against a map of who was where.
    #[test]
    fn agrees_with_a_plain_map(
        steps in prop::collection::vec((0..4u32, 0..120u64, 0..16u8, any::<bool>()), 1..80),
    ) {
        let runtime = Runtime::new(1, 4);
        let mut seen: HashMap<u32, (EndpointSlot, u64)> = HashMap::new();
        let mut now_s = 0;
        for (who, wait_s, present, age) in steps {
            now_s += wait_s;
            if age {
                runtime.age(now_s * S, 3);
            }
            let numbers: Vec<u32> = (0..4).filter(|n| present >> n & 1 != 0).collect();
            let service = sticky(&numbers);
            let known = seen.get(&who).filter(|(e, until_s)| now_s < *until_s && numbers.contains(&e.0));
            let Some(choice) = service.pick(&context(client(who), now_s * S, 0), &runtime) else {
                prop_assert!(numbers.is_empty());
                continue;
            };
            prop_assert_eq!(choice.by == ChosenBy::Affinity, known.is_some());
            prop_assert!(known.is_none_or(|(e, _)| *e == choice.endpoint));
            runtime.commit(&service, &choice, client(who), now_s * S);
            seen.insert(who, (choice.endpoint, now_s + u64::from(TIMEOUT_S)));
        }
    }
}
