//! Decides what the tuples of a connection become on the way. It never touches a packet.

use crate::Choice;
use sluice_wire::{Addr, Proto, Tuple};

/// The source that a masqueraded connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// An address of this node.
    pub addr: Addr,
    /// A port (for ICMP echo: an identifier) that this node owns.
    pub port: u16,
}

/// One connection as its two ends see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What the client sends.
    pub original: Tuple,
    /// What the endpoint receives instead.
    pub forwarded: Tuple,
}

impl Rewrite {
    /// Towards the chosen endpoint, where there is one, from `source`, where it is masqueraded.
    pub fn new(original: Tuple, choice: Option<&Choice>, source: Option<Source>) -> Self {
        let mut forwarded = original;
        if let Some(choice) = choice {
            (forwarded.dst, forwarded.dport) = (choice.addr, choice.port);
        }
        if let Some(source) = source {
            (forwarded.src, forwarded.sport) = (source.addr, source.port);
            if matches!(forwarded.proto, Proto::ICMP | Proto::ICMPV6) {
                forwarded.dport = source.port; // An echo has one identifier, which stands for both ports.
            }
        }
        Self { original, forwarded }
    }

    /// What the endpoint answers with: the key under which a reply is known.
    pub const fn reply(&self) -> Tuple {
        self.forwarded.reversed()
    }

    /// What the client must receive in place of [`Self::reply`].
    pub const fn answered(&self) -> Tuple {
        self.original.reversed()
    }

    /// Whether packets change at all.
    pub fn is_identity(&self) -> bool {
        self.original == self.forwarded
    }
}
