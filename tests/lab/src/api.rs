//! A cluster whose agents have their objects from an API server: the stand-in, which has what the manifests say and listens on each
//! node's own loopback, so that nothing of it is seen on a wire. It never decides what a lab consists of.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sluice_apiserver::{Server, Settings};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The agents' credentials, in the lab's folder.
pub(crate) const KUBECONFIG: &str = "kubeconfig";
/// Where it listens on each node.
const PORT: u16 = 6443;

/// An agent that began without it would look for it once a minute.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusternetworkpolicies.policy.networking.k8s.io}
spec:
  group: policy.networking.k8s.io
  scope: Cluster
  names: {plural: clusternetworkpolicies, kind: ClusterNetworkPolicy}
  versions: [{name: v1alpha2, served: true, storage: true}]
";

/// Where agents have their objects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The lab's directory of manifests.
    Manifests,
    /// An API server.
    ApiServer,
}

impl Source {
    /// What `SLUICE_LAB_SOURCE` says, `manifests` or `kubernetes`; manifests unless it is set.
    ///
    /// # Errors
    /// It says something else.
    pub fn of_the_environment() -> Result<Self> {
        match std::env::var("SLUICE_LAB_SOURCE").as_deref() {
            Err(_) | Ok("" | "manifests") => Ok(Self::Manifests),
            Ok("kubernetes") => Ok(Self::ApiServer),
            Ok(other) => bail!("SLUICE_LAB_SOURCE is `{other}`; want manifests or kubernetes"),
        }
    }
}

/// Which object, as the API server takes it away.
type Identity = (String, Option<String>, String);

/// The API server of a lab.
pub struct ApiServer {
    server: Server,
    /// Objects by the manifest that has them.
    files: Mutex<BTreeMap<String, Vec<Identity>>>,
}

impl ApiServer {
    /// One without objects but the definition of ClusterNetworkPolicy; `dir` gets a kubeconfig for it.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let server = Server::start(Settings::default())?;
        server.apply_yaml(DEFINITION).context("no ClusterNetworkPolicies")?;
        let own = server.url();
        let here = format!("https://{}:{PORT}", Ipv4Addr::LOCALHOST);
        let kubeconfig = server.kubeconfig(None).replace(&own, &here);
        std::fs::write(dir.join(KUBECONFIG), kubeconfig).context("cannot write a kubeconfig")?;
        Ok(Self {
            server,
            files: Mutex::default(),
        })
    }

    /// Listens on the loopback of the calling thread's network namespace, too.
    pub(crate) fn listen_here(&self) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).context("no API server on a node's loopback")?;
        self.server.also_listen(listener)
    }

    /// The server itself, for what goes wrong with it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Has the objects of a manifest, and no more those that it had before.
    pub(crate) fn mirror(&self, file: &str, text: &str) -> Result<()> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).with_context(|| format!("{file} is no YAML"))?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<Identity> = documents.iter().filter_map(identity).collect();
        self.server.apply_yaml(text).with_context(|| file.to_owned())?;
        for (plural, namespace, name) in files.insert(file.to_owned(), now.clone()).unwrap_or_default() {
            let gone = (plural, namespace, name);
            if !now.contains(&gone) {
                self.server.delete(&gone.0, gone.1.as_deref(), &gone.2);
            }
        }
        Ok(())
    }
}

/// `None` of an empty document.
fn identity(object: &Value) -> Option<Identity> {
    let kind = object["kind"].as_str()?.to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    let namespaced = !matches!(kind.as_str(), "node" | "namespace" | "clusternetworkpolicy");
    let meta = &object["metadata"];
    let namespace = namespaced.then(|| meta["namespace"].as_str().unwrap_or("default").to_owned());
    Some((plural, namespace, meta["name"].as_str()?.to_owned()))
}
