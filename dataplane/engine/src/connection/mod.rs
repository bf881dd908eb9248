//! The node's connections: one shared, authoritative table. It never knows a port or a packet, only tuples, owners and times.

mod cell;
mod record;
mod records;
mod seats;
mod sweep;
mod table;
mod usage;

pub use record::{Direction, Record, RecordId};
pub use records::{Live, Records, RecordsError};
pub use sweep::ConnectionRow;
pub use table::{ConnectionTable, Inserted};
pub(crate) use usage::Standing;
