//! Decides what becomes of masquerade ports that programs of the host bind while the agent runs: new connections avoid
//! them at once, live ones keep them, and then the program has them. It never ends a connection.

use crate::host_ports::in_use;
use crate::plane::Plane;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use sluice_lb::{PortRange, PortSet};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two looks at the host's sockets.
const EVERY: Duration = Duration::from_secs(1);
/// Reading a hundred thousand sockets takes a while: the pause is this many times as long then, up to [`LATEST`].
const SHARE: u32 = 50;
const LATEST: Duration = Duration::from_secs(5);
/// A port that a program had is left to it this long after its socket is gone: programs are restarted.
const REST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// By a program; whether connections are answered there is not known yet.
    Avoided,
    /// By a program, while connections are still answered there.
    Draining,
    /// The program has it.
    Given,
    /// The program is gone.
    Resting { until: Instant },
}

/// What is to be done about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// No new connections to it.
    Avoid(u16),
    /// What comes there is the host's.
    Give(u16),
    /// It is ours again.
    TakeBack(u16),
}

/// The ports that programs took.
struct Watch {
    /// Ports that can be ours.
    may: PortSet,
    taken: BTreeMap<u16, Taken>,
}

impl Watch {
    /// Compares with the sockets there are now. `answered` tells at which ports connections are answered.
    fn look(&mut self, used: &PortSet, answered: impl FnOnce() -> PortSet, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        // Who chose a port before it was avoided has entered the connection by the next look.
        let waits = |taken: &Taken| matches!(taken, Taken::Avoided | Taken::Draining);
        let answered = self.taken.values().any(waits).then(answered).unwrap_or_default();
        for (port, taken) in &mut self.taken {
            match (*taken, used.contains(*port)) {
                (Taken::Avoided | Taken::Draining, true) if answered.contains(*port) => *taken = Taken::Draining,
                (Taken::Avoided | Taken::Draining, true) => {
                    *taken = Taken::Given;
                    changes.push(Change::Give(*port));
                }
                (Taken::Resting { .. }, true) => *taken = Taken::Given,
                (Taken::Avoided | Taken::Draining, false) => changes.push(Change::TakeBack(*port)),
                (Taken::Given, false) => *taken = Taken::Resting { until: now + REST },
                (Taken::Resting { until }, false) if now >= until => changes.push(Change::TakeBack(*port)),
                _ => {}
            }
        }
        for change in &changes {
            if let Change::TakeBack(port) = change {
                self.taken.remove(port);
            }
        }
        for port in used.iter().filter(|port| self.may.contains(*port)) {
            self.taken.entry(port).or_insert_with(|| {
                changes.push(Change::Avoid(port));
                Taken::Avoided
            });
        }
        changes
    }

    fn draining(&self) -> Vec<u16> {
        let draining = self.taken.iter().filter(|(_, taken)| **taken == Taken::Draining);
        draining.map(|(port, _)| *port).collect()
    }
}

/// Watches until `end` is closed.
pub(crate) fn spawn(plane: Arc<Plane>, range: PortRange, end: Receiver<()>) -> std::io::Result<JoinHandle<()>> {
    let mut watch = Watch {
        may: plane.shared.outside_ports.all(),
        taken: BTreeMap::new(),
    };
    let run = move || {
        let mut pause = EVERY;
        while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            crate::leaving::look(&plane);
            let now = Instant::now();
            let used = in_use(range);
            pause = (now.elapsed() * SHARE).clamp(EVERY, LATEST);
            match used {
                Ok(used) => {
                    let changes = watch.look(&used, || answered(&plane), now);
                    changes.into_iter().for_each(|change| apply(&plane, change));
                    *plane.contested.lock().unwrap_or_else(PoisonError::into_inner) = watch.draining();
                }
                Err(err) => {
                    tracing::warn!("cannot tell which ports the host uses: {err}; what is known stays in force");
                }
            }
        }
    };
    std::thread::Builder::new().name("port-watch".into()).spawn(run)
}

fn apply(plane: &Plane, change: Change) {
    let ours = &plane.shared.outside_ports;
    let steer = |port, on| {
        plane
            .uplink
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .own(port, on);
    };
    match change {
        Change::Avoid(port) => {
            tracing::info!(
                port,
                "a program of the host has bound a masquerade port; new connections avoid it"
            );
            ours.own(port, false);
        }
        Change::Give(port) => {
            tracing::info!(port, "the masquerade port is the host's now");
            steer(port, false);
        }
        // The other way round replies could come before they are taken.
        Change::TakeBack(port) => {
            tracing::info!(port, "the masquerade port is free again");
            steer(port, true);
            ours.own(port, true);
        }
    }
}

/// Ports of the node's addresses at which masqueraded connections are answered.
fn answered(plane: &Plane) -> PortSet {
    let addresses = {
        let uplink = plane.uplink.lock().unwrap_or_else(PoisonError::into_inner);
        uplink.node_addresses().clone()
    };
    let mut ports = PortSet::new();
    plane.shared.connections.each(|record| {
        let (original, reply) = (&record.original, &record.reply);
        let masqueraded = (reply.dst, reply.dport) != (original.src, original.sport);
        if masqueraded && addresses.contains(&reply.dst) {
            ports.insert(reply.dport);
        }
    });
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ports: &[u16]) -> PortSet {
        ports.iter().copied().collect()
    }

    fn watch() -> Watch {
        Watch {
            may: set(&[50_000, 50_001]),
            taken: BTreeMap::new(),
        }
    }

    #[test]
    fn a_port_is_avoided_then_given_when_nothing_is_answered_there_and_rests_before_it_is_ours_again() {
        let (mut watch, start) = (watch(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let busy = || set(&[50_000]);
        let nobody = || panic!("nothing drains, so nobody need look through all connections");
        assert_eq!(watch.look(&set(&[]), nobody, at(0)), []);
        assert_eq!(
            watch.look(&set(&[50_000, 60_000]), nobody, at(1)),
            [Change::Avoid(50_000)]
        );
        assert_eq!(watch.look(&set(&[50_000]), busy, at(2)), []);
        assert_eq!(watch.draining(), [50_000]);
        assert_eq!(watch.look(&set(&[50_000]), PortSet::new, at(3)), [Change::Give(50_000)]);
        assert!(watch.draining().is_empty());
        assert_eq!(watch.look(&set(&[]), nobody, at(4)), []);
        // It comes back before the time is over: nothing changes hands.
        assert_eq!(watch.look(&set(&[50_000]), nobody, at(63)), []);
        assert_eq!(watch.look(&set(&[]), nobody, at(70)), []);
        assert_eq!(watch.look(&set(&[]), nobody, at(129)), []);
        assert_eq!(watch.look(&set(&[]), nobody, at(130)), [Change::TakeBack(50_000)]);
        assert_eq!(watch.look(&set(&[50_000]), nobody, at(131)), [Change::Avoid(50_000)]);
    }

    #[test]
    fn a_program_that_goes_before_it_had_the_port_leaves_it_at_once() {
        let (mut watch, now) = (watch(), Instant::now());
        watch.look(&set(&[50_001]), PortSet::new, now);
        assert_eq!(
            watch.look(&set(&[]), || set(&[50_001]), now),
            [Change::TakeBack(50_001)]
        );
        assert!(watch.taken.is_empty());
    }
}
