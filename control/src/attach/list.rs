//! The attachments of this node.

use super::Wanted;
use crate::kernel::netns::{self, NetnsId};
use serde::{Deserialize, Serialize};
use sluice_wire::Addr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A pod that is attached, as it is kept over restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `namespace/name`.
    pub pod: String,
    /// Path of the namespace.
    pub netns: PathBuf,
    /// Which namespace the path led to.
    pub id: NetnsId,
    /// Name of the interface.
    pub interface: String,
    /// Addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

impl Attachment {
    /// The addresses.
    pub fn addrs(&self) -> Vec<Addr> {
        self.addresses.iter().map(|ip| (*ip).into()).collect()
    }

    /// Whether the path still leads to the namespace that was attached.
    pub fn is_there(&self) -> bool {
        netns::of(&self.netns) == Ok(self.id)
    }

    fn is(&self, wanted: &Wanted) -> bool {
        self.pod == wanted.pod
            && self.id == wanted.id
            && self.interface == wanted.interface
            && self.addrs() == wanted.addrs
    }
}

impl From<Wanted> for Attachment {
    fn from(wanted: Wanted) -> Self {
        Self {
            pod: wanted.pod,
            netns: wanted.netns,
            id: wanted.id,
            interface: wanted.interface,
            addresses: wanted.addrs.iter().map(|addr| addr.to_ip()).collect(),
        }
    }
}

/// What a request means, given what is attached already.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Attach it.
    New,
    /// It is attached exactly so: the index in the list.
    Same(usize),
    /// Somebody else holds what it asks for; a text that names the holder.
    Refused(String),
}

/// All attachments, each with what the caller keeps beside it.
#[derive(Debug)]
pub struct Attachments<T> {
    entries: Vec<(Attachment, T)>,
}

impl<T> Default for Attachments<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Attachments<T> {
    /// Decides about a request.
    pub fn decide(&self, wanted: &Wanted) -> Decision {
        if let Some(at) = self.entries.iter().position(|(a, _)| a.is(wanted)) {
            return Decision::Same(at);
        }
        for (holder, _) in &self.entries {
            let who = format!("{} ({} in {})", holder.pod, holder.interface, holder.netns.display());
            if holder.id == wanted.id && holder.interface == wanted.interface {
                let addresses: Vec<_> = holder.addresses.iter().map(IpAddr::to_string).collect();
                return Decision::Refused(format!(
                    "{} in {} is attached already, for {who} with {}; detach it first",
                    wanted.interface,
                    wanted.netns.display(),
                    addresses.join(" and ")
                ));
            }
            if holder.id == wanted.id {
                return Decision::Refused(format!(
                    "{} has an interface already, that of {who}; a pod has one, which its default routes leave by. Detach that one first",
                    wanted.netns.display()
                ));
            }
            if let Some(addr) = wanted.addrs.iter().find(|addr| holder.addrs().contains(addr)) {
                return Decision::Refused(format!(
                    "{addr} belongs to {who}; give {} another address, or detach that one",
                    wanted.pod
                ));
            }
            if holder.pod == wanted.pod {
                return Decision::Refused(format!(
                    "{} is attached already, as {who}; detach that one first",
                    wanted.pod
                ));
            }
        }
        Decision::New
    }

    /// Adds one that [`Self::decide`] found new.
    pub fn add(&mut self, attachment: Attachment, with: T) {
        self.entries.push((attachment, with));
    }

    /// Where an interface of a namespace is in the list. The path decides, as the namespace may be gone; another path
    /// to the same namespace will do too.
    pub fn position(&self, path: &Path, interface: &str) -> Option<usize> {
        let by_path = self
            .entries
            .iter()
            .position(|(a, _)| a.netns == path && a.interface == interface);
        by_path.or_else(|| {
            let id = netns::of(path).ok()?;
            self.entries
                .iter()
                .position(|(a, _)| a.id == id && a.interface == interface)
        })
    }

    /// Takes one off the list.
    pub fn remove(&mut self, at: usize) -> (Attachment, T) {
        self.entries.remove(at)
    }

    /// Those whose namespace is gone, or whose path leads elsewhere now: their places, highest first.
    pub fn vanished(&self) -> Vec<usize> {
        (0..self.entries.len())
            .rev()
            .filter(|at| !self.entries[*at].0.is_there())
            .collect()
    }

    /// The attachment at this place.
    pub fn get(&self, at: usize) -> Option<&(Attachment, T)> {
        self.entries.get(at)
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &(Attachment, T)> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
