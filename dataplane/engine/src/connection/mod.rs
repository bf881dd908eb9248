//! The node's connections: one shared, authoritative table. It never knows a port or a packet, only tuples and times.

mod record;
mod table;

#[cfg(test)]
mod tests;

pub use record::{Direction, Record, RecordId};
pub use table::{ConnectionRow, ConnectionTable, Inserted};
