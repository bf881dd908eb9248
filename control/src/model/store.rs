//! Decides which records are current and what changed since one last looked. It never judges their content.

use super::{
    ClusterPolicyRecord, Key, Kind, NamespaceRecord, NodeRecord, Object, PodRecord, PolicyRecord, ServiceCidrRecord,
    ServiceRecord, SliceRecord,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Namespace and name; the namespace is empty for kinds without.
pub type Name = (String, String);

/// What a source says. Objects (services, slices, pods, namespaces, policies) and the registry (nodes) may come from different
/// sources, so both speak this way.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object is now this.
    Upsert(Object),
    /// The object is gone.
    Delete(Key),
    /// Everything that existed when the source was opened has been said.
    Synced,
}

/// Numbers that grow whenever a record of a kind changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    /// Nodes.
    pub nodes: u64,
    /// Namespaces.
    pub namespaces: u64,
    /// Pods.
    pub pods: u64,
    /// Services and slices, by service.
    pub services: u64,
    /// Pod ranges of nodes.
    pub prefixes: u64,
    /// Policies, those of the cluster among them.
    pub policies: u64,
    /// Ranges of service addresses.
    pub service_cidrs: u64,
}

/// The current records.
#[derive(Clone, Debug, Default)]
pub struct Store {
    nodes: BTreeMap<Name, Arc<NodeRecord>>,
    namespaces: BTreeMap<Name, Arc<NamespaceRecord>>,
    pods: BTreeMap<Name, Arc<PodRecord>>,
    services: BTreeMap<Name, Arc<ServiceRecord>>,
    slices: BTreeMap<Name, Arc<SliceRecord>>,
    /// Slices by the service they belong to.
    slices_of: BTreeMap<Name, BTreeMap<String, Arc<SliceRecord>>>,
    policies: BTreeMap<Name, Arc<PolicyRecord>>,
    service_cidrs: BTreeMap<Name, Arc<ServiceCidrRecord>>,
    cluster_policies: BTreeMap<Name, Arc<ClusterPolicyRecord>>,
    revisions: Revisions,
    /// Services that changed last, the latest last: one for each of the last revisions.
    changed: VecDeque<Name>,
    /// The same of pods, with what they were before.
    changed_pods: VecDeque<(Name, Option<Arc<PodRecord>>)>,
    synced: bool,
}

/// Changed services, and pods, that are remembered; who is further behind looks at all.
const CHANGED: usize = 1024;

