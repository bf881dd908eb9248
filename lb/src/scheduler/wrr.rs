//! Decides by turns, each endpoint as often in a cycle as its weight says. It never keeps a sequence: the endpoint of any turn
//! follows from the cursor.
//!
//! A cycle has as many turns as the weights, divided by their greatest common divisor, sum up to. Turn `t` takes the point
//! `t * stride` modulo the cycle; as the stride shares no factor with the cycle, every point comes up exactly once. A stride near
//! the golden section of the cycle spreads the points of one endpoint evenly, so a heavy one is not served in one go. Near is not
//! enough: 61 of 102 is all but 3 of 5, and would serve every fifth turn from one corner; hence the choice by continued fraction.

use super::{PickContext, Scheduler};
use crate::weights::{Cumulative, gcd};
use crate::{Endpoint, Runtime};

#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    weights: Cumulative,
    stride: u64,
}

impl WeightedRoundRobin {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        let unit = endpoints
            .iter()
            .fold(0, |unit, e| gcd(unit, u64::from(e.weight)))
            .max(1);
        let weights = Cumulative::new(endpoints, unit);
        let stride = stride(weights.total());
        Self { weights, stride }
    }
}

impl Scheduler for WeightedRoundRobin {
    fn pick(&self, ctx: &PickContext, _: &[Endpoint], runtime: &Runtime) -> Option<usize> {
        let cycle = self.weights.total();
        let turn = super::turn(ctx, runtime).checked_rem(cycle)?;
        let point = u128::from(turn) * u128::from(self.stride) % u128::from(cycle);
        self.weights.owner(point as u64)
    }
}

/// How many numbers on each side of the golden section are looked at.
const REACH: u64 = 32;

/// The number near the golden section of `cycle` whose multiples spread most evenly over the cycle.
fn stride(cycle: u64) -> u64 {
    let golden = cycle - (u128::from(cycle) * 381_966 / 1_000_000) as u64;
    let candidates = golden.saturating_sub(REACH).max(1)..=golden + REACH;
    let rated = candidates.filter_map(|c| Some((unevenness(c, cycle)?, c.abs_diff(golden), c)));
    rated.min().map_or(1, |(.., best)| best)
}

/// The largest quotient in the continued fraction of `stride / cycle`: the larger, the longer the multiples stay close to a few
/// places. `None` when both have a factor in common.
fn unevenness(stride: u64, cycle: u64) -> Option<u64> {
    let (mut a, mut b, mut largest) = (stride % cycle.max(1), cycle, 0);
    while a != 0 {
        largest = largest.max(b / a);
        (a, b) = (b % a, a);
    }
    (b == 1).then_some(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndpointSlot, ServiceSlot};
    use proptest::prelude::*;
    use sluice_wire::{Addr, Proto, Tuple};

    fn endpoints(weights: &[u16]) -> Vec<Endpoint> {
        let endpoint = |(n, &weight): (u32, &u16)| {
            let addr = Addr::v4(n.to_be_bytes());
            Endpoint {
                slot: EndpointSlot(n),
                addr,
                port: 80,
                weight,
                local: false,
            }
        };
        (0..).zip(weights).map(endpoint).collect()
    }

    /// The endpoints of the turns from `first` on. No runtime table, so the entropy stands for the cursor.
    fn picks(weights: &[u16], first: u64, count: u64) -> Vec<usize> {
        let (endpoints, runtime) = (endpoints(weights), Runtime::new(0, 0));
        let scheduler = WeightedRoundRobin::new(&endpoints);
        let any = Addr::default();
        let tuple = Tuple {
            src: any,
            dst: any,
            sport: 0,
            dport: 0,
            proto: Proto::TCP,
        };
        let pick = |entropy| {
            let ctx = PickContext {
                service: ServiceSlot(0),
                tuple,
                now_ns: 0,
                entropy,
            };
            scheduler.pick(&ctx, &endpoints, &runtime).expect("a weight above 0")
        };
        (first..first + count).map(pick).collect()
    }

    proptest! {
        /// Twin: every point written out, visited by stepping a pointer round the ring.
        #[test]
        fn equals_a_walk_round_a_written_out_ring(weights in prop::collection::vec(1..40u16, 1..10)) {
            let unit = (1..=40).rev().find(|u| weights.iter().all(|w| w % u == 0)).unwrap_or(1);
            let ring: Vec<usize> =
                weights.iter().enumerate().flat_map(|(i, w)| vec![i; usize::from(w / unit)]).collect();
            let step = stride(ring.len() as u64) as usize;
            let mut at = 0;
            for (turn, pick) in picks(&weights, 0, 2 * ring.len() as u64).into_iter().enumerate() {
                prop_assert_eq!(pick, ring[at], "turn {}", turn);
                at = (at + step) % ring.len();
            }
        }

        #[test]
        fn any_stretch_is_nearly_fair(
            weights in prop::collection::vec(1..40u16, 1..10), first in 0..1000u64, count in 1..300u64,
        ) {
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            let picks = picks(&weights, first, count);
            for (i, &weight) in weights.iter().enumerate() {
                let had = picks.iter().filter(|&&p| p == i).count() as f64;
                let due = count as f64 * f64::from(weight) / total;
                prop_assert!((had - due).abs() < 4.0, "endpoint {} had {} of {} due", i, had, due);
            }
        }
    }

    #[test]
    fn a_heavy_endpoint_is_not_served_in_one_go() {
        assert_eq!(picks(&[5, 1, 1], 0, 7), [0, 1, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn largest_weights_do_not_overflow() {
        assert_eq!(picks(&[u16::MAX, u16::MAX - 1], u64::MAX - 2, 2).len(), 2);
    }
}
