//! Processes of a lab: known by pid and start time, so that a reused pid is never signalled. It never decides what runs.

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One process, also after its parent is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Process id; leader of its own group unless it is the lab itself.
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot, as in `/proc/<pid>/stat`.
    pub(crate) start: u64,
    /// What it is, for people: `agent node-a`.
    pub(crate) what: String,
}

impl Process {
    /// The running process `pid`. None if it is gone already.
    pub(crate) fn of(pid: i32, what: impl Into<String>) -> Option<Process> {
        let (start, _) = stat(pid)?;
        Some(Process {
            pid,
            start,
            what: what.into(),
        })
    }

    /// This process.
    pub(crate) fn myself() -> Process {
        let pid = Pid::this().as_raw();
        Process {
            pid,
            start: stat(pid).map_or(0, |(start, _)| start),
            what: "lab".into(),
        }
    }

    /// Is it still running? A process that ended and waits for its parent is not.
    pub(crate) fn alive(&self) -> bool {
        stat(self.pid).is_some_and(|(start, state)| start == self.start && state != 'Z' && state != 'X')
    }

    /// Sends `signal` to the process alone. Nothing happens if it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Ends what is left of its group, at once, while the pid is still known to be this process's own.
    pub(crate) fn end_group(&self) {
        if stat(self.pid).is_some_and(|(start, _)| start == self.start) {
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Waits until it is gone. False if it is still there after `patience`.
    pub(crate) fn gone_within(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.alive() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Frees its pid if it is a child of ours that has ended. Its first thread may be done before the others are: then the kernel has
    /// not taken all down yet, and there is nothing to wait for until it has.
    fn reap(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(
            waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)),
            Ok(WaitStatus::StillAlive)
        ) && !self.alive()
            && Instant::now() < end
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Ends all of `processes` with their groups: asks politely, waits for `patience` in total, then insists.
pub(crate) fn end(processes: &[Process], patience: Duration) {
    let end = Instant::now() + patience;
    for p in processes {
        p.signal(Signal::SIGTERM);
    }
    for p in processes {
        p.gone_within(end.saturating_duration_since(Instant::now()));
        p.end_group();
        p.gone_within(Duration::from_secs(2));
        p.reap();
    }
}

/// Start time and state letter. The name in parentheses may hold anything, so fields count from the last one.
fn stat(pid: i32) -> Option<(u64, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn knows_a_child_until_it_ends() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::of(child.id() as i32, "sleep").unwrap();
        assert!(process.alive());
        let stranger = Process {
            start: process.start + 1,
            ..process.clone()
        };
        stranger.signal(Signal::SIGKILL);
        assert!(process.alive(), "another start time is another process");
        end(std::slice::from_ref(&process), Duration::from_secs(5));
        assert!(!process.alive());
        assert!(child.wait().is_err(), "it was reaped");
    }

    #[test]
    fn insists_when_asking_does_not_help() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; while :; do sleep 1; done"])
            .spawn()
            .unwrap();
        let process = Process::of(child.id() as i32, "stubborn").unwrap();
        end(std::slice::from_ref(&process), Duration::from_millis(50));
        assert!(!process.alive());
        assert!(child.wait().is_err(), "it was reaped");
    }
}
