//! Decides what an object of each kind is read into, and which record becomes of it.

use super::fault::Faults;
use super::parts::Meta;
use super::{cluster_policy, node, pod, policy, service, service_cidr, slice};
use crate::model::Object;
use std::sync::Arc;

/// What an object of one kind is read into.
pub(super) trait Read {
    fn meta(&mut self) -> &mut Meta;
    /// The record, unless nothing of it is served.
    fn object(self, faults: &mut Faults) -> Option<Object>;
}

impl Read for node::Node {
    fn meta(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        Some(Object::Node(Arc::new(node::convert(self, faults))))
    }
}

impl Read for pod::Namespace {
    fn meta(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn object(self, _: &mut Faults) -> Option<Object> {
        Some(Object::Namespace(Arc::new(pod::convert_namespace(self))))
    }
}

impl Read for pod::Pod {
    fn meta(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        Some(Object::Pod(Arc::new(pod::convert(self, faults))))
    }
}

impl Read for service::Service {
    fn meta(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        service::convert(self, faults).map(|record| Object::Service(Arc::new(record)))
    }
}

impl Read for slice::Slice {
    fn meta(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        slice::convert(self, faults).map(|record| Object::Slice(Arc::new(record)))
    }
}

impl Read for service_cidr::ServiceCidr {
    fn meta(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        Some(Object::ServiceCidr(Arc::new(service_cidr::convert(self, faults))))
    }
}

impl Read for policy::Checked {
    fn meta(&mut self) -> &mut Meta {
        &mut self.policy.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        let record = policy::convert(self.policy, self.unknown, faults);
        Some(Object::Policy(Arc::new(record)))
    }
}

impl Read for cluster_policy::Checked {
    fn meta(&mut self) -> &mut Meta {
        &mut self.policy.metadata
    }

    fn object(self, faults: &mut Faults) -> Option<Object> {
        let record = cluster_policy::convert(self, faults);
        Some(Object::ClusterPolicy(Arc::new(record)))
    }
}
