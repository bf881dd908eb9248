//! Decides by the client's tuple through a Maglev table. It never needs runtime state, so all nodes agree.

use super::{PickContext, Scheduler};
use crate::{Endpoint, Maglev, Runtime};

#[derive(Debug)]
pub(super) struct MaglevHash {
    table: Maglev,
}

impl MaglevHash {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        Self {
            table: Maglev::new(endpoints),
        }
    }
}

impl Scheduler for MaglevHash {
    fn pick(&self, ctx: &PickContext, _: &[Endpoint], _: &Runtime) -> Option<usize> {
        self.table.lookup(ctx.tuple.stable_hash())
    }
}
