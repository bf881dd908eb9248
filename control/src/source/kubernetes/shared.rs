//! What all requests share: where news goes, what is missing before the state is complete, whether the API server can be reached, and whether pods of
//! other nodes are needed.

use super::Cluster;
use super::announce::Announcement;
use super::events::Teller;
use super::known::Known;
use super::reach::Reach;
use super::saved::{Op, Saver};
use super::wants::Want;
use crate::model::{Change, Object, PolicyRecord};
use crate::source::{Event, Problem};
use sluice_policy::Peer;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Closed;

pub(super) struct Shared {
    pub(super) node: String,
    pub(super) silence: Duration,
    pub(super) reach: Reach,
    /// Whether pods of other nodes are needed.
    pub(super) others: watch::Sender<bool>,
    /// Whenever the API server is found again.
    pub(super) reconnected: watch::Sender<()>,
    /// What the own Node should say.
    pub(super) announcement: watch::Sender<Option<Announcement>>,
    /// How the cluster's users are told something.
    pub(super) teller: Teller,
    sender: mpsc::Sender<Event>,
    state: Mutex<State>,
    streamed_lists: AtomicBool,
    saver: Option<Saver>,
    began: Instant,
    /// Milliseconds after that, and one; 0 before anything was heard.
    heard: AtomicU64,
}

#[derive(Default)]
struct State {
    /// What has not been listed yet, in the order in which it was asked for.
    missing: Vec<Want>,
    /// Pods of other nodes are listed, whether they are missing or not.
    others_listed: bool,
    /// Requests whose policies name pods.
    naming: Vec<Want>,
    synced: bool,
    /// What is served from the saved state alone, and how old that was at the start.
    restored: Vec<Want>,
    age: Duration,
    /// Where nobody answers, as it was told.
    unreachable: Vec<String>,
}

impl Shared {
    pub(super) fn new(
        cluster: &Cluster,
        reach: Reach,
        (sender, teller): (mpsc::Sender<Event>, Teller),
        saver: Option<Saver>,
    ) -> Self {
        let state = State {
            missing: Want::FIRST.to_vec(),
            ..State::default()
        };
        Self {
            node: cluster.node.clone(),
            silence: cluster.silence,
            reach,
            others: watch::Sender::new(false),
            reconnected: watch::Sender::new(()),
            announcement: watch::Sender::new(None),
            teller,
            sender,
            state: Mutex::new(state),
            streamed_lists: AtomicBool::new(true),
            saver,
            began: Instant::now(),
            heard: AtomicU64::new(0),
        }
    }

    pub(super) async fn send(&self, event: Event) -> Result<(), Closed> {
        self.sender.send(event).await.map_err(|_| Closed)
    }

    /// Hands on what follows from something said, after a look at what it means to other requests.
    pub(super) async fn hand_on(&self, want: Want, known: &Known, events: Vec<Event>) -> Result<(), Closed> {
        if events.is_empty() {
            return Ok(());
        }
        match want {
            _ if want.are_policies() => self.need_others(want, known.served().any(names_pods)),
            Want::EndpointSlices if events.iter().any(is_of_the_api_server) => {
                self.reach.learn(&api_servers(known.served()));
            }
            _ => {}
        }
        for event in events {
            self.send(event).await?;
        }
        // Pods of other nodes may have been all that was missing, and not be needed any more.
        if want.are_policies() {
            self.complete().await
        } else {
            Ok(())
        }
    }

    /// Whether pods of other nodes are needed, as these policies and the others say.
    fn need_others(&self, want: Want, naming: bool) {
        let needed = {
            let mut state = self.state();
            state.naming.retain(|other| *other != want);
            state.naming.extend(naming.then_some(want));
            !state.naming.is_empty()
        };
        let changed = self
            .others
            .send_if_modified(|before| std::mem::replace(before, needed) != needed);
        if changed {
            let mut state = self.state();
            state.missing.retain(|want| *want != Want::OtherPods);
            if !needed {
                state.restored.retain(|want| *want != Want::OtherPods);
                self.save(Op::Unwanted { want: Want::OtherPods });
            } else if !state.others_listed {
                state.missing.push(Want::OtherPods);
            }
        }
    }

    /// Pods of other nodes are not followed any more.
    pub(super) fn others_left(&self) {
        self.state().others_listed = false;
    }

    /// All objects of a request have been said.
    pub(super) async fn listed(&self, want: Want) -> Result<(), Closed> {
        {
            let mut state = self.state();
            state.others_listed |= want == Want::OtherPods;
            state.missing.retain(|missing| *missing != want);
        }
        self.complete().await
    }

