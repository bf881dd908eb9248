//! Frames as they are: what passes an interface is read, and anything at all is sent by it. socat holds the packet sockets.

use crate::clients::uninterrupted;
use crate::cluster::PATIENCE;
use crate::faults;
use serde_json::Value;
use sluice_lab::{Lab, Node, Place, Running};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// An interface of a place, below its IP stack.
pub(crate) struct RawPort {
    _programs: [Running; 2],
    frames: UnixDatagram,
    entry: PathBuf,
}

impl RawPort {
    /// Both directions of `interface`, from now on: frames that the place itself sends are read, too.
    pub(crate) fn open(lab: &Lab, place: &Place<'_>, interface: &str) -> RawPort {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let path = |what: &str| lab.dir().join(format!("{}-{what}-{number}", place.name()));
        let (entry, exit) = (path("send"), path("seen"));
        let frames = UnixDatagram::bind(&exit).unwrap();
        let sockets = || {
            let list = || Ok(std::fs::read_to_string("/proc/thread-self/net/packet")?.lines().count());
            place.within(list).unwrap()
        };
        let before = sockets();
        let start = |from: String, to: String| place.spawn(&["socat", "-u", &from, &to]).unwrap();
        let reader = start(
            format!("INTERFACE:{interface}"),
            format!("UNIX-SENDTO:{},unlink-close=0", exit.display()),
        );
        let writer = start(
            format!("UNIX-RECV:{}", entry.display()),
            format!("INTERFACE:{interface}"),
        );
        lab.wait("packet sockets", PATIENCE, || sockets() == before + 2)
            .unwrap();
        RawPort {
            _programs: [reader, writer],
            frames,
            entry,
        }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let socket = UnixDatagram::unbound().unwrap();
        assert_eq!(socket.send_to(frame, &self.entry).unwrap(), frame.len());
    }

    /// The next frame that `wanted` says yes to, or none within `patience`.
    pub(crate) fn next(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + patience;
        let mut buffer = [0; 65536];
        loop {
            let left = end.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())?;
            self.frames.set_read_timeout(Some(left)).unwrap();
            let length = uninterrupted(|| self.frames.recv(&mut buffer)).ok()?;
            if wanted(&buffer[..length]) {
                return Some(buffer[..length].to_vec());
            }
        }
    }

    /// The next frame with `text` in it.
    pub(crate) fn carrying(&self, text: &str) -> Vec<u8> {
        self.next(PATIENCE, |frame| contains(frame, text.as_bytes()))
            .unwrap_or_else(|| panic!("no frame with {text:?} passed"))
    }
}

/// A pod's interface, from the pod's side.
pub(crate) fn raw(lab: &Lab, place: &Place<'_>) -> RawPort {
    RawPort::open(lab, place, "eth0")
}

pub(crate) fn contains(frame: &[u8], part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

/// Frames that the node's agent dropped for `reason`.
pub(crate) fn drops(node: &Node<'_>, reason: &str) -> u64 {
    let counters = node.sluice_json(&["counters"]).unwrap();
    let drops = counters["drops"].as_array().unwrap();
    let found = drops.iter().find(|drop| drop["reason"] == reason);
    found.map_or(0, |drop| drop["packets"].as_u64().unwrap())
}

/// Runs `act` and waits until the node's agent has dropped exactly `count` frames more for `reason`; where frames are lost on
/// purpose, at least as many.
pub(crate) fn expect_drops(lab: &Lab, node: &Node<'_>, reason: &str, count: u64, act: impl Fn()) {
    let before = drops(node, reason);
    let more = || drops(node, reason) - before;
    let once = || {
        act();
        lab.wait(reason, PATIENCE, || more() >= count).is_ok()
    };
    let dropped = faults::again(once, |dropped| *dropped);
    assert!(
        dropped && (more() == count || faults::everywhere()),
        "{} for {reason} instead of {count}; {:#}",
        more(),
        node.sluice_json(&["counters"])
            .map_or(Value::Null, |c| c["drops"].clone())
    );
}
