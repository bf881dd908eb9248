//! Decides what stands between a client and an API server in tests: connections that can be cut and refused, requests that are counted, and
//! faults, whoever's the server is. It never answers for the server, but where a fault or an older server's habit is asked for.
//!
//! It ends the client's TLS with a certificate of an authority of its own and asks the server with credentials of its own.

mod pass;

use crate::counters::Counters;
use crate::faults::{Faults, Rule, RuleId};
use crate::lines::Lines;
use crate::serve;
use crate::tls::{Identity, kubeconfig};
use anyhow::{Context, Result};
use kube::{Client, Config};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

/// What all requests share.
pub(crate) struct Passing {
    server: Client,
    faults: Faults,
    counters: Counters,
    lines: Lines,
    watch_list: AtomicBool,
    user: Mutex<Option<String>>,
}

/// A door to an API server. It closes when it is dropped.
pub struct Front {
    passing: Arc<Passing>,
    address: SocketAddr,
    identity: Option<Identity>,
    runtime: Option<Runtime>,
}

impl Front {
    /// Listens at an address, on a port of its own; `plain` is without TLS.
    pub fn open(mut server: Config, at: IpAddr, plain: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let identity = match plain {
            true => None,
            false => Some(Identity::new(&[], at).context("certificates")?),
        };
        // Streams are silent for long, and what fails is the client's affair.
        server.read_timeout = None;
        server.default_retry = false;
        let _guard = runtime.enter();
        let passing = Arc::new(Passing {
            server: Client::try_from(server).context("the API server's address and credentials")?,
            faults: Faults::default(),
            counters: Counters::default(),
            lines: Lines::default(),
            watch_list: AtomicBool::new(true),
            user: Mutex::default(),
        });
        let acceptor = identity.as_ref().map(Identity::acceptor).transpose()?;
        let address = serve::listen(&passing, (at, 0).into(), acceptor).context("listen")?;
        drop(_guard);
        Ok(Self {
            passing,
            address,
            identity,
            runtime: Some(runtime),
        })
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

    /// A kubeconfig that names it. Whoever comes may do what the credentials of this door may, or the user of [`Front::speak_for`].
    pub fn kubeconfig(&self) -> String {
        let authority = self.identity.as_ref().map(|identity| identity.authority.as_str());
        kubeconfig(&self.url(), authority.unwrap_or_default(), None)
    }

    /// From now on requests are made in the name of a user, which the credentials have to allow.
    pub fn speak_for(&self, user: &str) {
        *self.passing.user.lock().unwrap_or_else(PoisonError::into_inner) = Some(user.to_owned());
    }

    /// Whether watches may ask for initial events; they are refused as by a server that does not know them, never granted by one.
    pub fn watch_list(&self, on: bool) {
        self.passing.watch_list.store(on, Ordering::Relaxed);
    }

    /// Puts a fault in force.
    pub fn fault(&self, rule: Rule) -> RuleId {
        self.passing.faults.add(rule)
    }

    /// The faults in force.
    pub fn faults(&self) -> &Faults {
        &self.passing.faults
    }

    /// The connections and what can be done to them.
    pub fn lines(&self) -> &Lines {
        &self.passing.lines
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.passing.counters
    }

    /// Requests for all objects of a resource, as a list or as a stream that begins with all; all resources if it is empty.
    pub fn lists(&self, plural: &str) -> u64 {
        let counters = self.counters();
        counters.requests("list", plural) + counters.requests(pass::STREAMED_LIST, plural)
    }

    /// What asks the server, without any of this in between.
    pub(crate) fn server(&self) -> &Client {
        &self.passing.server
    }

    /// Waits for something that is asked of the server.
    pub(crate) fn block_on<T>(&self, what: impl Future<Output = T>) -> Result<T> {
        Ok(self.runtime.as_ref().context("it is closed")?.block_on(what))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
