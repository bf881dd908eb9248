//! Decides what a cluster answers in tests: a stand-in for the Kubernetes API server that follows the conventions of the
//! API, with faults on demand. It never does what controllers, kubelets or schedulers do.

mod allocate;
pub mod auth;
pub mod control;
pub mod counters;
mod discovery;
pub mod faults;
mod front;
pub mod lines;
mod list;
mod load;
mod options;
mod patch;
mod path;
mod resources;
mod route;
mod rules;
mod selector;
mod serve;
mod server;
pub mod site;
mod spoil;
mod status;
mod store;
mod tls;
mod view;
mod watch;
mod write;

pub use auth::Denial;
pub use faults::{Fault, Rule};
pub use front::Front;
pub use server::{Server, Settings};
