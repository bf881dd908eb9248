//! Decides which backend serves a connection, and which rewrite that needs. It never opens a socket, reads a clock or knows a
//! Kubernetes type: time and randomness are arguments, and control hands in usable endpoints only.
//!
//! A choice has two halves. [`Service::pick`] leaves nothing behind but a turn that is taken, so that several workers may pick
//! for the same first packet; [`Runtime::commit`] is called once, for the pick that won the creation of the connection.

mod affinity;
mod endpoint;
mod frontend;
mod maglev;
mod masquerade;
mod ports;
mod rewrite;
mod runtime;
mod scheduler;
mod service;
mod state;
mod timeouts;
mod weights;

pub use endpoint::{Endpoint, EndpointSlot, ServiceSlot};
pub use frontend::{Frontend, FrontendKind, NodePort};
pub use maglev::Maglev;
pub use masquerade::{Masquerade, MasqueradeInput, TrafficPolicy, needs_masquerade};
pub use ports::{PortRange, PortRangeError, PortSet, SnatPorts};
pub use rewrite::{Rewrite, Source};
pub use runtime::Runtime;
pub use scheduler::{PickContext, Scheduler, SchedulerKind, UnknownScheduler};
pub use service::{Choice, ChosenBy, MAX_ENDPOINTS, Service, ServiceName, ServiceSpec};
pub use state::{ConnState, Direction, on_packet};
pub use timeouts::{Timeouts, timeout_ns};
