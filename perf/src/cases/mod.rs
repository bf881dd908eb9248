//! Decides what kinds of packets there are. Each case says what comes in, and, byte for byte, what must go out.

mod packet;
mod traffic;

pub(crate) use packet::{Outer, Udp, build};
pub(crate) use traffic::{Arriving, Leaving, Traffic};

use serde::Serialize;

/// One way of a packet through a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// From pod to pod on one node
    PodToPod,
    /// From a pod into the tunnel to another node
    VxlanOut,
    /// Out of the tunnel to a pod
    VxlanIn,
    /// From a pod to a ClusterIP, served on another node
    ServiceOut,
    /// Its reply: out of the tunnel, translated back, to the pod
    ServiceReply,
    /// From outside to a node port, masqueraded, into the tunnel
    NodePort,
    /// As service-out, but each packet begins a connection
    FirstPacket,
}

impl Case {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PodToPod => "pod-to-pod",
            Self::VxlanOut => "vxlan-out",
            Self::VxlanIn => "vxlan-in",
            Self::ServiceOut => "service-out",
            Self::ServiceReply => "service-reply",
            Self::NodePort => "node-port",
            Self::FirstPacket => "first-packet",
        }
    }

    /// What happens to a packet, for people.
    pub(crate) fn steps(self) -> &'static str {
        match self {
            Self::PodToPod => "pod to pod, policy",
            Self::VxlanOut => "policy + vxlan out",
            Self::VxlanIn => "vxlan in + policy",
            Self::ServiceOut => "service + policy + vxlan out",
            Self::ServiceReply => "vxlan in + reverse translation + policy",
            Self::NodePort => "node port + masquerade + vxlan out",
            Self::FirstPacket => "first packet: service + policy + vxlan out",
        }
    }

    /// Whether each packet begins a connection.
    pub(crate) fn is_new_each_time(self) -> bool {
        self == Self::FirstPacket
    }
}
