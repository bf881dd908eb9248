//! Decides what one generation of configuration looks like and how workers get it. It never looks at a packet and never waits.

mod endpoints;
mod forwarding;
mod node;
mod ports;
mod prefix;
mod publish;
mod services;
mod snapshot;
mod stamps;

pub use endpoints::EndpointIndex;
pub use forwarding::{Adjacency, AdjacencyIndex, Forwarding, Link, Peer, PeerSlot, Route};
pub use node::Node;
pub use ports::{Caps, Port, PortKind, PortTable};
pub use prefix::{Prefix, Prefixes};
pub use publish::{Publisher, Subscriber};
pub use services::Services;
pub use snapshot::{Moved, Parts, Policies, Snapshot};
pub use stamps::{Deps, Stamps, dep};
