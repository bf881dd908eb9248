//! The agent in the lab: real kernels as clients and servers, real packets between them, one promise a test.

mod bad_input;
mod balance;
mod clients;
mod cluster;
mod drops;
mod host;
mod idle;
mod interop;
mod jumbo;
mod load;
mod masquerade_ports;
mod neighbours;
mod no_ipv4;
mod node_port;
mod on_the_wire;
mod pods;
mod policy;
mod ports_come_and_go;
mod probe;
mod restart;
mod services;
mod stop;
mod uplink;
mod uplink_changes;
mod workers;
