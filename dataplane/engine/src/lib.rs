//! Decides what becomes of every frame: a burst goes in, rewritten frames with one verdict each come out. It never knows a
//! backend's name, starts a thread, sleeps or reads a clock.

mod action;
mod answer;
mod ask;
mod cache;
mod classify;
mod connection;
mod counters;
mod create;
mod decide;
mod deliver;
mod echo_ids;
mod egress;
mod engine;
mod exit;
mod fast;
mod fragments;
mod held;
mod icmp_error;
mod limits;
mod look_up;
mod merge;
mod path_mtu;
mod reach;
mod samples;
mod shared;
mod slow;
mod sync;

#[cfg(test)]
mod tests;

pub use connection::{
    ConnectionRow, ConnectionTable, Direction, Inserted, Live, Record, RecordId, Records, RecordsError,
};
pub use counters::{COUNTED_PORTS, Counters, Event, Events, Held, PortCounters, Volume};
pub use echo_ids::{EchoIds, EchoSteering};
pub use egress::Egress;
pub use engine::{Engine, EngineConfig};
pub use fragments::FragmentTable;
pub use limits::{Limits, OUTSIDE, TokenBuckets};
pub use path_mtu::PathMtu;
pub use samples::{DropSample, SAMPLE_BYTES, Samples};
pub use shared::Shared;

/// A frame of the packet path.
pub type Frame = sluice_wire::Frame<sluice_mem::Buf>;
/// A burst of them.
pub type Burst = sluice_wire::Burst<sluice_mem::Buf>;
