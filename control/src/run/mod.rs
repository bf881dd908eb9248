//! Decides when what is known becomes what is served: one loop over source, kernel, pods and requests. It never
//! touches a packet.
//!
//! The order of things is load-bearing. A pod's port and its policy are published in one snapshot, so that no packet
//! of a new pod meets a policy that is missing. A port that goes is unpublished first and closed after, so that no
//! packet is sent to a port that is gone. Nothing is published before the source was read completely, the underlay is
//! known and the own Node is valid.
//!
//! A clean stop leaves nothing of ours in the node's namespace: addresses and routes of `sluice0`, reserved ports,
//! kept neighbours and the socket are taken back. Pods keep their interfaces, and the list of attachments stays: they
//! belong to pods that live on, and the next agent takes them up without a pod noticing more than a pause. Detach a
//! pod to remove its interface.

mod announce;
mod apply;
mod control;
mod dataplane;
mod draining;
mod drops;
mod empty;
mod followed;
mod lasting;
mod notices;
mod other_uplink;
mod own_server;
mod pods;
mod problems;
mod rates;
mod rows;
mod slow;
mod start;
mod status;

pub use control::Ending;
pub use dataplane::{Dataplane, DroppedPacket, PodPort};
pub use empty::empty_parts;
pub use followed::Followed;
pub use other_uplink::{ANNOTATION as UPLINK_ANNOTATION, chosen_uplink};
pub use slow::SLOW_NS;
pub use start::{ControlSettings, Handle, StartError, Testing, start};
