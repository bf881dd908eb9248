//! Holds the promises of the packet path: what goes in by one port, byte for byte, and what must come out by another.

mod bench;
mod hand_made;
mod packet;
mod world;

mod any_worker;
mod churn;
mod connections;
mod endpoint_first;
mod hard_packets;
mod hashes;
mod host_corners;
mod icmp;
mod limits;
mod neighbours;
mod no_allocation;
mod outside;
mod pods;
mod policy;
mod properties;
mod records;
mod refusals;
mod renewal;
mod samples;
mod sctp;
mod seats;
mod services;
mod spoofing;
mod super_frames;
mod table;
mod tunnel;
mod twin;
mod workers;
