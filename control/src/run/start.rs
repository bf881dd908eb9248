//! How the control loop is set up, on a thread of its own, and how it is stopped.

use super::control::{Control, Ending, Stop};
use super::dataplane::Dataplane;
use super::followed::Followed;
use crate::api::{self, Socket};
use crate::attach;
use crate::compile::{HostPort, Settings, UplinkPort};
use crate::health::{Health, HealthSettings, Vitals};
use crate::kernel::host::Host;
use crate::kernel::neighbours::Neighbours;
use crate::kernel::ports::Reserved;
use crate::kernel::{self, underlay};
use crate::source::SourceSettings;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use nix::fcntl::{Flock, FlockArg};
use sluice_snapshot::Publisher;
use sluice_wire::Addr;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What control has to know. It runs in the network namespace of the thread that starts it.
#[derive(Clone, Debug)]
pub struct ControlSettings {
    /// What the operator decided about the network.
    pub compile: Settings,
    /// Where objects come from.
    pub source: SourceSettings,
    /// Where the socket is to be.
    pub socket: PathBuf,
    /// Where probes and metrics are served.
    pub health: HealthSettings,
    /// Directory for what must survive a restart; made (0700) when missing.
    pub state_dir: PathBuf,
    /// Name of the interface to the other nodes.
    pub uplink_interface: String,
    /// Name of the host's tap.
    pub host_interface: String,
    /// The port of the host's tap; its MTU is set here, to that of pods.
    pub host_port: HostPort,
    /// The port of the uplink.
    pub uplink_port: UplinkPort,
    /// Largest IP packet that its queues carry, bytes, whatever its MTU is.
    pub uplink_limit: u16,
    /// What is other than usual for the sake of tests.
    pub testing: Testing,
}

/// What is other than usual for the sake of tests; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Testing {
    /// Shown as warnings, so that nobody takes a node under test for a healthy one.
    pub notices: Vec<String>,
    /// Does as if the kernel did not know managed neighbours.
    pub unmanaged_neighbours: bool,
}

/// Why control could not be started; a text for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Running control. Dropping it stops it too.
#[derive(Debug)]
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    ready: Arc<AtomicBool>,
    ended: Receiver<Ending>,
}

impl Handle {
    /// Whether everything that the node needs is known and applied.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether the control loop has ended, which it does only when it is told to or by a mistake of ours.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Hears once that the loop ended by itself, and why.
    pub fn ended(&self) -> &Receiver<Ending> {
        &self.ended
    }

    /// Stops, after taking back what was set up in the kernel; see the module for what stays. The packet side may go
    /// on with the last snapshot.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control loop panicked; please report this");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the control loop. `resolve` brings addresses that packets wait for; what was `followed` already need not be waited for.
///
/// # Errors
/// Another agent runs with this state or socket, the list of attachments is damaged, or the kernel refuses something
/// that is needed at once. Nothing is left behind then.
pub fn start(
    settings: ControlSettings,
    dataplane: Arc<dyn Dataplane>,
    publisher: Publisher,
    resolve: Receiver<Addr>,
    followed: Option<Followed>,
) -> Result<Handle, StartError> {
    let (tell_end, ended) = crossbeam::channel::bounded(1);
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let ready = Arc::new(AtomicBool::new(false));
    let shown = ready.clone();
    let body = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(err) => {
                let _ = tell.send(Err(format!("cannot make the control loop's runtime: {err}")));
                return;
            }
        };
        runtime.block_on(async move {
            match set_up(settings, dataplane, publisher, (resolve, followed), (shown, tell_end)).await {
                Ok(control) => {
                    let _ = tell.send(Ok(()));
                    control.run(stopped).await;
                }
                Err(err) => _ = tell.send(Err(err)),
            }
        });
    };
    let thread = std::thread::Builder::new()
        .name("sluice-control".into())
        .spawn(body)
        .map_err(|err| StartError(format!("cannot start the control thread: {err}")))?;
    match told.recv() {
        Ok(Ok(())) => Ok(Handle {
            stop: Some(stop),
            thread: Some(thread),
            ready,
            ended,
        }),
        Ok(Err(text)) => Err(StartError(text)),
        Err(_) => Err(StartError(
            "the control thread ended while it started; please report this".into(),
        )),
    }
}

async fn set_up(
    settings: ControlSettings,
    dataplane: Arc<dyn Dataplane>,
    publisher: Publisher,
    (resolve, followed): (Receiver<Addr>, Option<Followed>),
    (ready, ended): (Arc<AtomicBool>, crossbeam::channel::Sender<Ending>),
) -> Result<Control, String> {
    let lock = lock(&settings.state_dir)?;
    let saved = attach::load(&settings.state_dir)?;
    let (socket, listener) = Socket::bind(&settings.socket)?;
    let handle = kernel::connect()?;
    let host_index = kernel::index_of(&handle, &settings.host_interface).await?;
    let mut source = followed.map_or_else(|| Followed::begin(settings.source.clone()), Ok)?;
    source.alone();
    let underlay = underlay::follow(settings.uplink_interface.clone(), vec![settings.host_interface.clone()]);
    let (asked, calls) = mpsc::channel(16);
    answer_calls(listener, asked.clone())?;
    let vitals = Arc::new(Vitals::new(Instant::now()));
    let health = Health::start(settings.health, vitals.clone(), asked)?;
    // Last, as nobody would take it back after an error.
    let reserved = Reserved::take(&settings.state_dir, settings.compile.masquerade_ports)?;
    let host = Host::new(handle.clone(), settings.host_interface.clone(), host_index);
    let neighbours = Neighbours::new(handle).unmanaged(settings.testing.unmanaged_neighbours);
    Ok(Control::new(
        settings,
        dataplane,
        publisher,
        Stop {
            lock,
            socket,
            reserved,
            ready,
            ended,
            vitals,
            health,
        },
        (source, underlay, calls, forward(resolve)),
        (host, neighbours),
        saved,
    ))
}

fn answer_calls(listener: UnixListener, calls: mpsc::Sender<api::Call>) -> Result<(), String> {
    let listener =
        tokio::net::UnixListener::from_std(listener).map_err(|err| format!("cannot listen on the socket: {err}"))?;
    tokio::spawn(api::serve(listener, api::Limits::default(), calls));
    Ok(())
}

/// One agent per state directory.
fn lock(state_dir: &Path) -> Result<Flock<File>, String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|err| format!("cannot make the state directory {}: {err}", state_dir.display()))?;
    let path = state_dir.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|err| format!("cannot open {}: {err}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => {
            format!(
                "another agent uses the state directory {}; stop it first, or name another directory",
                state_dir.display()
            )
        }
        other => format!("cannot lock {}: {}", path.display(), other.desc()),
    })
}

/// Workers speak through a channel that may be asked without waiting from any thread; the loop awaits another kind.
fn forward(from: Receiver<Addr>) -> mpsc::Receiver<Addr> {
    /// How soon the thread notices that the loop has ended.
    const LOOK: Duration = Duration::from_millis(100);
    let (to, receiver) = mpsc::channel(256);
    let body = move || {
        loop {
            match from.recv_timeout(LOOK) {
                // What the loop is too busy for is asked for again by a later packet.
                Ok(addr) => _ = to.try_send(addr),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if to.is_closed() {
                return;
            }
        }
    };
    if let Err(err) = std::thread::Builder::new().name("sluice-resolve".into()).spawn(body) {
        tracing::error!("cannot start a thread: {err}; addresses on the uplink's link are not resolved on demand");
    }
    receiver
}
