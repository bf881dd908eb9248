//! Decides how a cluster is imitated on one machine: nodes, pods, clients and the wire between them are network
//! namespaces, made from a [`Topology`] and gone without a trace afterwards. It never forwards a packet itself and never
//! touches the network of the machine it runs on.
//!
//! ```no_run
//! use sluice_lab::{Lab, Topology};
//! use std::time::Duration;
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::up(&Topology::load("tests/lab/topologies/two-nodes.yaml".as_ref())?)?;
//! let reply = lab.pod("web-1")?.run(&["curl", "-s", "http://10.96.0.10/"])?;
//! assert!(reply.ok(), "{reply}");
//! lab.apply("policy.yaml", "kind: NetworkPolicy ...")?;
//! lab.wait("the policy to bite", Duration::from_secs(5), || !lab.pod("web-1").is_ok_and(|p| p.reaches("10.96.0.10", 80)))?;
//! # Ok(())
//! # }
//! ```

mod agent;
mod api;
mod build;
mod container;
mod daemon_set;
pub mod demo;
mod lab;
pub mod manifests;
mod ns;
pub mod parse;
mod place;
mod plan;
mod process;
mod run;
pub mod serve;
mod servers;
mod signals;
mod state;
pub mod topology;

pub use agent::AgentCommand;
pub use api::{ApiServer, Source};
pub use container::{Container, Mount};
pub use lab::{Lab, Listed, list};
pub use nix::sys::signal::Signal;
pub use place::{Node, Place, Pod, binary};
pub use run::{Output, Running};
pub use topology::Topology;
