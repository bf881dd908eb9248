//! Decides what the agent's probes answer. It never asks whether the API server is there: a node forwards without it.

use crate::api::WorkerTotals;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Longest time between two rounds of the control loop or of a worker. Both come round ten times a second with nothing to do; the
/// longest round, the first compilation of a large cluster, takes seconds.
const STILL: Duration = Duration::from_secs(15);
/// How long a change may wait to be served before load balancers are told to go elsewhere, as kube-proxy has it (twice its period of 30 s).
const LATE: Duration = Duration::from_secs(60);

/// What the loop says of itself and of the workers; read by whoever answers probes.
#[derive(Debug)]
pub(crate) struct Vitals(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The loop's last round.
    beat: Instant,
    /// Each worker's time accounted for, and when it grew last.
    workers: Vec<(u64, Instant)>,
    /// A complete state was served once.
    served: bool,
    waiting_for: Vec<String>,
    /// The oldest change that is not served yet.
    due: Option<Instant>,
    served_at: Option<SystemTime>,
    /// The node is to get no new connections from load balancers.
    leaving: bool,
}

/// The answer of `/healthz`, in kube-proxy's words.
#[derive(Debug, PartialEq)]
pub(super) struct Healthz {
    pub(super) healthy: bool,
    pub(super) eligible: bool,
    pub(super) updated: Option<SystemTime>,
}

impl Vitals {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            beat: now,
            workers: Vec::new(),
            served: false,
            waiting_for: vec!["the control loop to begin".to_owned()],
            due: None,
            served_at: None,
            leaving: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The control loop came round.
    pub(crate) fn beat(&self, now: Instant, waiting_for: Vec<String>) {
        let mut state = self.state();
        state.beat = now;
        state.served |= waiting_for.is_empty();
        state.waiting_for = waiting_for;
    }

    /// What workers have accounted for.
    pub(crate) fn workers(&self, now: Instant, totals: &[WorkerTotals]) {
        let mut state = self.state();
        state.workers.resize(totals.len(), (0, now));
        for ((seen, moved), worker) in state.workers.iter_mut().zip(totals) {
            let time = worker.busy_ns + worker.poll_ns + worker.idle_ns;
            if time != *seen {
                (*seen, *moved) = (time, now);
            }
        }
    }

    /// A change is to be served.
    pub(crate) fn due(&self, now: Instant) {
        self.state().due.get_or_insert(now);
    }

    /// All that was known is served.
    pub(crate) fn done(&self, at: SystemTime, leaving: bool) {
        let mut state = self.state();
        state.due = None;
        state.served_at = Some(at);
        state.leaving = leaving;
    }

    /// Whether control loop and workers move; if not, which does not.
    pub(crate) fn livez(&self, now: Instant) -> Result<(), String> {
        let state = self.state();
        let still = |since: Instant| Some(now.saturating_duration_since(since)).filter(|still| *still > STILL);
        let stands = |who: String| move |still: Duration| format!("{who} has not moved for {} s", still.as_secs());
        let control = still(state.beat).map(stands("the control loop".to_owned()));
        // Nobody looks at workers while the loop stands.
        let seen = state.beat;
        let workers = state.workers.iter().enumerate().filter_map(|(index, (_, moved))| {
            let still = Some(seen.saturating_duration_since(*moved)).filter(|still| *still > STILL);
            still.map(stands(format!("worker {index}")))
        });
        let all: Vec<String> = control.into_iter().chain(workers).collect();
        if all.is_empty() { Ok(()) } else { Err(all.join("; ")) }
    }

    /// Whether a complete state was served; if not, what it waits for.
    pub(crate) fn readyz(&self) -> Result<(), String> {
        let state = self.state();
        if state.served {
            return Ok(());
        }
        Err(format!("waiting for {}", state.waiting_for.join("; for ")))
    }

    pub(super) fn healthz(&self, now: Instant) -> Healthz {
        let state = self.state();
        let late = state.due.is_some_and(|due| now.saturating_duration_since(due) > LATE);
        Healthz {
            healthy: state.served && !late,
            eligible: !state.leaving,
            updated: state.served_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn worker(busy_ns: u64, idle_ns: u64) -> WorkerTotals {
        WorkerTotals {
            busy_ns,
            idle_ns,
            ..WorkerTotals::default()
        }
    }

    #[test]
    fn a_loop_that_stands_is_told_and_so_is_a_worker() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        assert_eq!(vitals.livez(start + STILL), Ok(()));
        let told = vitals.livez(start + STILL + S).unwrap_err();
        assert_eq!(told, "the control loop has not moved for 16 s");
        vitals.workers(start, &[worker(1, 0), worker(5, 5)]);
        for second in 1..=16 {
            let now = start + second * S;
            // The first one sleeps and wakes, the second one hangs.
            vitals.workers(now, &[worker(1, u64::from(second)), worker(5, 5)]);
            vitals.beat(now, Vec::new());
        }
        let told = vitals.livez(start + 16 * S).unwrap_err();
        assert_eq!(told, "worker 1 has not moved for 16 s");
        vitals.workers(start + 17 * S, &[worker(1, 20), worker(6, 5)]);
        assert_eq!(vitals.livez(start + 17 * S), Ok(()));
    }

    #[test]
    fn ready_is_who_served_a_complete_state_once() {
        let vitals = Vitals::new(Instant::now());
        vitals.beat(Instant::now(), vec!["a".into(), "b".into()]);
        assert_eq!(vitals.readyz(), Err("waiting for a; for b".to_owned()));
        vitals.beat(Instant::now(), Vec::new());
        vitals.beat(Instant::now(), vec!["the uplink".into()]);
        assert_eq!(vitals.readyz(), Ok(()));
    }

    #[test]
    fn health_is_kube_proxys() {
        let (start, at) = (Instant::now(), SystemTime::now());
        let vitals = Vitals::new(start);
        let of = |healthy, eligible, updated| Healthz {
            healthy,
            eligible,
            updated,
        };
        assert_eq!(vitals.healthz(start), of(false, true, None));
        vitals.beat(start, Vec::new());
        vitals.done(at, false);
        assert_eq!(vitals.healthz(start), of(true, true, Some(at)));
        vitals.due(start);
        vitals.due(start + 50 * S);
        assert_eq!(vitals.healthz(start + LATE), of(true, true, Some(at)));
        assert_eq!(vitals.healthz(start + LATE + S), of(false, true, Some(at)));
        vitals.done(at, true);
        assert_eq!(vitals.healthz(start + LATE + S), of(true, false, Some(at)));
        assert_eq!(vitals.livez(start), Ok(()), "a node that leaves is alive");
    }
}
