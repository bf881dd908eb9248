//! The conventions of the Kubernetes API as plain HTTP shows them.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod events;
mod faults;
mod reads;
mod restore;
mod watches;
mod writes;

use common::pod;
use sluice_apiserver::{Server, Settings};

/// A server without TLS.
fn server() -> Server {
    Server::start(Settings {
        plain: true,
        ..Settings::default()
    })
    .unwrap()
}
