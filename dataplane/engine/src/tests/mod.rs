//! Holds the promises of the packet path: what goes in by one port, byte for byte, and what must come out by another.

mod bench;
mod packet;
mod pieces;
mod world;

mod connections;
mod fragmentation;
mod fragments;
mod icmp;
mod neighbours;
mod no_allocation;
mod outside;
mod path_mtu;
mod pods;
mod policy;
mod properties;
mod refusals;
mod renewal;
mod samples;
mod services;
mod spoofing;
mod super_frames;
mod tunnel;
mod twin;
mod workers;
