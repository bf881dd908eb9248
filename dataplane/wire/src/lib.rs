//! Decides how bytes on the wire become typed headers and keys, and back. It never does I/O, reads a clock, logs or allocates per packet.

mod addr;
mod burst;
mod drop;
mod flow;
mod frame;
mod ids;

pub use addr::{Addr, MacAddr};
pub use burst::{BURST, Burst};
pub use drop::DropReason;
pub use flow::{FlowKey, Proto, Scope, Tuple, stable_hash};
pub use frame::{Checksum, Frame, Gso, GsoKind, Meta};
pub use ids::{DepId, Generation, Identity, PortSlot, Vni, WorkerId};
