//! Decides by the client's address alone, the same on every node. It never promises to keep clients in place when endpoints
//! come and go; [`super::SchedulerKind::Mh`] does.

use super::{PickContext, Scheduler};
use crate::endpoint::addr_words;
use crate::weights::Cumulative;
use crate::{Endpoint, Runtime};
use sluice_wire::stable_hash;

#[derive(Debug)]
pub(super) struct SourceHash {
    weights: Cumulative,
}

impl SourceHash {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        Self {
            weights: Cumulative::new(endpoints, 1),
        }
    }
}

impl Scheduler for SourceHash {
    fn pick(&self, ctx: &PickContext, _: &[Endpoint], _: &Runtime) -> Option<usize> {
        self.weights.owner_at(stable_hash(&addr_words(ctx.tuple.src)))
    }
}
