//! Handles on what is in a lab: places where a command can run, and what nodes and pods can do beyond that. They never
//! outlive their lab.

use crate::agent;
use crate::lab::Lab;
use crate::ns;
use crate::run::{Output, Running};
use crate::topology;
use anyhow::{Context, Result, bail};
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

/// How long [`Place::run`] waits.
const DEADLINE: Duration = Duration::from_secs(20);

/// A namespace of the lab: a node, a pod, a client or the wire.
#[derive(Clone)]
pub struct Place<'l> {
    pub(crate) lab: &'l Lab,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// A node.
#[derive(Clone)]
pub struct Node<'l>(pub(crate) Place<'l>);

/// A pod.
#[derive(Clone)]
pub struct Pod<'l>(pub(crate) Place<'l>);

impl Place<'_> {
    /// Its name in the topology.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Path of its network namespace.
    pub fn netns(&self) -> PathBuf {
        ns::path(&self.namespace)
    }

    /// Runs `command` and waits up to twenty seconds for its end.
    ///
    /// # Errors
    /// It cannot be started. How it ended is in the output.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        self.run_for(command, DEADLINE)
    }

    /// Runs `command` and ends it if it has not ended after `deadline`.
    ///
    /// # Errors
    /// It cannot be started. How it ended is in the output.
    pub fn run_for(&self, command: &[&str], deadline: Duration) -> Result<Output> {
        Ok(self.spawn(command)?.finish(deadline))
    }

    /// Starts `command` and lets it run; dropping the guard ends it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, command: &[&str]) -> Result<Running> {
        Running::start(self.lab.record(), &self.namespace, command)
    }

    /// Runs `job` on a thread inside the namespace: sockets opened there belong to it.
    ///
    /// # Errors
    /// The namespace cannot be entered, or what `job` returns.
    pub fn within<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        ns::within(&self.namespace, job)
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn enter(&self) -> Result<()> {
        ns::enter(&self.namespace).with_context(|| format!("cannot enter {}", self.netns().display()))
    }

    /// Does a TCP connection from here to `address` and `port` come about within a second?
    pub fn reaches(&self, address: &str, port: u16) -> bool {
        self.reaches_within(address, port, Duration::from_secs(1))
    }

    /// As [`Place::reaches`], within `patience`. One shorter than a second never waits for TCP's second attempt.
    pub fn reaches_within(&self, address: &str, port: u16, patience: Duration) -> bool {
        let Ok(ip) = address.parse::<IpAddr>() else {
            return false;
        };
        let connect = || Ok(std::net::TcpStream::connect_timeout(&(ip, port).into(), patience).is_ok());
        self.within(connect).unwrap_or(false)
    }

    /// One HTTP request to `url` with curl, over IPv4 or IPv6 as the URL says; a connection and an answer get
    /// `deadline` together.
    ///
    /// # Errors
    /// curl cannot be started. How it ended is in the output; no answer in time is its code 28.
    pub fn curl(&self, url: &str, deadline: Duration) -> Result<Output> {
        let seconds = format!("{:.3}", deadline.as_secs_f64());
        let command = [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--globoff",
            "--max-time",
            &seconds,
            url,
        ];
        self.run_for(&command, deadline + Duration::from_secs(2))
    }
}

impl Pod<'_> {
    /// The pod's IPv4 or IPv6 address.
    ///
    /// # Errors
    /// The topology gives it none of that family.
    pub fn address(&self, v6: bool) -> Result<IpAddr> {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let found = self.spec()?.addresses.iter().copied().find(|a| a.is_ipv6() == v6);
        found.with_context(|| format!("pod {} has no {family} address", self.name))
    }

    /// What the topology says about it.
    ///
    /// # Errors
    /// Never, for a pod of this lab.
    pub fn spec(&self) -> Result<&topology::Pod> {
        self.lab
            .topology()
            .pod(&self.name)
            .with_context(|| format!("there is no pod {}", self.name))
    }

    /// Attaches the pod to its node's agent, as the CNI plugin does when a pod starts.
    ///
    /// # Errors
    /// What the agent says.
    pub fn attach(&self) -> Result<()> {
        agent::attach(self.lab, self.spec()?)
    }

    /// Detaches it, as when a pod ends.
    ///
    /// # Errors
    /// What the agent says.
    pub fn detach(&self) -> Result<()> {
        agent::detach(self.lab, self.spec()?)
    }
}

impl<'l> Deref for Node<'l> {
    type Target = Place<'l>;
    fn deref(&self) -> &Place<'l> {
        &self.0
    }
}

impl<'l> Deref for Pod<'l> {
    type Target = Place<'l>;
    fn deref(&self) -> &Place<'l> {
        &self.0
    }
}

/// The program `name` of this workspace: `SLUICE_BIN_DIR`, then beside the running program or one folder above (where
/// cargo puts tests), then on the path.
///
/// # Errors
/// It is in none of these places.
pub fn binary(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().unwrap_or_default();
    let beside = here.ancestors().skip(1).take(2).map(PathBuf::from);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::var_os("SLUICE_BIN_DIR")
        .map(PathBuf::from)
        .into_iter()
        .chain(beside);
    let mut candidates = folders
        .chain(std::env::split_paths(&on_path))
        .map(|folder| folder.join(name));
    match candidates.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "cannot find the program `{name}` beside {} or on the path; build it (cargo build) or set SLUICE_BIN_DIR",
            here.display()
        ),
    }
}
