//! The loop.

use super::dataplane::{Dataplane, Keeper};
use super::draining::Draining;
use super::followed::Followed;
use super::lasting::Lasting;
use super::notices::Notices;
use super::own_server::OwnServer;
use super::problems::Problems;
use super::rates::{self, Rates};
use super::slow::SlowPods;
use super::start::ControlSettings;
use crate::api::{Call, LogAnswer, ProbeAnswer, Request, Socket};
use crate::attach::{Attachment, Attachments};
use crate::compile::{AttachedPod, Compiler, Report, Steering, Underlay};
use crate::health::{Health, Vitals};
use crate::kernel::host::Host;
use crate::kernel::neighbours::Neighbours;
use crate::kernel::ports::Reserved;
use crate::kernel::silence::Silence;
use crate::metrics::{Figures, Tallies};
use crate::model::{Change, Store};
use crate::source::{Event, Source};
use nix::fcntl::Flock;
use serde::Serialize;
use sluice_snapshot::{Prefix, Publisher};
use sluice_wire::Addr;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// Changes that come together are compiled together.
const SETTLE: Duration = Duration::from_millis(3);
/// Namespaces that are gone are noticed after this long at most.
const LOOK: Duration = Duration::from_millis(500);
/// Neighbours that the kernel may not look after are asked for every so many seconds.
const NEIGHBOURS_EVERY: u64 = 5;
/// Routes and addresses of `sluice0` are looked at again every so many seconds, as others can change them.
const HOST_EVERY: u64 = 30;
/// Events that are taken in before anything else gets its turn.
const EVENTS: usize = 4096;

/// Why the loop ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was left to another agent.
    HandedOver,
    /// Everything was given back; the agent is to begin anew.
    Anew,
}

/// What is undone when the loop ends.
pub(super) struct Stop {
    pub(super) lock: Flock<File>,
    pub(super) socket: Socket,
    pub(super) reserved: Reserved,
    pub(super) ready: Arc<AtomicBool>,
    /// Told when the loop has ended by itself.
    pub(super) ended: crossbeam::channel::Sender<Ending>,
    pub(super) vitals: Arc<Vitals>,
    /// Answers probes until the loop has ended.
    pub(super) health: Health,
}

/// Where news comes from.
pub(super) type News = (
    Followed,
    watch::Receiver<Option<Underlay>>,
    mpsc::Receiver<Call>,
    mpsc::Receiver<Addr>,
);

/// All that the loop knows.
pub(super) struct Control {
    pub(super) settings: ControlSettings,
    pub(super) dataplane: Arc<dyn Dataplane>,
    pub(super) publisher: Publisher,
    pub(super) store: Store,
    pub(super) problems: Problems,
    pub(super) underlay: Option<Underlay>,
    pub(super) attachments: Attachments<AttachedPod>,
    /// Attachments of the last run that are not taken up (yet), and why not.
    pub(super) saved: Vec<(Attachment, Option<String>)>,
    pub(super) host: Host,
    pub(super) silence: Silence,
    pub(super) rates: Rates,
    pub(super) slow: SlowPods,
    pub(super) own_server: OwnServer,
    pub(super) lasting: Lasting,
    pub(super) notices: Notices,
    pub(super) draining: Draining,
    pub(super) tallies: Tallies,
    pub(super) reports: Vec<Report>,
    /// This node's pod ranges that can be used, as last compiled.
    pub(super) own_ranges: Vec<Prefix>,
    /// What could not be applied, by what it is about.
    pub(super) troubles: Vec<(&'static str, String)>,
    pub(super) started: Instant,
    pub(super) published: Instant,
    pub(super) last_change: Option<Instant>,
    /// The compiler has made a complete state, and it is published.
    pub(super) complete: bool,
    pub(super) steered: Option<Steering>,
    /// All pods of the last run that are still there have been taken up.
    pub(super) adopted: bool,
    /// Largest IP packet of pods' interfaces, bytes, once it is known.
    pub(super) pod_mtu: Option<u16>,
    /// MTU that the uplink has, or had before it went.
    pub(super) uplink_mtu: Option<u16>,
    pub(super) compiler: Compiler,
    pub(super) neighbours: Neighbours,
    /// Another agent is to have everything.
    handing_over: bool,
    /// With another uplink.
    pub(super) begin_anew: bool,
    /// When to compile next, if anything changed.
    pub(super) dirty: Option<tokio::time::Instant>,
    news: (
        Source,
        watch::Receiver<Option<Underlay>>,
        mpsc::Receiver<Call>,
        mpsc::Receiver<Addr>,
    ),
    pub(super) stop: Stop,
}

impl Control {
    pub(super) fn new(
        settings: ControlSettings,
        dataplane: Arc<dyn Dataplane>,
        publisher: Publisher,
        stop: Stop,
        (followed, underlay, calls, resolve): News,
        (host, neighbours): (Host, Neighbours),
        saved: Vec<Attachment>,
    ) -> Self {
        let now = Instant::now();
        let compiler = Compiler::new(Box::new(Keeper(dataplane.clone())));
        Self {
            settings,
            dataplane,
            publisher,
            store: followed.store,
            problems: followed.problems,
            underlay: None,
            attachments: Attachments::default(),
            saved: saved.into_iter().map(|attachment| (attachment, None)).collect(),
            host,
            silence: Silence::default(),
            rates: Rates::default(),
            slow: SlowPods::default(),
            own_server: OwnServer::default(),
            lasting: Lasting::default(),
            notices: Notices::default(),
            draining: Draining::default(),
            tallies: Tallies::default(),
            reports: Vec::new(),
            own_ranges: Vec::new(),
            troubles: Vec::new(),
            started: now,
            published: now,
            last_change: None,
            complete: false,
            steered: None,
            adopted: false,
            pod_mtu: None,
            uplink_mtu: None,
            compiler,
            neighbours,
            handing_over: false,
            begin_anew: false,
            dirty: None,
            news: (followed.source, underlay, calls, resolve),
            stop,
        }
    }

