//! Behaviour of the load balancer through its public interface.

mod affinity;
mod common;
mod maglev;
mod maglev_size;
mod masquerade;
mod ports;
mod rewrite;
mod runtime;
mod schedulers;
mod service;
mod state;
