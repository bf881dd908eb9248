//! Decides by the caller's random bits, by weight. It never remembers a draw.

use super::{PickContext, Scheduler};
use crate::weights::Cumulative;
use crate::{Endpoint, Runtime};

#[derive(Debug)]
pub(super) struct Random {
    weights: Cumulative,
}

impl Random {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        Self {
            weights: Cumulative::new(endpoints, 1),
        }
    }
}

impl Scheduler for Random {
    fn pick(&self, ctx: &PickContext, _: &[Endpoint], _: &Runtime) -> Option<usize> {
        self.weights.owner_at(ctx.entropy)
    }
}
