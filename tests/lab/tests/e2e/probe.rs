//! Traffic that runs while something is changed: one socket and one port all the time, so that the flow stays the same.

use crate::clients::udp_socket_to;
use crate::cluster::PATIENCE;
use sluice_lab::{Lab, Place};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two datagrams.
const PACE: Duration = Duration::from_millis(10);

/// Datagrams to an echo server, one after another, until it is dropped.
pub(crate) struct Probe {
    name: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// When each answered datagram was sent.
    answered: Mutex<Vec<Instant>>,
}

impl Probe {
    /// Starts at once; the server is one of the lab's `udp-echo`.
    pub(crate) fn start(from: &Place<'_>, to: (IpAddr, u16)) -> Self {
        let socket = from.within(|| Ok(udp_socket_to(to)?));
        let socket = socket.unwrap_or_else(|e| panic!("from {}: {e:#}", from.name()));
        socket.set_read_timeout(Some(PACE)).unwrap();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || run(&socket, &shared)
        });
        Self {
            name: format!("{} to {}", from.name(), SocketAddr::from(to)),
            shared,
            thread: Some(thread),
        }
    }

    /// Whether something that was sent after `since` was answered.
    pub(crate) fn answered_since(&self, since: Instant) -> bool {
        self.shared
            .answered
            .lock()
            .unwrap()
            .last()
            .is_some_and(|at| *at > since)
    }

    /// Time from `since` to the first datagram that was answered again.
    pub(crate) fn back_after(&self, since: Instant) -> Option<Duration> {
        let answered = self.shared.answered.lock().unwrap();
        answered.iter().find(|at| **at > since).map(|at| *at - since)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 256];
    let begun = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        // What went wrong with one datagram shows in its answer missing.
        let _ = socket.send(format!("{}", (at - begun).as_nanos()).as_bytes());
        let next = at + PACE;
        while Instant::now() < next {
            let Ok(length) = socket.recv(&mut buffer) else { break };
            let text = String::from_utf8_lossy(&buffer[..length]);
            let sent = text.rsplit(' ').next().and_then(|text| text.parse().ok());
            if let Some(sent) = sent {
                let mut answered = shared.answered.lock().unwrap();
                let sent = begun + Duration::from_nanos(sent);
                if answered.last().is_none_or(|last| *last < sent) {
                    answered.push(sent);
                }
            }
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Waits until all of them are answered.
pub(crate) fn all_pass(lab: &Lab, probes: &[Probe], what: &str) {
    for probe in probes {
        let since = Instant::now();
        lab.wait(&format!("{}, {what}", probe.name), PATIENCE, || {
            probe.answered_since(since)
        })
        .unwrap();
    }
}

/// Waits until none of them was answered for a while.
pub(crate) fn all_silent(lab: &Lab, probes: &[Probe], what: &str) {
    for probe in probes {
        let quiet = || {
            let since = Instant::now();
            std::thread::sleep(Duration::from_millis(200));
            !probe.answered_since(since)
        };
        lab.wait(&format!("{} to fall silent, {what}", probe.name), PATIENCE, quiet)
            .unwrap();
    }
}

/// All of them are answered again within `bound` after `since`.
pub(crate) fn all_back(lab: &Lab, probes: &[Probe], since: Instant, bound: Duration, what: &str) {
    for probe in probes {
        lab.wait(&format!("{}, {what}", probe.name), PATIENCE, || {
            probe.back_after(since).is_some()
        })
        .unwrap();
        let took = probe.back_after(since).unwrap();
        assert!(took <= bound, "{}, {what}: back only after {took:?}", probe.name);
    }
    all_pass(lab, probes, what);
}