    /// Says so when nothing is missing for the first time.
    async fn complete(&self) -> Result<(), Closed> {
        let complete = {
            let mut state = self.state();
            state.missing.is_empty() && !std::mem::replace(&mut state.synced, true)
        };
        if complete {
            self.send(Event::Change(Change::Synced)).await
        } else {
            Ok(())
        }
    }

    /// Has something saved, where anything is.
    pub(super) fn save(&self, op: Op) {
        if let Some(saver) = &self.saver {
            saver.save(op);
        }
    }

    /// All is known that a saved state says, which was true that long ago.
    pub(super) async fn restored(&self, wants: Vec<Want>, age: Duration) -> Result<(), Closed> {
        {
            let mut state = self.state();
            state.missing.clear();
            state.others_listed = wants.contains(&Want::OtherPods);
            state.synced = true;
            (state.restored, state.age) = (wants, age);
        }
        self.send(Event::Change(Change::Synced)).await
    }

    /// How old the saved state is that is served, until the API server was heard of about all of it.
    pub(super) fn saved_age(&self) -> Option<Duration> {
        let state = self.state();
        (!state.restored.is_empty()).then(|| state.age + self.began.elapsed())
    }

    /// Names of what has not been listed yet.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.state().missing.iter().map(|want| want.name()).collect()
    }

    /// Something came from the API server.
    pub(super) async fn heard(&self, want: Want) -> Result<(), Closed> {
        self.heard
            .store(self.began.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        let solved = {
            let mut state = self.state();
            state.restored.retain(|restored| *restored != want);
            std::mem::take(&mut state.unreachable)
        };
        if !solved.is_empty() {
            self.reconnected.send_replace(());
        }
        for origin in solved {
            self.send(Event::Solved { origin }).await?;
        }
        Ok(())
    }

    /// When something came last.
    pub(super) fn last_heard(&self) -> Option<Instant> {
        let after = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began + Duration::from_millis(after))
    }

    /// Nobody answers there; told once for all requests.
    pub(super) async fn unreachable(&self, url: &str, text: &str) -> Result<(), Closed> {
        let origin = format!("API server {url}");
        {
            let mut state = self.state();
            if state.unreachable.contains(&origin) {
                return Ok(());
            }
            state.unreachable.push(origin.clone());
        }
        let problem = Problem {
            origin,
            place: None,
            object: None,
            field: None,
            text: format!("it cannot be reached: {text}; what is known stays in force, and it is tried again"),
        };
        self.send(Event::Problem(problem)).await
    }

    pub(super) fn streams_lists(&self) -> bool {
        self.streamed_lists.load(Ordering::Relaxed)
    }

    pub(super) fn no_streamed_lists(&self) {
        self.streamed_lists.store(false, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a policy names pods as peers.
pub(super) fn names_pods(object: &Object) -> bool {
    let by_label = |peer: &Peer| match peer {
        Peer::Pods { namespaces, pods } => namespaces.is_some() || pods.is_some(),
        Peer::Block { .. } => false,
    };
    match object {
        Object::Policy(policy) => {
            let PolicyRecord { ingress, egress, .. } = &**policy;
            let mut rules = ingress.iter().chain(egress).flatten();
            rules.any(|rule| rule.peers.iter().any(by_label))
        }
        Object::ClusterPolicy(record) => {
            let mut rules = record.policy.ingress.iter().chain(&record.policy.egress);
            rules.any(|rule| rule.fits.peers.iter().any(by_label))
        }
        _ => false,
    }
}

/// Its slices are those of the Service that the API server makes for itself.
fn is_of_the_api_server(event: &Event) -> bool {
    match event {
        Event::Change(Change::Upsert(object)) => addresses(object).is_some(),
        Event::Change(Change::Delete(key)) => key.namespace == "default" && key.name.starts_with("kubernetes"),
        _ => false,
    }
}

/// The end points of that Service.
pub(super) fn api_servers<'o>(objects: impl Iterator<Item = &'o Object>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = objects.filter_map(addresses).flatten().collect();
    all.sort();
    all.dedup();
    all
}

fn addresses(object: &Object) -> Option<Vec<SocketAddr>> {
    let Object::Slice(slice) = object else { return None };
    let its = slice.namespace == "default" && slice.service == "kubernetes";
    let port = slice
        .ports
        .iter()
        .find(|port| port.name == "https")
        .filter(|_| its)?
        .port;
    let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
    Some(
        ready
            .map(|endpoint| SocketAddr::new(endpoint.addr.to_ip(), port))
            .collect(),
    )
}
