//! Decides where tests of a client find an API server and what of it is theirs: the stand-in, or any real one that the environment names,
//! behind a door that counts and spoils. It never touches what others have there.
//!
//! Objects are written with short names; here they become those of this site (`default` is the namespace `PREFIX-default`, the node `a` is
//! `PREFIX-a`), so that sites, runs and whatever else is in a cluster do not meet. What a site made is removed when it is dropped.

mod names;
mod rights;
mod write;

use crate::faults::{Fault, Rule};
use crate::resources::{Resource, built_in};
use crate::{Front, Server, Settings};
use anyhow::{Context, Result, bail};
use hyper::Method;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
pub use names::Names;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Environment variable with the path of a kubeconfig: the API server to use instead of the stand-in, as an administrator.
pub const KUBECONFIG: &str = "SLUICE_TEST_KUBECONFIG";
/// Environment variable that is set if that server forgets versions within seconds.
pub const FORGETS: &str = "SLUICE_TEST_FORGETS";
/// After which a server counts as one that never does what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a client of ours follows.
pub const FOLLOWED: [&str; 6] = [
    "nodes",
    "namespaces",
    "pods",
    "services",
    "endpointslices",
    "networkpolicies",
];

/// An API server, a door to it, and names of its own there.
pub struct Site {
    names: Names,
    front: Front,
    server: Option<Server>,
    denied: Mutex<BTreeSet<String>>,
}

/// Whether an API server is named that is not the stand-in.
pub fn is_real() -> bool {
    named().is_some()
}

fn named() -> Option<PathBuf> {
    std::env::var_os(KUBECONFIG)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// With a list as a stream and without, or only without, if the server has no such lists.
pub fn modes() -> &'static [bool] {
    static STREAMS: OnceLock<bool> = OnceLock::new();
    let streams = STREAMS.get_or_init(|| {
        let site = Site::plain().unwrap();
        let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
        site.get(&format!("/api/v1/namespaces?{query}")).unwrap().0 == 200
    });
    if *streams { &[true, false] } else { &[false] }
}

/// Says what is not tried with this server, past a test runner that keeps what tests print.
pub fn not_tried(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nnot tried with this server: {what}");
}

