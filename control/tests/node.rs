//! The parts of control that touch the kernel, each in network namespaces of its own. Needs root.

#[path = "node/scratch.rs"]
mod scratch;

#[path = "node/agent.rs"]
mod agent;
#[path = "node/host.rs"]
mod host;
#[path = "node/neighbours.rs"]
mod neighbours;
#[path = "node/pod.rs"]
mod pod;
#[path = "node/underlay.rs"]
mod underlay;
