//! Decides by turns, each endpoint as often in a cycle as its weight says. It never keeps a sequence: the endpoint of any turn
//! follows from the cursor.
//!
//! A cycle has as many turns as the weights, divided by their greatest common divisor, sum up to. Turn `t` takes the point
//! `t * stride` modulo the cycle; as the stride shares no factor with the cycle, every point comes up exactly once. A stride near
//! the golden section of the cycle spreads the points of one endpoint evenly, so a heavy one is not served in one go.

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

/// The number next to the golden section of `cycle` that has no factor in common with it; 1 always qualifies.
fn stride(cycle: u64) -> u64 {
    let golden = cycle - (u128::from(cycle) * 381_966 / 1_000_000) as u64;
    (1..=golden)
        .rev()
        .find(|&candidate| gcd(candidate, cycle) == 1)
        .unwrap_or(1)
}