    /// Until told to stop.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut second = interval(rates::EVERY);
        let mut look = interval(LOOK);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seconds = 0u64;
        loop {
            let due = self.dirty;
            let (source, underlay, calls, resolve) = &mut self.news;
            tokio::select! {
                _ = &mut stop => break,
                () = async { sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await }, if due.is_some() => {
                    self.reconcile().await;
                }
                Some(event) = source.next() => self.events(event),
                Ok(()) = underlay.changed() => {
                    self.underlay.clone_from(&underlay.borrow_and_update());
                    self.touch();
                }
                Some(call) = calls.recv() => self.answer(call).await,
                Some(addr) = resolve.recv() => {
                    if let Some(underlay) = &self.underlay {
                        self.neighbours.ask(addr, underlay, Instant::now()).await;
                    }
                }
                _ = second.tick() => {
                    seconds += 1;
                    self.every_second(seconds).await;
                }
                _ = look.tick() => self.drop_vanished().await,
            }
            let waiting_for = self.waiting_for();
            self.stop.ready.store(waiting_for.is_empty(), Ordering::Relaxed);
            self.stop.vitals.beat(Instant::now(), waiting_for);
            if self.handing_over {
                return self.leave().await;
            }
            if self.begin_anew {
                break;
            }
        }
        self.end().await;
    }

    /// Where objects come from.
    pub(super) fn source(&self) -> &Source {
        &self.news.0
    }

    /// Something changed: compile soon.
    pub(super) fn touch(&mut self) {
        self.dirty.get_or_insert_with(|| {
            self.stop.vitals.due(Instant::now());
            tokio::time::Instant::now() + SETTLE
        });
    }

    /// What is missing before the node is ready.
    pub(super) fn waiting_for(&self) -> Vec<String> {
        let node = &self.settings.compile.node_name;
        let uplink = &self.settings.uplink_interface;
        let no_uplink = self
            .underlay
            .as_ref()
            .is_none_or(|underlay| underlay.uplink.ifindex == 0);
        let all = [
            (!self.store.synced(), self.source().lacks()),
            (no_uplink, format!("the uplink {uplink}, which is not there")),
            (
                self.store.synced() && !self.complete,
                format!(
                    "a valid Node object {node} with spec.podCIDR and an address (sluice status lists what is wrong)"
                ),
            ),
            (
                self.complete && self.steered.is_none(),
                "the uplink's program to take the configuration".to_owned(),
            ),
            (!self.adopted, "pods of the last run to be taken up again".to_owned()),
        ];
        all.into_iter()
            .filter_map(|(missing, text)| missing.then_some(text))
            .collect()
    }

    fn events(&mut self, first: Event) {
        let mut next = Some(first);
        for _ in 0..EVENTS {
            let Some(event) = next else { break };
            match event {
                Event::Change(change) => {
                    let kind = match &change {
                        Change::Upsert(object) => Some(object.key().kind),
                        Change::Delete(key) => Some(key.kind),
                        Change::Synced => None,
                    };
                    if self.store.apply(change) {
                        kind.inspect(|kind| self.tallies.changed(*kind));
                        self.last_change = Some(Instant::now());
                        self.touch();
                    }
                }
                Event::Problem(problem) => self.problems.add(problem),
                Event::Solved { origin } => self.problems.solved(&origin),
                Event::Ignored { origin, kinds } => self.problems.ignored(origin, kinds),
            }
            next = self.news.0.try_next();
        }
    }

