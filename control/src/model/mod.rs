//! Decides what is known of the cluster: one record an object, whatever source it came from. It never holds an object's original form.

mod records;
mod store;

pub use records::{
    ClusterPolicyRecord, Key, Kind, NamespaceRecord, NodeRecord, Object, PodRecord, PolicyRecord, ServiceCidrRecord,
    ServicePort, ServiceRecord, SliceEndpoint, SlicePort, SliceRecord, Vtep,
};
pub use store::{Change, Name, Revisions, Store};
