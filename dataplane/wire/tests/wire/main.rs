//! Holds the crate's promises against independent twins: packets built and read by etherparse, and sums made word by word.

mod answers;
mod checksum;
mod coalesce;
mod drop_reasons;
mod fragments;
mod glance;
mod hostile;
mod mss;
mod parse;
mod plain;
mod plain_edges;
mod quoted;
mod rewrite;
mod sample;
mod segment;
mod udp;