    async fn every_second(&mut self, seconds: u64) {
        let (workers, counters) = (self.dataplane.workers(), self.dataplane.counters());
        self.stop.vitals.workers(Instant::now(), &workers);
        self.rates
            .sample(Instant::now(), workers, &counters, self.settings.uplink_port.slot.0);
        self.look_for_slow_pods();
        self.look_at_servers();
        self.look_at_uplink();
        self.notify(Instant::now());
        self.publisher.collect();
        let recheck = seconds.is_multiple_of(HOST_EVERY);
        if recheck {
            self.host.recheck();
            self.silence.recheck();
        }
        if recheck || !self.troubles.is_empty() || !self.adopted {
            self.touch();
        }
        if let Some(underlay) = &self.underlay {
            let all = seconds.is_multiple_of(NEIGHBOURS_EVERY);
            self.neighbours.refresh(underlay, all).await;
        }
    }

    async fn answer(&mut self, call: Call) {
        let Call { request, answer } = call;
        let result = match request {
            Request::Status => json(&self.status()),
            Request::Services(r) => {
                super::rows::services(&self.owners(), r.name.as_deref(), &self.draining, &*self.dataplane)
                    .and_then(|rows| json(&rows))
            }
            Request::Endpoints(r) => {
                super::rows::endpoints(&self.owners(), r.service.as_deref(), &self.draining, &*self.dataplane)
                    .and_then(|rows| json(&rows))
            }
            Request::Policies(r) => {
                super::rows::policies(&self.publisher.current().parts, r.pod.as_deref()).and_then(|rows| json(&rows))
            }
            Request::Counters => {
                let counters = self.counters();
                tokio::task::spawn_blocking(move || _ = answer.send(json(&counters())));
                return;
            }
            Request::Metrics => {
                let (status, counters, tallies) = (self.status(), self.counters(), self.tallies.clone());
                let page = move || {
                    let counters = counters();
                    crate::metrics::page(Figures {
                        status,
                        counters,
                        tallies,
                    })
                    .and_then(|text| json(&text))
                };
                tokio::task::spawn_blocking(move || _ = answer.send(page()));
                return;
            }
            Request::Log(request) => {
                let filter = self.dataplane.log_filter(request.filter.as_deref());
                filter.and_then(|filter| json(&LogAnswer { filter }))
            }
            Request::Probe => json(&ProbeAnswer {
                pid_namespace: pid_namespace(),
                not_live: self.stop.vitals.livez(Instant::now()).err(),
                not_ready: self.stop.vitals.readyz().err(),
            }),
            Request::HandOver => {
                tracing::info!("another agent takes over; everything is left in place for it");
                self.handing_over = true;
                Ok("null".to_owned())
            }
            Request::Drops(query) => self.drops(&query).and_then(|report| json(&report)),
            Request::Flows(mut query) => {
                query.limit = query.limit.min(crate::api::FlowQuery::MAX);
                let dataplane = self.dataplane.clone();
                // Looking through a large table takes a while; the loop goes on meanwhile.
                tokio::task::spawn_blocking(move || _ = answer.send(json(&dataplane.flows(&query))));
                return;
            }
            Request::Attach(request) => match self.attach(&request).await {
                Ok(done) => json(&done),
                Err(text) => Err(text),
            },
            Request::Detach(request) => self
                .detach(&request.netns, &request.interface)
                .await
                .map(|()| "null".to_owned()),
        };
        // The client may have gone.
        let _ = answer.send(result);
    }

    /// Asks the packet side something that may take some milliseconds. The loop waits, so that things stay in their
    /// order.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Dataplane) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let dataplane = self.dataplane.clone();
        tokio::task::spawn_blocking(move || work(&*dataplane))
            .await
            .unwrap_or_else(|_| Err("the packet side panicked; please report this".into()))
    }

    /// Ends, and leaves everything as it is.
    async fn leave(self) {
        // Whoever asked is told before the runtime ends.
        tokio::task::yield_now().await;
        self.stop.ready.store(false, Ordering::Relaxed);
        drop((self.stop.socket, self.stop.health, self.news));
        drop(self.stop.lock);
        let _ = self.stop.ended.send(Ending::HandedOver);
    }

    async fn end(mut self) {
        self.stop.ready.store(false, Ordering::Relaxed);
        drop(self.stop.socket);
        drop(self.stop.health);
        self.neighbours.cleanup().await;
        for result in [
            self.host.cleanup().await,
            self.silence.remove().await,
            self.stop.reserved.release(),
        ] {
            if let Err(text) = result {
                tracing::warn!("while stopping: {text}");
            }
        }
        drop(self.stop.lock);
        if self.begin_anew {
            let _ = self.stop.ended.send(Ending::Anew);
        }
    }
}

/// 0 where there is no /proc.
fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| std::os::unix::fs::MetadataExt::ino(&meta))
}

fn json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string(value).map_err(|err| format!("the answer cannot be written as JSON: {err}"))
}
