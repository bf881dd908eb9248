//! An API server with a small cluster of its own, somebody who follows it, and what he should know.

use super::objects::{NODE, OTHER, node, pod, service, slice};
use serde_json::Value;
use sluice_apiserver::Front;
use sluice_apiserver::site::{self, Site};
use sluice_control::model::{Change, Key, Kind, Object, Store};
use sluice_control::objects::decode;
use sluice_control::source::{Cluster, Event, Kubernetes, Problem};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After which a condition counts as never met.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a truth is compared with before it is asked for again, as a cluster's own controllers may have changed it.
const TRUE_FOR: Duration = Duration::from_millis(500);
/// Kinds by their plural names.
const KINDS: [(&str, Kind); 7] = [
    ("nodes", Kind::Node),
    ("namespaces", Kind::Namespace),
    ("pods", Kind::Pod),
    ("services", Kind::Service),
    ("endpointslices", Kind::EndpointSlice),
    ("networkpolicies", Kind::NetworkPolicy),
    ("servicecidrs", Kind::ServiceCidr),
];

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

fn names_pods(policy: &Value) -> bool {
    let rules = |way: &str| policy["spec"][way].as_array().cloned().unwrap_or_default();
    let peers = |rule: &Value| [&rule["from"], &rule["to"]].map(|peers| peers.as_array().cloned().unwrap_or_default());
    let mut all = ["ingress", "egress"].map(rules).into_iter().flatten();
    all.any(|rule| {
        let mut peers = peers(&rule).into_iter().flatten();
        peers.any(|peer| !peer["podSelector"].is_null() || !peer["namespaceSelector"].is_null())
    })
}

/// A folder of its own, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let random = fastrand::u64(..);
        let path = std::env::temp_dir().join(format!("sluice-kubernetes-{}-{random:x}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How `kubeconfig` is followed by a node.
pub(super) fn cluster(kubeconfig: &Path, node: String) -> Cluster {
    Cluster {
        kubeconfig: Some(kubeconfig.to_owned()),
        servers: Vec::new(),
        node,
        state: None,
        silence: Cluster::SILENCE,
    }
}

/// Somebody who follows, and what he knows.
pub(super) struct Follower {
    pub(super) source: Kubernetes,
    pub(super) store: Store,
    /// Our objects; those of others are in the store alone.
    pub(super) objects: BTreeMap<Key, Object>,
    /// What is told now, by origin.
    pub(super) problems: BTreeMap<String, Vec<Problem>>,
    /// Changes of our objects, of which each made a difference.
    pub(super) changes: u64,
    names: site::Names,
    _folder: Folder,
}

impl Follower {
    pub(super) fn of(ours: &Ours) -> Self {
        Self::with(ours, |_| {})
    }

    pub(super) fn with(ours: &Ours, change: impl FnOnce(&mut Cluster)) -> Self {
        let folder = Folder::new();
        let kubeconfig = folder.write("kubeconfig", &ours.front().kubeconfig());
        let names = ours.0.names().clone();
        let mut cluster = cluster(&kubeconfig, names.of(NODE));
        change(&mut cluster);
        Self {
            source: Kubernetes::follow(cluster).unwrap(),
            store: Store::default(),
            objects: BTreeMap::new(),
            problems: BTreeMap::new(),
            changes: 0,
            names,
            _folder: folder,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Change(change) => {
                assert!(self.store.apply(change.clone()), "{change:?} changes nothing");
                let own = |key: &Key| self.names.own(&key.namespace, &key.name);
                match change {
                    Change::Upsert(object) if own(&object.key()) => _ = self.objects.insert(object.key(), object),
                    Change::Delete(key) if own(&key) => _ = self.objects.remove(&key),
                    _ => return,
                }
                self.changes += 1;
            }
            Event::Problem(problem) => self.problems.entry(problem.origin.clone()).or_default().push(problem),
            Event::Solved { origin } => _ = self.problems.remove(&origin),
            Event::Ignored { .. } => panic!("only files are told to hold more"),
        }
    }

    /// Takes in what has come.
    pub(super) fn listen(&mut self) {
        while let Some(event) = self.source.try_next() {
            self.take(event);
        }
    }

    /// Takes in what comes until the condition holds.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.listen();
            if met(self) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {what}; {:?}",
                self.problems
            );
            std::thread::sleep(Duration::from_millis(2));
        }
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

    /// Texts of all problems.
    pub(super) fn told(&self) -> String {
        let all: Vec<String> = self.problems.values().flatten().map(Problem::to_string).collect();
        all.join("\n")
    }
}

/// What should be known of all of ours that the server has: the slow way, without selectors.
pub(super) fn truth(ours: &Ours) -> BTreeMap<Key, Object> {
    let text = |object: &Value, path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    // Whoever's policy it is: all are followed.
    let others = ours.names_pods();
    let own = ours.0.names().of(NODE);
    let mut all = BTreeMap::new();
    for (plural, kind) in KINDS {
        for object in ours.0.all(plural).unwrap() {
            let labels = &object["metadata"]["labels"];
            let foreign = ["headless", "service-proxy-name"]
                .iter()
                .any(|of| !labels[format!("service.kubernetes.io/{of}")].is_null());
            let place = text(&object, "/spec/nodeName");
            let ended = matches!(&*text(&object, "/status/phase"), "Succeeded" | "Failed");
            let host = object.pointer("/spec/hostNetwork").is_some_and(|host| host == true);
            let wanted = match kind {
                Kind::Pod => place == own || (others && !place.is_empty() && !ended && !host),
                Kind::Service | Kind::EndpointSlice => !foreign,
                _ => true,
            };
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
