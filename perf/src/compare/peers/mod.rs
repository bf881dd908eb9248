//! Who is compared: each peer builds the same topology with its own forwarders. A peer decides how packets get from end to end; it never
//! knows what is measured.
//!
//! Another peer is a type that implements [`Peer`] and a line in [`known`], or a script outside of this program ([`script`]).

mod bridge;
mod conntrack;
mod forwarder;
mod helper;
mod iptables;
mod kernel;
mod nftables;
mod receiving;
mod script;
mod sluice;
#[cfg(test)]
mod tests;

pub(super) use bridge::Bridge;
pub(super) use forwarder::Forwarder;
pub(super) use kernel::{Kernel, Rules};
pub(super) use receiving::{Napi, Receiving};
pub(super) use script::Script;
pub(super) use sluice::Sluice;
#[cfg(test)]
pub(super) use sluice::raised;

use super::probe::Probe;
use super::scene::Scene;
use super::settings::Setting;
use anyhow::Result;
use sluice_lab::{Lab, Running};

/// Somebody who forwards.
pub(super) trait Peer {
    /// Its name in options and reports.
    fn name(&self) -> &str;

    /// What it is and how it is set, in a line: a figure without its settings says little.
    fn about(&self) -> String;

    /// Whether it can do what this probe asks for.
    fn carries(&self, probe: Probe) -> bool;

    /// Builds the topology, ready for traffic. Dropping the site takes all of it down.
    ///
    /// # Errors
    /// What cannot be built, and why; nothing is left.
    fn up(&self, scene: &Scene) -> Result<Site>;

    /// How many connections to the service it has translated and still knows of: proof that it is what it says. `None` if nobody counts.
    ///
    /// # Errors
    /// It cannot be asked.
    fn translated(&self, site: &Site) -> Result<Option<u64>>;

    /// What is set for this scene otherwise than its users find it, and what figures depend on.
    ///
    /// # Errors
    /// It cannot be asked.
    fn settings(&self, _scene: &Scene, _site: &Site) -> Result<Vec<Setting>> {
        Ok(Vec::new())
    }
}

/// A peer's topology while it is up.
pub(super) struct Site {
    /// What forwards in the lab's stead. Goes first.
    _helpers: Vec<Running>,
    /// What works on received packets, by node.
    pub(super) napi: Napi,
    pub(super) lab: Lab,
}

/// All peers that this program brings, with how their uplinks receive.
pub(super) fn known(sluice: Receiving, kernel: Receiving) -> Vec<Box<dyn Peer>> {
    let kernel = |rules| {
        Box::new(Kernel {
            rules,
            receiving: kernel,
        })
    };
    vec![
        Box::new(Sluice { receiving: sluice }),
        kernel(Rules::Iptables),
        kernel(Rules::Nftables),
        Box::new(Bridge),
        Box::new(Forwarder { receiving: sluice }),
    ]
}
