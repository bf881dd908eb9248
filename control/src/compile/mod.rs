//! Decides what the packet path is given for the model and the node's state at one moment. It never reads a file, a socket or a clock.

mod inputs;

pub use inputs::{AttachedPod, FibRoute, HostPort, Inputs, Neighbour, Settings, Underlay, Uplink, UplinkPort};
