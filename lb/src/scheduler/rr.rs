//! Decides by turns. It never looks at weights, except that an endpoint of weight 0 is passed over.

use super::{PickContext, Scheduler};
use crate::{Endpoint, Runtime};

#[derive(Debug)]
pub(super) struct RoundRobin;

impl Scheduler for RoundRobin {
    fn pick(&self, ctx: &PickContext, endpoints: &[Endpoint], runtime: &Runtime) -> Option<usize> {
        super::rotation(ctx, endpoints, runtime).find(|&i| endpoints[i].weight > 0)
    }
}
