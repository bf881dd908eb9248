//! An API server with a small cluster of its own, somebody who follows it, and what he should know.

pub(super) use crate::folder::Folder;
pub(super) use crate::follower::{Follower, cluster};
use crate::wanted::{KINDS, names_pods, wanted};

use super::objects::{NODE, OTHER, node, pod, service, slice};
use serde_json::Value;
use sluice_apiserver::Front;
use sluice_apiserver::site::{self, Site};
use sluice_control::model::{Key, Kind, Object};
use sluice_control::objects::decode;
use sluice_control::source::Cluster;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a truth is compared with before it is asked for again, as a cluster's own controllers may have changed it.
const TRUE_FOR: Duration = Duration::from_millis(500);

/// The plural name of cluster policies.
pub(super) const CLUSTER_POLICIES: &str = "clusternetworkpolicies";

/// A site with objects of all kinds but policies; what a test does to it comes down to a few words.
pub(super) struct Ours(pub(super) Site);

/// With objects of all kinds but policies.
pub(super) fn server() -> Ours {
    standard(Ours(Site::new().unwrap()))
}

/// With them from now on.
pub(super) fn standard(ours: Ours) -> Ours {
    for object in [
        node(NODE, "198.18.1.0/24"),
        node(OTHER, "198.18.2.0/24"),
        pod("web", NODE, "198.18.1.5"),
        pod("far", OTHER, "198.18.2.5"),
        service("web", 80),
        slice("web", &["198.18.1.5", "198.18.2.5"]),
    ] {
        ours.apply(object);
    }
    ours
}

impl Ours {
    pub(super) fn front(&self) -> &Front {
        self.0.front()
    }

    #[track_caller]
    pub(super) fn apply(&self, object: Value) {
        self.0.apply(object).unwrap();
    }

    #[track_caller]
    pub(super) fn delete(&self, plural: &str, name: &str) {
        assert!(self.0.delete(plural, name).unwrap(), "{plural} {name}");
    }

    /// Nobody gets through until it is opened again.
    pub(super) fn shut(&self) {
        self.front().lines().refuse(true);
        self.front().lines().close_all();
    }

    pub(super) fn open(&self) {
        self.front().lines().refuse(false);
    }

    pub(super) fn requests(&self, verb: &str, plural: &str) -> u64 {
        self.front().counters().requests(verb, plural)
    }

    /// Requests for all objects of a kind, or of any kind that is always there, as a list or as a stream that begins with all.
    pub(super) fn lists(&self, plural: &str) -> u64 {
        match plural {
            "" => self.front().lists("") - self.front().lists(CLUSTER_POLICIES),
            plural => self.front().lists(plural),
        }
    }

    /// The same of all kinds that a first complete state waits for.
    pub(super) fn lists_of_what_is_needed(&self) -> u64 {
        let needed = KINDS.iter().filter(|(_, kind)| *kind != Kind::ServiceCidr);
        needed.map(|(plural, _)| self.lists(plural)).sum()
    }

    /// Whether a stream of every kind has been asked for.
    pub(super) fn follows_all(&self) -> bool {
        KINDS.iter().all(|(plural, _)| self.requests("watch", plural) > 0)
    }

    /// Whether some policy, whoever's, names pods.
    pub(super) fn names_pods(&self) -> bool {
        let all = self.0.all("networkpolicies").unwrap();
        all.iter().any(names_pods) || !self.cluster_policies().is_empty()
    }

    /// Cluster policies, all of which name pods; only the stand-in has them.
    fn cluster_policies(&self) -> Vec<Value> {
        if site::is_real() {
            return Vec::new();
        }
        let all = self.0.stand_in().objects(CLUSTER_POLICIES);
        all.iter().map(|object| (**object).clone()).collect()
    }
}

impl Follower {
    pub(super) fn of(ours: &Ours) -> Self {
        Self::with(ours, |_| {})
    }

    pub(super) fn with(ours: &Ours, change: impl FnOnce(&mut Cluster)) -> Self {
        let names = ours.0.names().clone();
        let node = names.of(NODE);
        let own = move |key: &Key| names.own(&key.namespace, &key.name);
        Self::begin(&ours.front().kubeconfig(), node, own, change)
    }

    /// Until it knows what the server has.
    #[track_caller]
    pub(super) fn catch_up(&mut self, ours: &Ours) {
        let (mut wanted, mut asked) = (truth(ours), Instant::now());
        self.until("what is known is what there is", |f| {
            if asked.elapsed() > TRUE_FOR {
                (wanted, asked) = (truth(ours), Instant::now());
            }
            f.store.synced() && f.objects == wanted
        });
    }

    /// How many of our objects are known of a kind.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.objects.keys().filter(|key| key.kind == kind).count()
    }

    /// Whether one of ours is known.
    pub(super) fn knows(&self, kind: Kind, name: &str) -> bool {
        self.objects.keys().any(|key| key.kind == kind && key.name == name)
    }
}

/// What should be known of all of ours that the server has: the slow way, without selectors.
pub(super) fn truth(ours: &Ours) -> BTreeMap<Key, Object> {
    // Whoever's policy it is: all are followed.
    let others = ours.names_pods();
    let own = ours.0.names().of(NODE);
    let mut all = BTreeMap::new();
    for (plural, kind) in KINDS {
        for object in ours.0.all(plural).unwrap() {
            let wanted = wanted(kind, &object, &own, others);
            let object = decode(kind, object).object.filter(|_| wanted);
            let of_ours = |key: &Key| ours.0.names().own(&key.namespace, &key.name);
            if let Some(object) = object.filter(|object| of_ours(&object.key())) {
                all.insert(object.key(), object);
            }
        }
    }
    for object in ours.cluster_policies() {
        let object = decode(Kind::ClusterNetworkPolicy, object).object.unwrap();
        all.insert(object.key(), object);
    }
    all
}
