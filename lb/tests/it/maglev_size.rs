//! What the rule for the table's size costs the clients of endpoints that stay; the figures are in docs/design/0003.

use crate::common::endpoints;
use crate::maglev::twin_of_size;
use sluice_lb::{Endpoint, Maglev};
use sluice_wire::stable_hash;

const CLIENTS: u64 = 20_000;

/// A table with as many places as the smallest prime of at least 100 an endpoint, for exactly this many endpoints.
fn exact(endpoints: usize) -> u32 {
    let is_prime = |n: u32| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (endpoints as u32 * 100..).find(|&n| is_prime(n)).unwrap()
}

/// The address that serves each client.
fn served(endpoints: &[Endpoint], size: fn(usize) -> u32) -> Vec<sluice_wire::Addr> {
    let table = twin_of_size(endpoints, size(endpoints.len()));
    let place = |client| (stable_hash(&[client]) % table.len() as u64) as usize;
    (0..CLIENTS)
        .map(|client| endpoints[usize::from(table[place(client)])].addr)
        .collect()
}

/// Percent of the clients of endpoints that stay who get another one when one of `count` leaves: the mean over ten leavers.
fn moved(count: usize, size: fn(usize) -> u32) -> f64 {
    let all = endpoints(&vec![1; count]);
    let before = served(&all, size);
    let leavers = (0..count).step_by(count.div_ceil(10));
    let parts: Vec<f64> = leavers
        .map(|leaver| {
            let mut rest = all.clone();
            let gone = rest.remove(leaver).addr;
            let after = served(&rest, size);
            let kept = before.iter().zip(&after).filter(|(b, _)| **b != gone);
            let (total, moved) = kept.fold((0, 0), |(t, m), (b, a)| (t + 1, m + u32::from(a != b)));
            100.0 * f64::from(moved) / f64::from(total)
        })
        .collect();
    parts.iter().sum::<f64>() / parts.len() as f64
}

#[test]
fn a_size_that_follows_the_count_would_move_most_clients_at_every_change() {
    for (count, crosses_a_step) in [(10, false), (9, true), (100, false)] {
        let (steps, exact) = (moved(count, Maglev::size_for), moved(count, exact));
        println!(
            "one of {count} leaves: {steps:.1} % of the others' clients move with few sizes, {exact:.1} % with the exact size"
        );
        assert!(exact > 70.0, "{exact}");
        assert_eq!(steps > 70.0, crosses_a_step, "{steps}");
        assert!(crosses_a_step || steps < 5.0, "{steps}");
    }
}
