//! Decides what a running server is made of, and what a test may do to it from inside the process. It never speaks HTTP.

use crate::auth::{Access, Denial};
use crate::counters::Counters;
use crate::faults::{Faults, Rule, RuleId};
use crate::lines::Lines;
use crate::list::FRESH_WITHIN;
use crate::resources::{DEFINITIONS, Resource, built_in, defined_by};
use crate::store::{Kept, Store};
use crate::tls::Identity;
use crate::{load, serve, write};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Plain HTTP instead of TLS.
    pub plain: bool,
    /// Names and addresses for the certificate, besides the usual ones and the address above.
    pub names: Vec<String>,
    /// Changes that are remembered.
    pub history: usize,
    /// Answers a watch from a forgotten version with HTTP status 410 instead of an ERROR event.
    pub expired_as_status: bool,
    /// How long a watch lasts whose client does not say.
    pub watch_seconds: u64,
    /// How often bookmarks are sent.
    pub bookmark_every: Duration,
    /// How long a request waits for a version that is not there yet.
    pub fresh_within: Duration,
    /// Minor version of Kubernetes that `/version` tells.
    pub minor: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            plain: false,
            names: Vec::new(),
            history: 50_000,
            expired_as_status: false,
            watch_seconds: 1800,
            bookmark_every: Duration::from_secs(60),
            fresh_within: FRESH_WITHIN,
            minor: 34,
        }
    }
}

/// Everything that requests share.
pub(crate) struct Inner {
    /// How it was set up.
    pub settings: Settings,
    /// Signals changes of the store.
    pub changed: watch::Sender<u64>,
    /// Asks all streams for a bookmark.
    pub nudge: watch::Sender<u64>,
    /// What is served now.
    pub served: watch::Sender<Vec<Arc<Resource>>>,
    /// What goes wrong.
    pub faults: Faults,
    /// What was counted.
    pub counters: Counters,
    /// The connections.
    pub lines: Lines,
    /// Whether watches may ask for initial events.
    pub watch_list: AtomicBool,
    store: Mutex<Store>,
    access: Mutex<Access>,
    hidden: Mutex<BTreeSet<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn new(settings: Settings) -> Self {
        Self {
            store: Mutex::new(Store::new(settings.history)),
            settings,
            changed: watch::channel(0).0,
            nudge: watch::channel(0).0,
            served: watch::channel(built_in()).0,
            faults: Faults::default(),
            counters: Counters::default(),
            lines: Lines::default(),
            watch_list: AtomicBool::new(true),
            access: Mutex::default(),
            hidden: Mutex::default(),
        }
    }

    /// The objects.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.store)
    }

    /// Who may do what.
    pub(crate) fn access(&self) -> MutexGuard<'_, Access> {
        locked(&self.access)
    }

    /// Tells streams that the store changed.
    pub(crate) fn announce(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// What is served now.
    pub(crate) fn resources(&self) -> Vec<Arc<Resource>> {
        self.served.borrow().clone()
    }

    /// One of them.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let served = self.served.borrow();
        let mut served = served.iter();
        served
            .find(|one| one.group == group && one.version == version && one.plural == plural)
            .cloned()
    }

    /// Serves what definitions say, and what is not hidden.
    pub(crate) fn serve_defined(&self) {
        let mut all = built_in();
        {
            let store = self.store();
            store.scan(DEFINITIONS, store.version(), "", "", &mut |_, definition| {
                all.extend(defined_by(definition));
                true
            });
        }
        let hidden = locked(&self.hidden);
        all.retain(|one| !hidden.contains(&one.plural));
        self.served.send_if_modified(|served| {
            let differs = *served != all;
            *served = all;
            differs
        });
    }
}

