//! Decides which destinations stay ours after their service is gone: those that connections still use, whose next packet the kernel would
//! answer with a reset. It never keeps a connection.

use crate::plane::Plane;
use sluice_io::xdp::MAX_FRONTENDS;
use sluice_wire::{Addr, Proto, Tuple};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// What a service is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Destination {
    /// An address, protocol and port of its own.
    Address(Addr, Proto, u16),
    /// A protocol and port at the node's addresses of one family: whether of IPv4.
    NodePort(Proto, u16, bool),
}

impl Destination {
    /// Both that a packet may have been sent to.
    fn of(sent: &Tuple) -> [Self; 2] {
        [
            Self::Address(sent.dst, sent.proto, sent.dport),
            Self::NodePort(sent.proto, sent.dport, sent.dst.is_v4()),
        ]
    }
}

/// Most that are kept; connections to more end as if they were not.
const MOST: usize = 1024;

/// What services are reached by, and what they were reached by before.
#[derive(Default)]
pub(crate) struct Leaving {
    wanted: BTreeSet<Destination>,
    /// And whether it was here at the last look already: by then no packet is under way that was judged with the service there.
    left: BTreeMap<Destination, bool>,
}

impl Leaving {
    /// These are the services' destinations now.
    pub(crate) fn follow(&mut self, wanted: BTreeSet<Destination>) {
        for gone in self.wanted.difference(&wanted) {
            if self.left.len() < MOST {
                self.left.insert(*gone, false);
            }
        }
        self.left.retain(|left, _| !wanted.contains(left));
        self.wanted = wanted;
    }

    /// All that is to be steered.
    pub(crate) fn all(&self) -> impl Iterator<Item = Destination> {
        let room = self.wanted.len() + MOST <= MAX_FRONTENDS;
        let left = self.left.keys().filter(move |_| room);
        self.wanted.iter().chain(left).copied()
    }

    /// Those that may go now if nothing uses them.
    pub(crate) fn due(&mut self) -> BTreeSet<Destination> {
        let due = self.left.iter().filter(|(_, seen)| **seen);
        let due = due.map(|(destination, _)| *destination).collect();
        self.left.values_mut().for_each(|seen| *seen = true);
        due
    }

    /// Lets those go that nothing uses, and that did not come back meanwhile. Whether there were any.
    pub(crate) fn let_go(&mut self, unused: &BTreeSet<Destination>) -> bool {
        let before = self.left.len();
        self.left.retain(|left, seen| !*seen || !unused.contains(left));
        self.left.len() != before
    }
}

/// Looks which of them are still in use; to be called about every second.
pub(crate) fn look(plane: &Plane) {
    let lock = || plane.uplink.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut unused, addresses) = {
        let mut uplink = lock();
        (uplink.due(), uplink.node_addresses().clone())
    };
    if unused.is_empty() {
        return;
    }
    plane.shared.connections.each(|record| {
        let [address, node_port] = Destination::of(&record.original);
        unused.remove(&address);
        if addresses.contains(&record.original.dst) {
            unused.remove(&node_port);
        }
    });
    if let Err(err) = lock().let_go(&unused) {
        tracing::warn!("cannot give destinations of services that are gone back to the kernel: {err}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ports: &[u16]) -> BTreeSet<Destination> {
        ports
            .iter()
            .map(|port| Destination::NodePort(Proto::TCP, *port, true))
            .collect()
    }

    fn all(leaving: &Leaving) -> BTreeSet<Destination> {
        leaving.all().collect()
    }

    #[test]
    fn what_is_gone_stays_for_two_looks_and_while_it_is_used() {
        let mut leaving = Leaving::default();
        leaving.follow(set(&[1, 2, 3]));
        assert!(leaving.due().is_empty());
        leaving.follow(set(&[3]));
        assert_eq!(all(&leaving), set(&[1, 2, 3]));
        assert!(leaving.due().is_empty(), "somebody may just be entering a connection");
        assert_eq!(leaving.due(), set(&[1, 2]));
        assert!(leaving.let_go(&set(&[1])));
        assert_eq!(all(&leaving), set(&[2, 3]));
        assert!(!leaving.let_go(&set(&[])));
        // Another service comes there, and goes between a question and its answer.
        leaving.follow(set(&[2, 3]));
        leaving.follow(set(&[3]));
        assert!(!leaving.let_go(&set(&[2])));
        assert_eq!(all(&leaving), set(&[2, 3]));
    }

    #[test]
    fn a_node_port_stays_in_the_family_that_was_served() {
        let mut leaving = Leaving::default();
        let [v4, v6] = [true, false].map(|v4| Destination::NodePort(Proto::TCP, 1, v4));
        leaving.follow([v4, v6].into());
        leaving.follow([v6].into());
        assert!(leaving.due().is_empty());
        assert_eq!(leaving.due(), [v4].into());
        // A connection through the other one's port keeps it no longer.
        let client = Addr::v6([9; 16]);
        let sent = Tuple {
            src: client,
            dst: Addr::v6([8; 16]),
            proto: Proto::TCP,
            sport: 5,
            dport: 1,
        };
        assert_eq!(Destination::of(&sent)[1], v6);
        assert!(leaving.let_go(&[v4].into()));
        assert_eq!(all(&leaving), [v6].into());
    }

    #[test]
    fn there_is_a_bound() {
        let mut leaving = Leaving::default();
        let ports = (0..=u16::MAX).map(|port| Destination::NodePort(Proto::TCP, port, true));
        leaving.follow(ports.collect());
        leaving.follow(BTreeSet::new());
        assert_eq!(leaving.all().count(), MOST);
    }
}
