//! Decides how the objects of a cluster reach the model: what is asked of the API server, in what order, and when it is complete. It never
//! compiles anything from them.
//!
//! [`wants`] are the requests, [`reach`] the addresses; each request is [`follow`]ed by a task of its own, which hands what it hears to
//! [`known`], the only place that knows what was said before. News goes one way: answer, known, channel. What is said is [`saved`], too.

mod absent;
mod announce;
mod answer;
mod events;
mod follow;
mod known;
mod list;
mod pace;
mod reach;
#[cfg(test)]
mod rights;
mod saved;
mod shared;
#[cfg(test)]
mod tests;
mod wants;

use super::{Event, Notice};
use crate::model::{Kind, Object};
pub use announce::Announcement;
use events::Teller;
use follow::Follow;
use known::Known;
use reach::Reach;
pub use reach::Servers;
use saved::{Header, Op, Restored, Saver};
use shared::{Closed, Shared, names_pods};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use wants::Want;

/// Which cluster, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// File with address and credentials; `None`: those that a pod is given.
    pub kubeconfig: Option<PathBuf>,
    /// Addresses to ask instead of the one that belongs to the credentials, `https://HOST:PORT`; the first that answers is used.
    pub servers: Vec<String>,
    /// Name of the own Node.
    pub node: String,
    /// File in which what is known outlives the agent, if it should.
    pub state: Option<PathBuf>,
    /// How long nothing at all may come on a stream before its connection is taken for dead, [`Cluster::SILENCE`] as a rule.
    pub silence: Duration,
}

impl Cluster {
    /// Bookmarks come every minute.
    pub const SILENCE: Duration = Duration::from_secs(80);

    /// Whether a text is the address of a server: scheme, host, perhaps a port, nothing else.
    pub fn is_server(text: &str) -> bool {
        let Ok(url) = text.parse::<http::Uri>() else {
            return false;
        };
        let scheme = matches!(url.scheme_str(), Some("https" | "http"));
        let host = url.host().is_some_and(|host| !host.is_empty());
        scheme && host && matches!(url.path(), "" | "/") && url.query().is_none() && !text.contains(['@', '#'])
    }
}

/// A cluster that is followed. Dropping it ends that.
pub struct Kubernetes {
    events: mpsc::Receiver<Event>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Goes last: it ends when nobody has anything to save any more.
    _writer: Option<saved::Writer>,
}

