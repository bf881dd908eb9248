//! Decides what the node should do: Kubernetes objects and the kernel's state in, compiled snapshots out. It never touches a packet.

pub mod api;
pub mod attach;
pub mod compile;
mod health;
pub mod kernel;
mod metrics;
pub mod model;
pub mod objects;
pub mod run;
pub mod source;

pub use health::HealthSettings;