/// A running server. It ends when it is dropped.
pub struct Server {
    inner: Arc<Inner>,
    address: SocketAddr,
    identity: Option<Identity>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts on threads of its own.
    pub fn start(settings: Settings) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let identity = match settings.plain {
            true => None,
            false => Some(Identity::new(&settings.names, settings.listen.ip()).context("certificates")?),
        };
        let inner = Arc::new(Inner::new(settings));
        let acceptor = identity.as_ref().map(Identity::acceptor).transpose()?;
        let address = {
            let _guard = runtime.enter();
            serve::listen(&inner, inner.settings.listen, acceptor).context("listen")?
        };
        let server = Self {
            inner,
            address,
            identity,
            runtime: Some(runtime),
        };
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            server
                .apply(serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
        }
        Ok(server)
    }

    /// Serves those as well who connect to this socket, which may be of another network namespace.
    pub fn also_listen(&self, listener: TcpListener) -> Result<()> {
        let acceptor = self.identity.as_ref().map(Identity::acceptor).transpose()?;
        let runtime = self.runtime.as_ref().context("it ends")?;
        let _guard = runtime.enter();
        serve::also(&self.inner, acceptor, listener)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The authority that signed its certificate, as PEM; empty without TLS.
    pub fn authority(&self) -> &str {
        self.identity
            .as_ref()
            .map(|identity| identity.authority.as_str())
            .unwrap_or_default()
    }

    /// A kubeconfig that names it, with a token if there is one.
    pub fn kubeconfig(&self, token: Option<&str>) -> String {
        crate::tls::kubeconfig(&self.url(), self.authority(), token)
    }

    /// Creates or replaces an object whole, with its status; makes its namespace if there is none.
    pub fn apply(&self, object: Value) -> Result<Kept> {
        load::apply(&self.inner, object)
    }

    /// Applies every document of a YAML text.
    pub fn apply_yaml(&self, text: &str) -> Result<usize> {
        load::yaml(&self.inner, text)
    }

    /// Applies a file, or every YAML file of a folder in the order of names.
    pub fn load(&self, path: &Path) -> Result<usize> {
        load::path(&self.inner, path)
    }

    /// Deletes an object at once, whatever holds it. False if there is none.
    pub fn delete(&self, plural: &str, namespace: Option<&str>, name: &str) -> bool {
        let resources = self.inner.resources();
        let Some(resource) = resources.iter().find(|one| one.plural == plural) else {
            return false;
        };
        let key = resource.key(namespace.unwrap_or_default(), name);
        let gone = {
            let mut store = self.inner.store();
            write::remove_with_content(&self.inner, &mut store, resource, &key, name)
        };
        self.inner.announce();
        self.inner.serve_defined();
        gone.is_some()
    }

    /// All objects of a resource.
    pub fn objects(&self, plural: &str) -> Vec<Kept> {
        let resources = self.inner.resources();
        let mut found = Vec::new();
        if let Some(resource) = resources.iter().find(|one| one.plural == plural) {
            let store = self.inner.store();
            store.scan(&resource.storage, store.version(), "", "", &mut |_, object| {
                found.push(object.clone());
                true
            });
        }
        found
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.inner.store().version()
    }

    /// Makes all versions before the newest unknown to whoever starts there.
    pub fn compact(&self) {
        self.inner.store().compact();
    }

    /// Keeps the cache at a version, as one that is behind after a fail-over; `None` lets it catch up.
    pub fn lag(&self, version: Option<u64>) {
        self.inner.store().lag(version);
        self.inner.announce();
    }

    /// Goes back to an earlier version, as after a restore from a copy, and closes all connections.
    pub fn restore(&self, version: u64) {
        self.inner.store().restore(version);
        self.inner.serve_defined();
        self.inner.lines.close_all();
        self.inner.announce();
    }

    /// Sends a bookmark to every stream that wants them.
    pub fn bookmark(&self) {
        self.inner.nudge.send_modify(|n| *n += 1);
    }

    /// Whether watches may ask for initial events, as newer servers have it.
    pub fn watch_list(&self, on: bool) {
        self.inner.watch_list.store(on, Ordering::Relaxed);
    }

    /// Serves a built-in resource or does not, as an older server.
    pub fn serve(&self, plural: &str, on: bool) {
        {
            let mut hidden = locked(&self.inner.hidden);
            if on {
                hidden.remove(plural)
            } else {
                hidden.insert(plural.into())
            };
        }
        self.inner.serve_defined();
    }

    /// Changes who may do what.
    pub fn access(&self) -> MutexGuard<'_, Access> {
        self.inner.access()
    }

    /// Forbids.
    pub fn deny(&self, denial: Denial) {
        self.inner.access().deny(denial);
    }

    /// Puts a fault in force.
    pub fn fault(&self, rule: Rule) -> RuleId {
        self.inner.faults.add(rule)
    }

    /// The faults in force.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The connections and what can be done to them.
    pub fn lines(&self) -> &Lines {
        &self.inner.lines
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// What all requests share, for the control socket.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The owner may itself run in a runtime, where waiting is forbidden.
            runtime.shutdown_background();
        }
    }
}
