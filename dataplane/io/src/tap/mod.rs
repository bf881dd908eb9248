//! Decides how a pod or the host is reached through a tap: a persistent multi-queue device with all offloads.
//! It never assigns addresses or routes; those belong to whoever owns the namespace.
//!
//! The device is made inside the pod's namespace under its final name, so it is never seen elsewhere half set up. It
//! outlives this process: with no queue attached the pod keeps interface, addresses and routes, without carrier, and
//! [`create`] with the same name takes it up again. A descriptor of a queue keeps a deleted namespace alive, so a port
//! whose pod is gone must be closed.

mod header;
mod queue;
mod setup;
#[cfg(test)]
mod tests;

pub use queue::TapQueue;
pub use setup::{Tap, TapError, TapSpec, create, remove};
