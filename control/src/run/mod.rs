//! Decides when what is known becomes what is served: one loop over source, kernel, pods and requests. It never touches a packet.

mod dataplane;

pub use dataplane::{Dataplane, PodPort};
