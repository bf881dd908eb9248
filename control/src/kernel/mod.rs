//! Decides how this node's kernel is read and set up: underlay state in; `sluice0`, pods' interfaces and next hops
//! out. It never looks at Kubernetes objects and never forwards.

pub mod host;
pub mod neighbours;
pub mod netns;
pub mod pod;
pub mod ports;
mod requests;
pub mod silence;
pub mod sysctl;
pub mod underlay;

pub use requests::{connect, index_of};
