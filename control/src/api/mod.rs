//! Decides how a person or a program talks to the running agent: one Unix socket, one JSON object per line each way.
//! It never changes anything itself; every verb is answered by the control loop.

mod request;
mod rows;
mod server;
mod socket;
mod status;

pub use request::{
    AttachRequest, DetachRequest, DropQuery, EndpointsRequest, FlowQuery, LogRequest, PoliciesRequest, Request,
    ServicesRequest,
};
pub use rows::{
    AttachAnswer, CountersReport, DropCount, DropRow, DropsReport, EndpointRow, FlowRow, FrontendRow, LogAnswer,
    LostCount, PolicyRow, PolicySide, PortCounters, ProbeAnswer, RingLevel, RingRow, SelectingPolicyRow, ServiceRow,
};
pub use server::{Call, Limits, serve};
pub use socket::Socket;
pub use status::{
    BurstClass, DropStatus, HostStatus, Problem, Reply, SourceStatus, Status, UplinkStatus, Warning, WorkerRow,
    WorkerTotals,
};
