//! Decides at which address the API server is asked, and as whom. It never decides what for.
//!
//! Addresses are tried in turn: those of the configuration, or the kubeconfig's, or the one that pods are given; then those that the API
//! server itself tells as end points of its own Service. None of it needs a name to be looked up.

use super::Cluster;
use super::answer::chain;
use http::Uri;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A connection with TLS is there within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// Most addresses that are learned.
const LEARNED: usize = 16;
/// The name in the certificate of every API server, whatever its address is.
const NAME: &str = "kubernetes.default.svc";

/// Addresses of the API server, as URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// Those that somebody chose: the configuration, a kubeconfig, or the environment of a pod.
    pub configured: Vec<String>,
    /// Those that it told itself.
    pub learned: Vec<String>,
}

/// Ways to the API server.
pub(super) struct Reach {
    base: Config,
    ways: Mutex<Ways>,
}

struct Ways {
    all: Vec<Way>,
    /// How many of them were configured.
    configured: usize,
    at: usize,
}

#[derive(Clone)]
pub(super) struct Way {
    pub(super) url: String,
    pub(super) client: Client,
}

impl Reach {
    /// Reads the credentials; nobody is asked yet. The error is a line for a person.
    pub(super) async fn new(cluster: &Cluster) -> Result<Self, String> {
        let mut base = credentials(cluster).await?;
        base.connect_timeout = Some(CONNECT);
        // Streams are silent for long; each request has limits of its own, and repetition is decided here.
        base.read_timeout = None;
        base.default_retry = false;
        let mut servers = Vec::new();
        for server in &cluster.servers {
            let url: Uri = server
                .parse()
                .map_err(|err| format!("kubernetes.servers: `{server}` is no URL: {err}"))?;
            servers.push(url);
        }
        if servers.is_empty() {
            servers.push(base.cluster_url.clone());
        }
        let all = servers
            .into_iter()
            .map(|url| way(&base, &url, None))
            .collect::<Result<Vec<_>, _>>()?;
        let ways = Ways {
            configured: all.len(),
            all,
            at: 0,
        };
        Ok(Self {
            base,
            ways: Mutex::new(ways),
        })
    }

    /// Which cluster it is: the authority that its servers are trusted by, else their address.
    pub(super) fn identity(&self) -> String {
        let read = self
            .base
            .root_cert_file
            .as_ref()
            .and_then(|path| std::fs::read(path).ok());
        let authority = read.or_else(|| Some(self.base.root_cert.as_ref()?.concat()));
        match authority {
            Some(bytes) => format!("authority {:08x}-{}", crc32fast::hash(&bytes), bytes.len()),
            None => format!("server {}", self.ways().all[0].url),
        }
    }

    /// The one to ask now.
    pub(super) fn way(&self) -> Way {
        let ways = self.ways();
        ways.all[ways.at].clone()
    }

    /// All of them.
    pub(super) fn servers(&self) -> Servers {
        let ways = self.ways();
        let mut configured: Vec<String> = ways.all.iter().map(|way| way.url.clone()).collect();
        let learned = configured.split_off(ways.configured);
        Servers { configured, learned }
    }

    /// No answer came from there.
    pub(super) fn failed(&self, url: &str) {
        let mut ways = self.ways();
        // Others that were on the same way may have said so already.
        if ways.all[ways.at].url == url {
            ways.at = (ways.at + 1) % ways.all.len();
        }
    }

    /// The API server is at these addresses, too.
    pub(super) fn learn(&self, addresses: &[SocketAddr]) {
        let mut ways = self.ways();
        let now = ways.all[ways.at].url.clone();
        let mut all = ways.all[..ways.configured].to_vec();
        for address in addresses.iter().take(LEARNED) {
            let url = format!("https://{address}/");
            if all.iter().any(|way| way.url == url) {
                continue;
            }
            let known = ways.all.iter().find(|way| way.url == url).cloned();
            let made = known.map_or_else(
                || {
                    url.parse::<Uri>()
                        .map_err(|err| err.to_string())
                        .and_then(|url| way(&self.base, &url, Some(NAME)))
                },
                Ok,
            );
            match made {
                Ok(way) => all.push(way),
                Err(text) => tracing::warn!("{url} cannot be tried as API server: {text}"),
            }
        }
        ways.at = all.iter().position(|way| way.url == now).unwrap_or(0);
        ways.all = all;
    }

    fn ways(&self) -> std::sync::MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn credentials(cluster: &Cluster) -> Result<Config, String> {
    let Some(path) = &cluster.kubeconfig else {
        return Config::incluster_env().map_err(|err| {
            format!(
                "there is no API server to follow: kubernetes.kubeconfig is not set, and this is no pod with a service account ({})",
                chain(&err)
            )
        });
    };
    let wrong =
        |err: &dyn std::error::Error| format!("the kubeconfig {} cannot be used: {}", path.display(), chain(err));
    let kubeconfig = Kubeconfig::read_from(path).map_err(|err| wrong(&err))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|err| wrong(&err))
}

fn way(base: &Config, url: &Uri, name: Option<&str>) -> Result<Way, String> {
    let mut config = base.clone();
    config.cluster_url = url.clone();
    if let Some(name) = name {
        config.tls_server_name = Some(name.to_owned());
    }
    let client =
        Client::try_from(config).map_err(|err| format!("the API server {url} cannot be asked: {}", chain(&err)))?;
    Ok(Way {
        url: url.to_string(),
        client,
    })
}
