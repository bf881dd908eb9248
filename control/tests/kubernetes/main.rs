//! The source `kubernetes` against the stand-in API server: what arrives in a store is what the server has, whatever happens on the way.

mod cluster;
mod cluster_policies;
mod faults;
mod follow;
mod objects;
mod reach;
mod restart;
