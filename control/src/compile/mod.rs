//! Decides what the packet path is given for the model and the node's state at one moment. It never reads a file, a socket or a clock.

mod inputs;
mod result;
mod slots;

pub use inputs::{AttachedPod, FibRoute, HostPort, Inputs, Neighbour, Settings, Underlay, Uplink, UplinkPort};
pub use result::{Compiled, Report, Severity, SlotKeeper, Steering};