impl Store {
    /// Takes a change in; false when nothing is different afterwards.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Upsert(object) => self.upsert(object),
            Change::Delete(key) => self.delete(key),
            Change::Synced => !std::mem::replace(&mut self.synced, true),
        }
    }

    /// Whether a first complete state has been seen.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// What changed how often.
    pub fn revisions(&self) -> Revisions {
        self.revisions
    }

    /// Services whose objects changed after a revision, some perhaps several times; `None` if too many to know.
    pub fn services_changed_since(&self, revision: u64) -> Option<impl Iterator<Item = &Name>> {
        let count = usize::try_from(self.revisions.services.checked_sub(revision)?).ok()?;
        (count <= self.changed.len()).then(|| self.changed.iter().rev().take(count))
    }

    /// Pods that changed after a revision, with what they were then, in no order; `None` if too many to know.
    pub fn pods_changed_since(&self, revision: u64) -> Option<BTreeMap<Name, Option<Arc<PodRecord>>>> {
        let count = usize::try_from(self.revisions.pods.checked_sub(revision)?).ok()?;
        // The first change of a pod is the one that knows.
        (count <= self.changed_pods.len()).then(|| self.changed_pods.iter().rev().take(count).cloned().collect())
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeRecord>> {
        self.nodes.values()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Arc<NodeRecord>> {
        self.nodes.get(&(String::new(), name.to_owned()))
    }

    /// All namespaces, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<NamespaceRecord>> {
        self.namespaces.values()
    }

    /// All pods, by namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<PodRecord>> {
        self.pods.values()
    }

    /// One pod.
    pub fn pod(&self, name: &Name) -> Option<&Arc<PodRecord>> {
        self.pods.get(name)
    }

    /// All services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = (&Name, &Arc<ServiceRecord>)> {
        self.services.iter()
    }

    /// One service.
    pub fn service(&self, name: &Name) -> Option<&Arc<ServiceRecord>> {
        self.services.get(name)
    }

    /// The slices of one service, by name.
    pub fn slices_of(&self, service: &Name) -> impl Iterator<Item = &Arc<SliceRecord>> {
        self.slices_of.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// All policies, by namespace and name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<PolicyRecord>> {
        self.policies.values()
    }

    /// All ranges of service addresses, by name of their objects.
    pub fn service_cidrs(&self) -> impl Iterator<Item = &Arc<ServiceCidrRecord>> {
        self.service_cidrs.values()
    }

    /// All cluster policies, by name.
    pub fn cluster_policies(&self) -> impl Iterator<Item = &Arc<ClusterPolicyRecord>> {
        self.cluster_policies.values()
    }

    fn upsert(&mut self, object: Object) -> bool {
        let Key { namespace, name, .. } = object.key();
        let name = (namespace, name);
        let revisions = &mut self.revisions;
        match object {
            Object::Node(record) => {
                let before = self.nodes.get(&name).map(|before| &before.prefixes);
                revisions.prefixes += u64::from(before != Some(&record.prefixes));
                put(&mut self.nodes, name, record, &mut revisions.nodes)
            }
            Object::Namespace(record) => put(&mut self.namespaces, name, record, &mut revisions.namespaces),
            Object::Pod(record) => {
                let before = self.pods.get(&name);
                if before == Some(&record) {
                    return false;
                }
                let before = before.cloned();
                self.pods.insert(name.clone(), record);
                self.pod_changed(name, before);
                true
            }
            Object::Service(record) => {
                let changed = put(&mut self.services, name.clone(), record, &mut 0);
                if changed {
                    self.touch(name);
                }
                changed
            }
            Object::Policy(record) => put(&mut self.policies, name, record, &mut revisions.policies),
            Object::ServiceCidr(record) => put(&mut self.service_cidrs, name, record, &mut revisions.service_cidrs),
            Object::ClusterPolicy(record) => put(&mut self.cluster_policies, name, record, &mut revisions.policies),
            Object::Slice(record) => {
                if self.slices.get(&name) == Some(&record) {
                    return false;
                }
                self.unlink(&name);
                let service = (record.namespace.clone(), record.service.clone());
                self.touch(service.clone());
                self.slices_of
                    .entry(service)
                    .or_default()
                    .insert(name.1.clone(), record.clone());
                self.slices.insert(name, record);
                true
            }
        }
    }

    fn delete(&mut self, key: Key) -> bool {
        let name = (key.namespace, key.name);
        let revisions = &mut self.revisions;
        let (gone, revision) = match key.kind {
            Kind::Node => {
                let gone = self.nodes.remove(&name).is_some();
                revisions.prefixes += u64::from(gone);
                (gone, &mut revisions.nodes)
            }
            Kind::Namespace => (self.namespaces.remove(&name).is_some(), &mut revisions.namespaces),
            Kind::Pod => {
                let before = self.pods.remove(&name);
                let gone = before.is_some();
                if gone {
                    self.pod_changed(name, before);
                }
                return gone;
            }
            Kind::Service => {
                let gone = self.services.remove(&name).is_some();
                if gone {
                    self.touch(name);
                }
                return gone;
            }
            Kind::NetworkPolicy => (self.policies.remove(&name).is_some(), &mut revisions.policies),
            Kind::ServiceCidr => (self.service_cidrs.remove(&name).is_some(), &mut revisions.service_cidrs),
            Kind::ClusterNetworkPolicy => {
                let gone = self.cluster_policies.remove(&name).is_some();
                (gone, &mut revisions.policies)
            }
            Kind::EndpointSlice => return self.unlink(&name),
        };
        *revision += u64::from(gone);
        gone
    }

    fn unlink(&mut self, name: &Name) -> bool {
        let Some(old) = self.slices.remove(name) else {
            return false;
        };
        let service = (old.namespace.clone(), old.service.clone());
        self.touch(service.clone());
        if let Some(slices) = self.slices_of.get_mut(&service) {
            slices.remove(&name.1);
            if slices.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        true
    }
}

impl Store {
    fn pod_changed(&mut self, name: Name, before: Option<Arc<PodRecord>>) {
        self.revisions.pods += 1;
        if self.changed_pods.len() == CHANGED {
            self.changed_pods.pop_front();
        }
        self.changed_pods.push_back((name, before));
    }

    /// The objects of a service changed.
    fn touch(&mut self, service: Name) {
        self.revisions.services += 1;
        if self.changed.len() == CHANGED {
            self.changed.pop_front();
        }
        self.changed.push_back(service);
    }
}

fn put<T: PartialEq>(map: &mut BTreeMap<Name, Arc<T>>, name: Name, record: Arc<T>, revision: &mut u64) -> bool {
    if map.get(&name) == Some(&record) {
        return false;
    }
    map.insert(name, record);
    *revision += 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str, service: &str) -> Object {
        Object::Slice(Arc::new(SliceRecord {
            namespace: "default".into(),
            name: name.into(),
            service: service.into(),
            ..SliceRecord::default()
        }))
    }

    #[test]
    fn a_slice_that_changes_service_leaves_the_old_one() {
        let mut store = Store::default();
        let count = |store: &Store, service: &str| store.slices_of(&("default".into(), service.into())).count();
        assert!(store.apply(Change::Upsert(slice("s", "web"))));
        assert!(
            !store.apply(Change::Upsert(slice("s", "web"))),
            "the same again is no change"
        );
        assert!(store.apply(Change::Upsert(slice("s", "db"))));
        assert_eq!((count(&store, "web"), count(&store, "db")), (0, 1));
        assert!(store.apply(Change::Delete(slice("s", "db").key())));
        assert!(!store.apply(Change::Delete(slice("s", "db").key())));
        assert_eq!(count(&store, "db"), 0);
        // Once, then of both that it moved between, then once.
        assert_eq!(store.revisions().services, 4);
        let changed = |since| {
            store
                .services_changed_since(since)
                .map(|names| names.map(|name| name.1.as_str()).collect::<Vec<_>>())
        };
        assert_eq!(changed(1), Some(vec!["db", "db", "web"]));
        assert_eq!(changed(4), Some(vec![]));
        assert_eq!(changed(5), None, "that is to come");
    }
}
