//! Decides for the endpoint with the fewest connections for its weight. It never counts: the connection table's owner does,
//! through commit and release.

use super::{PickContext, Scheduler};
use crate::{Endpoint, Runtime};

#[derive(Debug)]
pub(super) struct LeastConnection;

impl Scheduler for LeastConnection {
    fn pick(&self, ctx: &PickContext, endpoints: &[Endpoint], runtime: &Runtime) -> Option<usize> {
        let usable = super::rotation(ctx, endpoints, runtime).filter(|&i| endpoints[i].weight > 0);
        let loaded = usable.map(|i| {
            let e = &endpoints[i];
            (i, u64::from(runtime.connections(e.slot)), u64::from(e.weight))
        });
        // a/w < b/v without division; of equals the first in rotation stays.
        let least = loaded.reduce(|best, next| if next.1 * best.2 < best.1 * next.2 { next } else { best });
        least.map(|(i, ..)| i)
    }
}
