//! Each scheduler keeps its promise.

use crate::common::*;
use proptest::prelude::*;
use sluice_lb::{EndpointSlot, Runtime, SchedulerKind, Service, ServiceSlot};

/// Indices of `count` connections made one after the other.
fn connect(service: &Service, runtime: &Runtime, count: usize) -> Vec<usize> {
    let connect = |n: usize| {
        let ctx = context(client(n as u32), 0, 0);
        let choice = service.pick(&ctx, runtime).expect("an endpoint");
        runtime.commit(service, &choice, ctx.tuple.src, 0);
        choice.index
    };
    (0..count).map(connect).collect()
}

fn tally(picks: &[usize], endpoints: usize) -> Vec<u64> {
    let mut counts = vec![0; endpoints];
    picks.iter().for_each(|&i| counts[i] += 1);
    counts
}

proptest! {
    #[test]
    fn rr_takes_exact_turns(weights in prop::collection::vec(1..9u16, 1..20), rounds in 1..5usize) {
        let (service, runtime) = (service(SchedulerKind::Rr, &weights), Runtime::new(1, 20));
        let count = weights.len();
        let expected: Vec<usize> = (0..rounds * count).map(|turn| turn % count).collect();
        prop_assert_eq!(connect(&service, &runtime, rounds * count), expected);
    }

    #[test]
    fn wrr_is_exact_in_every_cycle(weights in prop::collection::vec(1..30u16, 1..12), scale in 1..50u16, lead in 0..100usize) {
        let scaled: Vec<u16> = weights.iter().map(|w| w * scale).collect();
        let (service, runtime) = (service(SchedulerKind::Wrr, &scaled), Runtime::new(1, 12));
        connect(&service, &runtime, lead);
        let cycle = weights.iter().map(|&w| usize::from(w)).sum();
        let counts = tally(&connect(&service, &runtime, cycle), weights.len());
        let expected: Vec<u64> = weights.iter().map(|&w| u64::from(w)).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn lc_never_picks_a_busier_one(
        load in prop::collection::vec((1..40u16, 0..60u32), 1..12),
        turn in 0..20usize,
    ) {
        let weights: Vec<u16> = load.iter().map(|l| l.0).collect();
        let (service, runtime) = (service(SchedulerKind::Lc, &weights), Runtime::new(1, 12));
        let picks = connect(&service, &runtime, turn);
        picks.iter().for_each(|&i| runtime.release(EndpointSlot(i as u32)));
        for (n, (_, connections)) in (0..).zip(&load) {
            let mut choice = service.pick(&context(client(0), 0, 0), &runtime).unwrap();
            choice.endpoint = EndpointSlot(n);
            (0..*connections).for_each(|_| runtime.commit(&service, &choice, client(0), 0));
        }
        let picked = service.pick(&context(client(0), 0, 0), &runtime).unwrap().index;
        for (weight, connections) in &load {
            let (own, other) = (load[picked].1 * u32::from(*weight), connections * u32::from(load[picked].0));
            prop_assert!(own <= other, "picked {:?}, but there is {connections} connections at weight {weight}", load[picked]);
        }
    }

    #[test]
    fn sh_depends_on_the_client_address_only(weights in prop::collection::vec(1..9u16, 1..20), who: u32, ports: [u16; 2], entropy: u64) {
        let (service, runtime) = (service(SchedulerKind::Sh, &weights), Runtime::new(1, 20));
        let mut ctx = context(client(who), 0, entropy);
        ctx.tuple.sport = ports[0];
        let first = service.pick(&ctx, &runtime);
        ctx.tuple.sport = ports[1];
        ctx.entropy = !entropy;
        prop_assert_eq!(service.pick(&ctx, &runtime), first);
    }

    #[test]
    fn nothing_is_sent_to_weight_zero(weights in prop::collection::vec(0..3u16, 0..8), who: u32, entropy: u64, turn in 0..20usize) {
        let endpoints = endpoints(&weights);
        let runtime = Runtime::new(1, 8);
        connect(&service(SchedulerKind::Rr, &[1]), &runtime, turn);
        for kind in SchedulerKind::ALL {
            let picked = kind.build(&endpoints).pick(&context(client(who), 0, entropy), &endpoints, &runtime);
            prop_assert_eq!(picked.is_some(), weights.iter().any(|&w| w > 0), "{}", kind);
            prop_assert!(picked.is_none_or(|i| weights[i] > 0), "{}", kind);
        }
    }

    #[test]
    fn a_pick_takes_a_turn_at_most(weights in prop::collection::vec(1..9u16, 1..9), who: u32, entropy: u64) {
        for kind in SchedulerKind::ALL {
            let runtime = Runtime::new(1, 9);
            let service = service(kind, &weights);
            let ctx = context(client(who), 0, entropy);
            let first = service.pick(&ctx, &runtime);
            let in_turns = matches!(kind, SchedulerKind::Rr | SchedulerKind::Wrr | SchedulerKind::Lc);
            prop_assert_eq!(runtime.cursor(ServiceSlot(0)), Some(u64::from(in_turns)), "{}", kind);
            runtime.forget_service(ServiceSlot(0));
            prop_assert_eq!(service.pick(&ctx, &runtime), first, "{}", kind);
            prop_assert!((0..9).all(|n| runtime.connections(EndpointSlot(n)) == 0), "{}", kind);
        }
    }

    #[test]
    fn workers_that_pick_at_once_never_get_the_same_turn(weights in prop::collection::vec(1..4u16, 1..9)) {
        let (service, runtime) = (service(SchedulerKind::Rr, &weights), Runtime::new(1, 9));
        let rounds = 50;
        let pick = || -> Vec<usize> {
            let one = |_| service.pick(&context(client(0), 0, 0), &runtime).unwrap().index;
            (0..rounds * weights.len()).map(one).collect()
        };
        let picks: Vec<usize> = std::thread::scope(|scope| {
            let workers = [scope.spawn(pick), scope.spawn(pick)];
            workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
        });
        prop_assert_eq!(tally(&picks, weights.len()), vec![2 * rounds as u64; weights.len()]);
    }
}

#[test]
fn lc_rotates_among_equals() {
    let (service, runtime) = (service(SchedulerKind::Lc, &[1, 1, 1]), Runtime::new(1, 3));
    let picks: Vec<usize> = (0..6)
        .map(|_| {
            let picked = connect(&service, &runtime, 1)[0];
            runtime.release(EndpointSlot(picked as u32));
            picked
        })
        .collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn random_gives_each_weight_its_share_of_the_entropy() {
    let weights = [1, 7, 2, 90];
    let (service, runtime) = (service(SchedulerKind::Random, &weights), Runtime::new(1, 4));
    let steps = 10_000u64;
    let picks: Vec<usize> = (0..steps)
        .map(|n| {
            service
                .pick(&context(client(0), 0, u64::MAX / steps * n), &runtime)
                .unwrap()
                .index
        })
        .collect();
    for (count, weight) in tally(&picks, 4).into_iter().zip(weights) {
        assert!(
            count.abs_diff(u64::from(weight) * 100) <= 1,
            "{count} picks at weight {weight}"
        );
    }
}

#[test]
fn sh_respects_weights() {
    let (service, runtime) = (service(SchedulerKind::Sh, &[1, 2, 3, 4]), Runtime::new(1, 4));
    let picks: Vec<usize> = (0..50_000)
        .map(|n| service.pick(&context(client(n), 0, 0), &runtime).unwrap().index)
        .collect();
    for (count, weight) in tally(&picks, 4).into_iter().zip([1, 2, 3, 4]) {
        assert!(
            count.abs_diff(weight * 5_000) < 300,
            "{count} of 50000 clients at weight {weight} of 10"
        );
    }
}

#[test]
fn a_service_without_a_cursor_takes_turns_at_random() {
    let (service, runtime) = (service(SchedulerKind::Rr, &[1, 1, 1]), Runtime::new(0, 0));
    let picks: Vec<usize> = (0..6)
        .map(|entropy| service.pick(&context(client(0), 0, entropy), &runtime).unwrap().index)
        .collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn names_survive_a_round_trip_and_others_are_explained() {
    for kind in SchedulerKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert_eq!(SchedulerKind::default(), SchedulerKind::Random);
    let error = "wlc ".parse::<SchedulerKind>().unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"unknown scheduler "wlc ": use one of rr, wrr, lc, sh, mh, random"#
    );
}

#[test]
fn sh_never_changes_between_releases() {
    let (service, runtime) = (service(SchedulerKind::Sh, &[1, 2, 3, 4]), Runtime::new(1, 4));
    let picks: Vec<usize> = (0..16)
        .map(|n| service.pick(&context(client(n), 0, 0), &runtime).unwrap().index)
        .collect();
    assert_eq!(picks, [3, 3, 1, 2, 1, 1, 0, 3, 2, 3, 3, 3, 2, 2, 1, 3]);
}
