//! What an attacker could aim at is keyed anew for each table; what nodes must agree on is not (`wire`, `lb` and `vxlan` hold those).

use super::bench::Bench;
use super::table::{table, tuple};
use sluice_wire::{FlowKey, FlowWords, Scope};
use std::collections::HashSet;

#[test]
fn tables_that_were_started_apart_hash_differently() {
    let (one, two) = (table(4), table(4));
    let hashes: HashSet<u64> = (0..100)
        .flat_map(|n| [&one, &two].map(|t| t.hash(&tuple(n, 1))))
        .collect();
    assert_eq!(hashes.len(), 200);
    assert_eq!(one.hash(&tuple(1, 1)), one.hash(&tuple(1, 1)));
}

#[test]
fn flow_caches_that_were_started_apart_hash_differently() {
    let (one, two) = (Bench::new(), Bench::new());
    let key = |n| FlowKey {
        tuple: tuple(n, 1),
        scope: Scope::port(1),
    };
    let hashes: HashSet<u64> = (0..100)
        .flat_map(|n| [&one, &two].map(|b| b.workers[0].engine.hash(&FlowWords::from(&key(n)))))
        .collect();
    assert_eq!(hashes.len(), 200);
}

/// Flows that differ in their ports only fill a cache's sets as evenly as chance would, under any key: how many entries find their set
/// full, with 4 places a set, is 3,400 in the mean then, and 60 its standard deviation.
#[test]
fn flows_that_count_up_spread_over_the_cache_by_chance() {
    const SETS: usize = 1 << 17;
    for _ in 0..8 {
        let bench = Bench::new();
        let mut sets = vec![0u32; SETS];
        for n in 0..200_000u32 {
            let mut tuple = tuple(7, 8);
            (tuple.sport, tuple.dport) = (1024 + (n % 50_000) as u16, 8000 + (n / 50_000) as u16);
            let key = FlowKey {
                tuple,
                scope: Scope::port(3),
            };
            sets[bench.workers[0].engine.hash(&FlowWords::from(&key)) as usize % SETS] += 1;
        }
        let too_many: u32 = sets.iter().map(|n| n.saturating_sub(4)).sum();
        assert!((3000..3800).contains(&too_many), "{too_many}");
    }
}
