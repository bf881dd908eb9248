//! The Maglev table against a slow twin, and the properties that it is chosen for.

use crate::common::*;
use proptest::prelude::*;
use sluice_lb::{Endpoint, Maglev, Runtime, SchedulerKind};
use sluice_wire::{Addr, stable_hash};

fn twin(endpoints: &[Endpoint]) -> Vec<u16> {
    let members = endpoints.iter().filter(|e| e.weight > 0).count();
    twin_of_size(endpoints, Maglev::size_for(members))
}

/// The paper's construction at its plainest: whole permutations, and whose turn it is by comparing all quotients.
pub(crate) fn twin_of_size(endpoints: &[Endpoint], size: u32) -> Vec<u16> {
    let mut order: Vec<usize> = (0..endpoints.len()).filter(|&i| endpoints[i].weight > 0).collect();
    order.sort_by_key(|&i| (endpoints[i].addr, endpoints[i].port));
    let size = u64::from(size);
    let permutation = |&i: &usize| -> Vec<u64> {
        let bytes = endpoints[i].addr.octets();
        let [high, low] = [0, 8].map(|at| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()));
        let hash = |seed| stable_hash(&[high, low, u64::from(endpoints[i].port), seed]);
        (0..size)
            .map(|j| (hash(1) % size + j * (hash(2) % (size - 1) + 1)) % size)
            .collect()
    };
    let permutations: Vec<Vec<u64>> = order.iter().map(permutation).collect();
    let mut turns = vec![0; order.len()];
    let mut places = vec![None; size as usize];
    while places.contains(&None) {
        // (2a + 1) / v < (2b + 1) / w, multiplied out.
        let due = |who: usize, by: usize| (2 * turns[who] + 1) * u64::from(endpoints[order[by]].weight);
        let who = (1..order.len()).fold(0, |best, who| if due(who, best) < due(best, who) { who } else { best });
        turns[who] += 1;
        let free = permutations[who]
            .iter()
            .find(|&&p| places[p as usize].is_none())
            .unwrap();
        places[*free as usize] = Some(order[who] as u16);
    }
    places.into_iter().flatten().collect()
}

fn shares(table: &Maglev, endpoints: usize) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    table.places().iter().for_each(|&i| counts[usize::from(i)] += 1);
    counts
}

/// Who owns each place, by address, whatever the indices.
fn owners(endpoints: &[Endpoint]) -> Vec<(Addr, u16)> {
    let owner = |&i: &u16| (endpoints[usize::from(i)].addr, endpoints[usize::from(i)].port);
    Maglev::new(endpoints).places().iter().map(owner).collect()
}

