//! A frame: its bytes' owner plus what has to be known about them.

use crate::PortSlot;

/// What is known about a frame's TCP or UDP checksum. `start` and `offset` count from the frame's first byte and are
/// kept true when headers are pushed or pulled (virtio 1.2 section 5.1.6.2, `csum_start` / `csum_offset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checksum {
    /// As it came from a wire: to be verified before anybody calls it good.
    #[default]
    Unverified,
    /// Verified, or made by us.
    Good,
    /// The field holds the pseudo-header's sum; who sends it on a wire must complete it over `start..`.
    Partial {
        /// First byte that is summed (the transport header), from the frame's first byte.
        start: u16,
        /// Where the sum goes, from `start`.
        offset: u16,
    },
}

/// Kind of a super-frame (virtio 1.2 section 5.1.6, `gso_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP, either family (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    Udp,
}

/// A frame that stands for several: the payload is to be cut into pieces of `size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Which headers repeat.
    pub kind: GsoKind,
    /// Payload bytes per segment; never 0.
    pub size: u16,
    /// TCP with CWR set: it belongs to the first segment only (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
}

/// What travels with a frame besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The port it came in by.
    pub ingress: PortSlot,
    /// Transport checksum state.
    pub checksum: Checksum,
    /// Present on super-frames.
    pub gso: Option<Gso>,
    /// A person asked to see this frame's way through the stages.
    pub trace: bool,
}

impl Meta {
    /// A plain frame from `ingress` about which nothing is known.
    pub const fn from_port(ingress: PortSlot) -> Self {
        Self {
            ingress,
            checksum: Checksum::Unverified,
            gso: None,
            trace: false,
        }
    }
}

/// One frame, in one place only: pool, burst or ring. `B` owns the bytes; whoever ends a frame gives `buf` back to its pool.
#[derive(Debug)]
#[must_use = "a frame that is not sent must go back to its pool"]
pub struct Frame<B> {
    /// The bytes, from the Ethernet header on.
    pub buf: B,
    /// What is known about them.
    pub meta: Meta,
}
