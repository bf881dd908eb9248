//! Decides how a frame enters and leaves a VXLAN tunnel (RFC 7348). It never sends, receives or knows Kubernetes.

mod decapsulate;
mod ecn;
mod template;

pub use decapsulate::{Inner, decapsulate, decapsulate_plain};
pub use ecn::{decap_ecn, encap_ecn};
pub use template::{OVERHEAD_V4, OVERHEAD_V6, Template, Tunnel, is_source_port, source_port};

/// VXLAN flag: the network identifier is valid (RFC 7348 section 5).
const VNI_VALID: u8 = 0x08;