impl Kubernetes {
    /// Begins to follow, on a thread of its own in the caller's network namespace.
    ///
    /// # Errors
    /// The credentials cannot be used; the text is one line for a person. A server that does not answer is no error.
    pub fn follow(cluster: Cluster) -> Result<Self, String> {
        let (sender, events) = mpsc::channel(1024);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(err) => {
                    let _ = tell.send(Err(format!("no runtime to follow the API server with: {err}")));
                    return;
                }
            };
            runtime.block_on(async move {
                match Reach::new(&cluster).await {
                    Ok(reach) => {
                        let (restored, saver, writer) = remembered(&cluster, &reach);
                        let (teller, notices) = Teller::new();
                        let shared = Arc::new(Shared::new(&cluster, reach, (sender, teller), saver));
                        let _ = tell.send(Ok((shared.clone(), writer)));
                        tokio::select! {
                            () = gather(shared, restored, notices) => {}
                            _ = stopped => {}
                        }
                    }
                    Err(text) => _ = tell.send(Err(text)),
                }
            });
        };
        let spawned = std::thread::Builder::new().name("kubernetes".to_owned()).spawn(body);
        let thread = spawned.map_err(|err| format!("no thread to follow the API server: {err}"))?;
        let (shared, writer) = told
            .recv()
            .map_err(|_| "the thread that follows the API server ended".to_owned())??;
        Ok(Self {
            events,
            shared,
            stop: Some(stop),
            thread: Some(thread),
            _writer: writer,
        })
    }

    /// The next event; `None` never comes while this value lives, unless the thread died.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event, if one is there.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// What the own Node should say.
    pub fn announce(&self, announcement: Option<Announcement>) {
        self.shared.announcement.send_if_modified(|before| {
            let differs = *before != announcement;
            *before = announcement;
            differs
        });
    }

    /// Tells the cluster's users, as soon as it may.
    pub fn notify(&self, notice: Notice) {
        self.shared.teller.tell(notice);
    }

    /// How many notices were said, and how many dropped.
    pub fn notices(&self) -> (u64, u64) {
        self.shared.teller.counts()
    }

    /// What is saved takes the place of what another agent saved in this file.
    pub fn save_as(&self, path: PathBuf) {
        self.shared.save(Op::Move { path });
    }

    /// When the API server was heard of last.
    pub fn last_heard(&self) -> Option<Instant> {
        self.shared.last_heard()
    }

    /// How old the saved state is that is served, until the API server was heard of about all of it.
    pub fn saved_age(&self) -> Option<Duration> {
        self.shared.saved_age()
    }

    /// What has not been listed yet, in words.
    pub fn missing(&self) -> Vec<&'static str> {
        self.shared.missing()
    }

    /// All addresses that are asked in turn.
    pub fn servers(&self) -> Servers {
        self.shared.reach.servers()
    }

    /// The address that is asked now.
    pub fn server(&self) -> String {
        self.shared.reach.way().url
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.events.close();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an earlier agent saved, if all of it can be used, and where to save from now on. No failure is an error: all can be asked for.
fn remembered(cluster: &Cluster, reach: &Reach) -> (Option<Restored>, Option<Saver>, Option<saved::Writer>) {
    let Some(path) = &cluster.state else {
        return (None, None, None);
    };
    let header = Header::new(reach.identity(), cluster.node.clone());
    let restored = saved::load(path, &header).unwrap_or_else(|text| {
        tracing::warn!("the saved state is damaged and nothing of it is used; all is asked for anew: {text}");
        None
    });
    // Also of a state that is not complete: they are of this cluster, and may be all that leads to it.
    reach.learn(&restored.as_ref().map(saved_servers).unwrap_or_default());
    let restored = restored.filter(is_complete);
    match saved::start(path, &header, restored.as_ref()) {
        Ok((saver, writer)) => (restored, Some(saver), Some(writer)),
        Err(text) => {
            tracing::warn!("{text}; after a restart all will be asked for anew");
            (restored, None, None)
        }
    }
}

/// The addresses of API servers that an earlier agent knew.
fn saved_servers(restored: &Restored) -> Vec<SocketAddr> {
    let slices = restored.objects_with(Want::EndpointSlices, "\"kubernetes.io/service-name\":\"kubernetes\"");
    let slices: Vec<Object> = slices.filter_map(|(_, decoded)| decoded.object).collect();
    shared::api_servers(slices.iter())
}

/// Whether a state says all that is needed, as one that was saved during the first lists does not.
fn is_complete(restored: &Restored) -> bool {
    let known = |want: Want| restored.versions.contains_key(&want);
    Want::FIRST.into_iter().all(known) && (!needs_others(restored) || known(Want::OtherPods))
}

/// Whether its policies name pods.
fn needs_others(restored: &Restored) -> bool {
    let mut policies = restored.objects(Want::are_policies);
    policies.any(|(_, policy)| policy.object.as_ref().is_some_and(names_pods))
}

/// All requests, until nobody listens.
async fn gather(shared: Arc<Shared>, restored: Option<Restored>, notices: mpsc::Receiver<Notice>) {
    let known: HashMap<Kind, _> = Kind::ALL
        .map(|kind| (kind, Arc::new(Mutex::new(Known::new(kind)))))
        .into();
    let mut versions = BTreeMap::new();
    if let Some(restored) = restored.map(Arc::new) {
        versions = restored.versions.clone();
        versions.retain(|_, version| !version.is_empty());
        if serve(&shared, &known, &restored).await.is_err() {
            return;
        }
    }
    let mut all = JoinSet::new();
    for want in Want::FIRST.into_iter().chain([Want::ServiceCidrs]) {
        let known = known[&want.kind()].clone();
        all.spawn(Follow::new(want, known, shared.clone(), versions.remove(&want)).run());
    }
    let pods = known[&Kind::Pod].clone();
    all.spawn(others(pods, shared.clone(), versions.remove(&Want::OtherPods)));
    all.spawn(announce::announce(shared.clone()));
    all.spawn(events::tell(shared, notices));
    // Each goes on until nobody listens; then all of them end.
    all.join_next().await;
}

/// Hands on what was saved.
async fn serve(
    shared: &Shared,
    known: &HashMap<Kind, Arc<Mutex<Known>>>,
    restored: &Arc<Restored>,
) -> Result<(), Closed> {
    // What was not asked for any more, and could not be forgotten in time.
    let others = needs_others(restored);
    let wanted = |want: Want| others || want != Want::OtherPods;
    for (want, object) in restored.objects_of_many(wanted) {
        let mut known = known[&want.kind()].lock().await;
        if let Some(heard) = known.decoded(want.speaker(), object) {
            shared.hand_on(want, &known, heard.events).await?;
        }
    }
    let wants = restored.versions.keys().copied().filter(|want| wanted(*want)).collect();
    shared.restored(wants, restored.age).await
}

/// Pods of other nodes, while some policy names pods; from `version` on, if they were saved.
async fn others(pods: Arc<Mutex<Known>>, shared: Arc<Shared>, mut version: Option<String>) {
    let by = Want::OtherPods.speaker();
    let mut needed = shared.others.subscribe();
    loop {
        if needed.wait_for(|needed| *needed).await.is_err() {
            return;
        }
        let follow = Follow::new(Want::OtherPods, pods.clone(), shared.clone(), version.take());
        tokio::select! {
            () = follow.run() => return,
            _ = needed.wait_for(|needed| !*needed) => {}
        }
        let mut pods = pods.lock().await;
        pods.begin(by);
        let (mut events, gone) = pods.complete(by);
        for name in gone {
            let want = Want::OtherPods;
            shared.save(Op::Gone { want, name });
        }
        events.push(Event::Solved {
            origin: Want::OtherPods.origin(),
        });
        shared.others_left();
        if shared.hand_on(Want::OtherPods, &pods, events).await.is_err() {
            return;
        }
    }
}