impl Site {
    /// With TLS at the door.
    pub fn new() -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }

    /// The same, the door being at this address.
    pub fn at(address: IpAddr) -> Result<Self> {
        Self::open(address, false)
    }

    /// Without TLS at the door.
    pub fn plain() -> Result<Self> {
        Self::open(Ipv4Addr::LOCALHOST.into(), true)
    }

    fn open(address: IpAddr, plain: bool) -> Result<Self> {
        let (server, config) = match named() {
            Some(path) => (None, credentials(&path)?),
            None => {
                let server = Server::start(Settings {
                    plain: true,
                    ..Settings::default()
                })?;
                let url = server.url().parse().context("the stand-in's address")?;
                (Some(server), Config::new(url))
            }
        };
        let site = Self {
            names: Names::new(),
            front: Front::open(config, address, plain)?,
            server,
            denied: Mutex::default(),
        };
        site.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}))?;
        Ok(site)
    }

    /// The door, which is all that the client under test may know.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// What things are called here.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The stand-in, for what no other server can be told to do.
    ///
    /// # Panics
    /// If it is another server: such a test belongs into the list of those that only the stand-in serves.
    pub fn stand_in(&self) -> &Server {
        self.server.as_ref().expect("this test needs the stand-in")
    }

    /// Creates an object, or replaces what it says, and its status after it.
    pub fn apply(&self, mut object: Value) -> Result<Value> {
        let resource = resource(|one| object["apiVersion"] == one.api_version() && object["kind"] == one.kind)?;
        self.names.place(&resource, &mut object);
        self.front
            .block_on(write::apply(self.front.server(), &resource, object))?
    }

    /// Deletes an object at once; false if there is none.
    pub fn delete(&self, plural: &str, name: &str) -> Result<bool> {
        let resource = resource(|one| one.plural == plural)?;
        let path = match resource.namespaced {
            true => write::path(&resource, &self.names.of("default"), name),
            false => write::path(&resource, "", &self.names.of(name)),
        };
        self.front.block_on(write::delete(self.front.server(), &path))?
    }

    /// All objects of a resource, also those of others.
    pub fn all(&self, plural: &str) -> Result<Vec<Value>> {
        let resource = resource(|one| one.plural == plural)?;
        match self.get(&write::path(&resource, "", ""))? {
            (200, mut list) => match list["items"].take() {
                Value::Array(items) => Ok(items),
                _ => Ok(Vec::new()),
            },
            (code, status) => bail!("{plural} cannot be listed: {code} {status}"),
        }
    }

    /// One object of this site, as it is.
    pub fn one(&self, plural: &str, name: &str) -> Result<Value> {
        let resource = resource(|one| one.plural == plural)?;
        let path = match resource.namespaced {
            true => write::path(&resource, &self.names.of("default"), name),
            false => write::path(&resource, "", &self.names.of(name)),
        };
        let (code, object) = self.get(&path)?;
        (code == 200)
            .then_some(object)
            .with_context(|| format!("{path}: {code}"))
    }

    /// Asks the server something, not through the door.
    pub fn get(&self, path: &str) -> Result<(u16, Value)> {
        self.front
            .block_on(write::ask(self.front.server(), Method::GET, path, "", None))?
    }

    /// Patches an object by its path, not through the door.
    pub fn patch(&self, path: &str, media: &str, patch: &Value) -> Result<(u16, Value)> {
        self.front
            .block_on(write::ask(self.front.server(), Method::PATCH, path, media, Some(patch)))?
    }

    /// Whether versions are forgotten so soon that a stream may find its own gone at any time.
    pub fn forgets(&self) -> bool {
        self.server.is_none() && std::env::var_os(FORGETS).is_some()
    }

    /// From now on no version of before may be gone on from: the stand-in's are compacted, a server that forgets is waited for, and
    /// for any other the door says so, once for each stream.
    pub fn forget(&self) -> Result<()> {
        if let Some(server) = &self.server {
            server.compact();
            return Ok(());
        }
        if !self.forgets() {
            let gone = |plural: &str, times| {
                let fault = Fault::Answer {
                    code: 410,
                    retry_after: None,
                };
                self.front
                    .fault(Rule::of(fault).on(plural).for_verb("watch").times(times));
            };
            FOLLOWED.iter().for_each(|plural| gone(plural, 1));
            return Ok(());
        }
        let (_, list) = self.get("/api/v1/services?limit=1")?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let path = format!("/api/v1/services?watch=1&resourceVersion={version}&timeoutSeconds=1");
        until("a version is forgotten", || {
            let (code, event) = self.get(&path)?;
            Ok(code == 410 || event["object"]["code"] == 410)
        })
    }

    /// Nobody who comes through the door may list or watch this kind any more, whoever does so already goes on.
    pub fn deny(&self, plural: &str) -> Result<()> {
        rights::change(self, plural, true)
    }

    /// Takes that back.
    pub fn grant(&self, plural: &str) -> Result<()> {
        rights::change(self, plural, false)
    }

    fn denied(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what was made here, as the end of the site does on a server that outlives it.
    pub fn clear(&self) -> Result<()> {
        for plural in [
            "pods",
            "services",
            "endpointslices",
            "networkpolicies",
            "nodes",
            "namespaces",
        ] {
            let resource = resource(|one| one.plural == plural)?;
            for object in self.all(plural)? {
                if self.names.owns(&resource, &object) {
                    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                    let path = write::path(&resource, text("namespace"), text("name"));
                    self.front.block_on(write::delete(self.front.server(), &path))??;
                }
            }
        }
        match self.server {
            Some(_) => Ok(()),
            None => rights::remove(self),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A stand-in goes as a whole.
        if self.server.is_none()
            && let Err(error) = self.clear()
        {
            eprintln!("what {} made is not all removed: {error:#}", self.names.prefix());
        }
    }
}

fn credentials(path: &std::path::Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("{KUBECONFIG}={}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = KubeConfigOptions::default();
    runtime
        .block_on(Config::from_custom_kubeconfig(kubeconfig, &options))
        .with_context(|| format!("{KUBECONFIG}={}", path.display()))
}

fn resource(is: impl Fn(&Resource) -> bool) -> Result<Arc<Resource>> {
    built_in()
        .into_iter()
        .find(|one| is(one))
        .context("there is no such kind here")
}

/// Waits for a server to come round.
fn until(what: &str, mut met: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !met()? {
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
