//! The source `kubernetes` against the stand-in API server alone: what no other server can be told to do, or should have done to it. All else is
//! in `tests/kubernetes`, for any server.

#[path = "../common/folder.rs"]
mod folder;
#[path = "../common/follower.rs"]
mod follower;
#[path = "../common/wanted.rs"]
mod wanted;

mod cluster;
#[path = "../kubernetes/detour.rs"]
mod detour;
mod events;
mod hostile;
mod learned;
mod objects;
mod service_cidrs;
