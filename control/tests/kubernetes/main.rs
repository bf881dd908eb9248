//! The source `kubernetes` against an API server: what arrives in a store is what the server has, whatever happens on the way.
//!
//! The server is the stand-in, or the one that `SLUICE_TEST_KUBECONFIG` names (`make test-kube`); `only-the-stand-in.txt` lists what no
//! other can be told to do.

#[path = "../common/folder.rs"]
mod folder;
#[path = "../common/follower.rs"]
mod follower;
#[path = "../common/wanted.rs"]
mod wanted;

mod announce;
mod cluster;
mod cluster_policies;
mod cuts;
mod detour;
mod faults;
mod follow;
mod objects;
mod pods;
mod reach;
mod restart;
mod rights;
mod wrong;
