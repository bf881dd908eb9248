//! The node's connections: one shared, authoritative table. It never knows a port or a packet, only tuples and times.

mod record;
mod sweep;
mod table;
mod usage;

#[cfg(test)]
mod tests;

pub use record::{Direction, Record, RecordId};
pub use sweep::ConnectionRow;
pub use table::{ConnectionTable, Inserted};
pub(crate) use usage::Standing;
