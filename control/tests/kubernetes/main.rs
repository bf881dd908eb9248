//! The source `kubernetes` against the stand-in API server: what arrives in a store is what the server has, whatever happens on the way.

mod cluster;
mod events;
mod faults;
mod follow;
mod hostile;
mod learned;
mod objects;
mod reach;
mod restart;
mod service_cidrs;
