//! The agent in the lab: real kernels as clients and servers, real packets between them, one promise a test.

mod bad_input;
mod balance;
mod clients;
mod cluster;
mod drops;
mod frames;
mod hard_packets;
mod host;
mod idle;
mod interop;
mod load;
mod neighbours;
mod node_port;
mod on_the_wire;
mod pods;
mod policy;
mod ports_come_and_go;
mod raw;
mod restart;
mod services;
mod spoofing;
mod stop;
mod tcp;
mod traceroute;
mod uplink;
mod workers;
