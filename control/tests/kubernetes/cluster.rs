//! A stand-in API server, somebody who follows it, and what he should know.

use super::objects::{NODE, node, pod, service, slice};
use serde_json::Value;
use sluice_apiserver::{Server, Settings};
use sluice_control::model::{Change, Key, Kind, Object, Store};
use sluice_control::objects::decode;
use sluice_control::source::{Cluster, Event, Kubernetes, Problem};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After which a condition counts as never met.
const PATIENCE: Duration = Duration::from_secs(60);
/// Kinds by their plural names.
const KINDS: [(&str, Kind); 7] = [
    ("nodes", Kind::Node),
    ("namespaces", Kind::Namespace),
    ("pods", Kind::Pod),
    ("services", Kind::Service),
    ("endpointslices", Kind::EndpointSlice),
    ("networkpolicies", Kind::NetworkPolicy),
    ("clusternetworkpolicies", Kind::ClusterNetworkPolicy),
];

/// With objects of all kinds but policies.
pub(super) fn server() -> Server {
    server_at("127.0.0.1".parse().unwrap())
}

/// The same at an address.
pub(super) fn server_at(address: IpAddr) -> Server {
    let server = Server::start(Settings {
        listen: (address, 0).into(),
        history: 1000,
        ..Settings::default()
    })
    .unwrap();
    for object in [
        node(NODE, "10.244.1.0/24"),
        node("node-b", "10.244.2.0/24"),
        pod("web", NODE, "10.244.1.5"),
        pod("far", "node-b", "10.244.2.5"),
        service("web", "10.96.0.10", 80),
        slice("web", &["10.244.1.5", "10.244.2.5"]),
    ] {
        server.apply(object).unwrap();
    }
    server
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

/// How `kubeconfig` is followed.
pub(super) fn cluster(kubeconfig: &Path) -> Cluster {
    Cluster {
        kubeconfig: Some(kubeconfig.to_owned()),
        servers: Vec::new(),
        node: NODE.to_owned(),
        state: None,
        silence: Cluster::SILENCE,
    }
}

/// Somebody who follows, and what he knows.
pub(super) struct Follower {
    pub(super) source: Kubernetes,
    pub(super) store: Store,
    /// All objects.
    pub(super) objects: BTreeMap<Key, Object>,
    /// What is told now, by origin.
    pub(super) problems: BTreeMap<String, Vec<Problem>>,
    /// Changes of objects, of which each made a difference.
    pub(super) changes: u64,
    _folder: Folder,
}

impl Follower {
    pub(super) fn of(server: &Server) -> Self {
        Self::with(server, |_| {})
    }

    pub(super) fn with(server: &Server, change: impl FnOnce(&mut Cluster)) -> Self {
        let folder = Folder::new();
        let mut cluster = cluster(&folder.write("kubeconfig", &server.kubeconfig(None)));
        change(&mut cluster);
        Self {
            source: Kubernetes::follow(cluster).unwrap(),
            store: Store::default(),
            objects: BTreeMap::new(),
            problems: BTreeMap::new(),
            changes: 0,
            _folder: folder,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Change(change) => {
                self.changes += u64::from(change != Change::Synced);
                assert!(self.store.apply(change.clone()), "{change:?} changes nothing");
                match change {
                    Change::Upsert(object) => _ = self.objects.insert(object.key(), object),
                    Change::Delete(key) => _ = self.objects.remove(&key),
                    Change::Synced => {}
                }
            }
            Event::Problem(problem) => self.problems.entry(problem.origin.clone()).or_default().push(problem),
            Event::Solved { origin } => _ = self.problems.remove(&origin),
            Event::Ignored { .. } => panic!("only files are told to hold more"),
        }
    }

    /// Takes in what comes until the condition holds.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, met: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.source.try_next() {
                self.take(event);
            }
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
    pub(super) fn catch_up(&mut self, server: &Server) {
        self.until("what is known is what there is", |f| {
            f.store.synced() && f.objects == truth(server)
        });
    }

    /// Texts of all problems.
    pub(super) fn told(&self) -> String {
        let all: Vec<String> = self.problems.values().flatten().map(Problem::to_string).collect();
        all.join("\n")
    }
}

/// What should be known of all that the server has: the slow way, without selectors.
pub(super) fn truth(server: &Server) -> BTreeMap<Key, Object> {
    let text = |object: &Value, path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let named = |object: &Value| object.pointer("/spec/ingress/0/from/0/podSelector").is_some();
    let of_cluster = |object: &Value| object.pointer("/spec/ingress/0/from/0").is_some();
    let others = server.objects("networkpolicies").iter().any(|policy| named(policy))
        || server
            .objects("clusternetworkpolicies")
            .iter()
            .any(|policy| of_cluster(policy));
    let mut all = BTreeMap::new();
    for (plural, kind) in KINDS {
        for kept in server.objects(plural) {
            let object = (*kept).clone();
            let labels = &object["metadata"]["labels"];
            let foreign = ["headless", "service-proxy-name"]
                .iter()
                .any(|of| !labels[format!("service.kubernetes.io/{of}")].is_null());
            let place = text(&object, "/spec/nodeName");
            let ended = matches!(&*text(&object, "/status/phase"), "Succeeded" | "Failed");
            let host = object.pointer("/spec/hostNetwork").is_some_and(|host| host == true);
            let wanted = match kind {
                Kind::Pod => place == NODE || (others && !place.is_empty() && !ended && !host),
                Kind::Service | Kind::EndpointSlice => !foreign,
                _ => true,
            };
            if let Some(object) = decode(kind, object).object.filter(|_| wanted) {
                all.insert(object.key(), object);
            }
        }
    }
    all
}
