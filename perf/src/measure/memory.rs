//! What a flow takes of memory: how much larger the process becomes when its tables get more places. It never adds up sizes of types, as
//! those are not what allocators and tables make of them.

use super::node::Node;
use crate::report::{exact, process_bytes};
use crate::world::World;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Bytes that tables have for each flow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// A place in a worker's flow cache; a flow has one for each direction.
    pub(crate) cache_entry: u64,
    /// A connection's record, with its share of what finds it.
    pub(crate) connection: u64,
}

impl Memory {
    /// Of a connection both of whose directions one worker knows.
    pub(crate) fn flow(&self) -> u64 {
        2 * self.cache_entry + self.connection
    }

    /// For people.
    pub(crate) fn line(&self) -> String {
        format!(
            "a flow takes {} bytes: two entries of {} in a worker's cache, {} for its connection",
            exact(self.flow()),
            exact(self.cache_entry),
            exact(self.connection)
        )
    }
}

const FEW: u32 = 1 << 17;
const MANY: u32 = 1 << 20;

/// Asks the kernel how large the process is, with tables of two sizes each. All of them are alive until the end, so that none is made
/// from what another one left.
pub(crate) fn memory(world: &World) -> Result<Memory> {
    let mut nodes = Vec::new();
    let mut grown = |connections: u32, entries: u32| -> Result<u64> {
        let before = process_bytes()?;
        nodes.push(Node::new(world, 1, connections, entries as usize, 1)?);
        let grown = process_bytes()?.checked_sub(before);
        grown.context("the process became smaller while tables were made")
    };
    let (small, entries, connections) = (grown(FEW, FEW)?, grown(FEW, MANY)?, grown(MANY, FEW)?);
    let each = |large: u64| -> Result<u64> {
        let more = large.saturating_sub(small);
        ensure!(more > 0, "tables that are eight times larger take no more memory");
        Ok((more as f64 / f64::from(MANY - FEW)).round() as u64)
    };
    Ok(Memory {
        cache_entry: each(entries)?,
        connection: each(connections)?,
    })
}
