//! Decides what makes two pods the same to every policy. It never knows their names or addresses.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::Equivalent;
use sluice_wire::Proto;

use crate::model::{Labels, NamedPort, Namespace, Pod};

/// All that a policy can tell a pod by, except its addresses. Pods with equal content share an identity.
#[derive(Clone, Debug)]
pub struct Content {
    /// Name of the namespace.
    pub namespace: String,
    /// The namespace itself; `None` while there is no record of it, and then no `namespaceSelector` matches.
    pub namespace_record: Option<Arc<Namespace>>,
    /// Labels of the pod.
    pub labels: Labels,
    /// Named ports, sorted, one per name and protocol.
    pub named_ports: Vec<NamedPort>,
}

impl Content {
    /// The number behind a port name, if these pods have it for this protocol.
    pub fn named_port(&self, name: &str, proto: Proto) -> Option<u16> {
        self.named_ports
            .iter()
            .find(|p| p.name == name && p.proto == proto)
            .map(|p| p.port)
    }

    fn view(&self) -> View<'_> {
        View {
            namespace: &self.namespace,
            namespace_record: self.namespace_record.as_ref(),
            labels: &self.labels,
            named_ports: Cow::Borrowed(&self.named_ports),
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for Content {}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.view().hash(state);
    }
}

/// A pod's content before it is copied: looks up an identity that exists already without cloning a label.
#[derive(Hash, PartialEq)]
pub(crate) struct View<'a> {
    namespace: &'a str,
    namespace_record: Option<&'a Arc<Namespace>>,
    labels: &'a Labels,
    named_ports: Cow<'a, [NamedPort]>,
}

impl<'a> View<'a> {
    pub(crate) fn of(pod: &'a Pod, namespace_record: Option<&'a Arc<Namespace>>) -> Self {
        View {
            namespace: &pod.namespace,
            namespace_record,
            labels: &pod.labels,
            named_ports: Cow::Owned(canonical_ports(pod)),
        }
    }

    pub(crate) fn to_content(&self) -> Content {
        Content {
            namespace: self.namespace.to_owned(),
            namespace_record: self.namespace_record.cloned(),
            labels: self.labels.clone(),
            named_ports: self.named_ports.to_vec(),
        }
    }
}

impl Equivalent<Arc<Content>> for View<'_> {
    fn equivalent(&self, key: &Arc<Content>) -> bool {
        *self == key.view()
    }
}

/// The pod's named ports as they count: the first of each name and protocol, sorted.
pub(crate) fn canonical_ports(pod: &Pod) -> Vec<NamedPort> {
    let mut ports = pod.named_ports.clone();
    // Stable, so that of equal names the first one stays in front and survives.
    ports.sort_by(|a, b| (&a.name, a.proto).cmp(&(&b.name, b.proto)));
    ports.dedup_by(|later, first| later.name == first.name && later.proto == first.proto);
    ports
}