fn any_endpoints(count: std::ops::Range<usize>, weight: std::ops::Range<u16>) -> impl Strategy<Value = Vec<Endpoint>> {
    let member = (0..1u32 << 24, weight);
    prop::collection::hash_map(member.clone().prop_map(|m| m.0), member.prop_map(|m| m.1), count)
        .prop_map(|all| all.into_iter().map(|(n, weight)| endpoint(n, weight)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_table_equals_its_twin(endpoints in any_endpoints(0..12, 0..50)) {
        let (table, twin) = (Maglev::new(&endpoints), twin(&endpoints));
        prop_assert_eq!(table.places(), &twin[..]);
    }

    #[test]
    fn any_order_of_endpoints_gives_the_same_table(
        (given, shuffled) in any_endpoints(1..40, 1..50).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(owners(&given), owners(&shuffled));
    }

    #[test]
    fn slot_and_place_of_an_endpoint_do_not_matter(mut endpoints in any_endpoints(1..10, 1..9)) {
        let before = owners(&endpoints);
        for e in &mut endpoints {
            e.slot.0 = e.slot.0.wrapping_mul(77) + 5;
            e.local = !e.local;
        }
        prop_assert_eq!(owners(&endpoints), before);
    }

    #[test]
    fn equal_weights_get_equal_shares(endpoints in any_endpoints(1..40, 7..8)) {
        let shares = shares(&Maglev::new(&endpoints), endpoints.len());
        prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{:?}", shares);
    }

    #[test]
    fn shares_follow_weights(endpoints in any_endpoints(1..40, 1..100)) {
        let table = Maglev::new(&endpoints);
        let total: f64 = endpoints.iter().map(|e| f64::from(e.weight)).sum();
        for (share, e) in shares(&table, endpoints.len()).into_iter().zip(&endpoints) {
            let part = f64::from(e.weight) / total;
            let off = (share as f64 - part * table.places().len() as f64).abs();
            prop_assert!(off <= 2.0, "{off} places off at {part} of the weight");
        }
    }

    #[test]
    fn one_that_leaves_moves_few_others(endpoints in any_endpoints(3..100, 1..2), leaver: prop::sample::Index) {
        let leaver = leaver.index(endpoints.len());
        prop_assume!(Maglev::size_for(endpoints.len() - 1) == Maglev::size_for(endpoints.len()));
        let part = moved_without_need(&endpoints, leaver);
        prop_assert!(part <= 0.2, "{part} of the other places moved");
    }
}

/// Which part of the other endpoints' places changes its owner when one endpoint leaves.
fn moved_without_need(endpoints: &[Endpoint], leaver: usize) -> f64 {
    let mut rest = endpoints.to_vec();
    let gone = rest.remove(leaver);
    let (before, after) = (owners(endpoints), owners(&rest));
    let kept = before.iter().zip(&after).filter(|(b, _)| **b != (gone.addr, gone.port));
    let (total, moved) = kept.fold((0, 0), |(t, m), (b, a)| (t + 1, m + u32::from(a != b)));
    f64::from(moved) / f64::from(total)
}

#[test]
fn on_average_a_leaver_moves_hardly_anybody_else() {
    for count in [8, 32, 100] {
        let all = endpoints(&vec![1; count]);
        let mean = (0..count).map(|leaver| moved_without_need(&all, leaver)).sum::<f64>() / count as f64;
        assert!(mean < 0.04, "{mean} of the other places moved, of {count} endpoints");
    }
}

#[test]
fn sizes_are_the_smallest_primes_of_a_hundred_places_an_endpoint() {
    let is_prime = |n: u32| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    for most in [8, 32, 128, 512] {
        let smallest = (most * 100..).find(|&n| is_prime(n)).unwrap();
        assert_eq!(Maglev::size_for(most as usize), smallest);
        assert_ne!(Maglev::size_for(most as usize + 1), smallest);
    }
    assert!(is_prime(65537));
    assert_eq!(Maglev::size_for(usize::MAX), 65537);
}

#[test]
fn many_endpoints_of_very_unequal_weight_build_in_bounded_time() {
    let mut all: Vec<Endpoint> = (0..70_000).map(|n| endpoint(n, 1)).collect();
    all[5].weight = u16::MAX;
    let table = Maglev::new(&all);
    assert_eq!(table.places().len(), 65537);
    let heavy = table.places().iter().filter(|&&i| i == 5).count();
    assert!(
        (32_000..33_500).contains(&heavy),
        "{heavy} places for half of the weight"
    );
}

#[test]
fn nobody_to_choose_gives_an_empty_table() {
    assert_eq!(Maglev::new(&[]).lookup(7), None);
    assert_eq!(Maglev::new(&endpoints(&[0, 0])).lookup(7), None);
}

#[test]
fn clients_spread_evenly() {
    let (service, runtime) = (service(SchedulerKind::Mh, &[1; 10]), Runtime::new(1, 10));
    let mut counts = [0u32; 10];
    for n in 0..40_000 {
        let mut ctx = context(client(n / 7), 0, 0);
        ctx.tuple.sport = (n * 13 % 50_000) as u16;
        counts[service.pick(&ctx, &runtime).unwrap().index] += 1;
    }
    assert!(counts.iter().all(|c| c.abs_diff(4_000) < 240), "{counts:?}");
}

#[test]
fn the_table_never_changes_between_releases() {
    let table = Maglev::new(&endpoints(&[1, 2, 3]));
    let digest = table.places().iter().fold(0, |h, &i| stable_hash(&[h, u64::from(i)]));
    assert_eq!(
        digest, 12_000_218_554_711_349_575,
        "nodes of different versions must agree"
    );
}
