//! What processors did, the whole machine's or one of them, softirqs included; and how much of it other programs did. It never subtracts
//! what others did: who they worked for nobody knows, so it is told beside the figure.

use crate::cpus;
use anyhow::{Context, Result};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Instant;

/// Flag of kernel threads in /proc/PID/stat (kernel: PF_KTHREAD): their work is done for somebody, and counts as ours.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What is told apart, seconds.
const LEAST: f64 = 0.01;

/// Between two moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Processor seconds that were not idle, whoever had them; a tick at least.
    pub(super) busy: f64,
    /// Processor seconds of programs that are not this one's, of [`Self::wall`] times the processors.
    pub(super) others: f64,
    pub(super) wall: f64,
}

/// A moment.
pub(super) struct Moment {
    busy: u64,
    others: u64,
    at: Instant,
}

impl Load {
    /// Begins to count.
    pub(super) fn now() -> Result<Moment> {
        Ok(Moment {
            busy: busy(&fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?)?,
            others: others()?,
            at: Instant::now(),
        })
    }

    /// How much of the machine others had, from 0 to 1.
    pub(super) fn share_of_others(&self) -> f64 {
        self.others / (self.wall * cpus::count() as f64)
    }
}

impl Moment {
    pub(super) fn since(&self) -> Result<Load> {
        let now = Load::now()?;
        let tick = sysconf(SysconfVar::CLK_TCK)?.context("ticks have no length")? as f64;
        let seconds = |before: u64, now: u64| now.saturating_sub(before) as f64 / tick;
        Ok(Load {
            busy: seconds(self.busy, now.busy).max(LEAST),
            others: seconds(self.others, now.others),
            wall: (now.at - self.at).as_secs_f64(),
        })
    }
}

/// A moment of one processor.
pub(super) struct Core {
    cpu: usize,
    away: u64,
    at: Instant,
}

impl Core {
    pub(super) fn now(cpu: usize) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Ok(Self {
            cpu,
            away: away(&stat, cpu)?,
            at: Instant::now(),
        })
    }

    /// Seconds that the processor has been busy since. What is not busy the kernel knows exactly, while what is it samples.
    pub(super) fn busy_since(&self) -> Result<f64> {
        let now = Self::now(self.cpu)?;
        let tick = sysconf(SysconfVar::CLK_TCK)?.context("ticks have no length")? as f64;
        let away = now.away.saturating_sub(self.away) as f64 / tick;
        Ok(((now.at - self.at).as_secs_f64() - away).max(0.0))
    }
}

/// Ticks in which this processor was idle, waited or was stolen.
fn away(stat: &str, cpu: usize) -> Result<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")));
    let fields: Vec<u64> = line
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [_, _, _, idle, waiting, _, _, stolen, ..] = fields[..] else {
        anyhow::bail!("/proc/stat has no line of processor {cpu}")
    };
    Ok(idle + waiting + stolen)
}

/// Ticks of all processors in which they did something: user, nice, system, irq, softirq; neither idle, waiting nor stolen
/// (proc_stat(5)).
fn busy(stat: &str) -> Result<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let fields: Vec<u64> = line
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _waiting, irq, softirq, ..] = fields[..] else {
        anyhow::bail!("/proc/stat has no line of all processors")
    };
    Ok(user + nice + system + irq + softirq)
}

/// Ticks of all programs but this one, its children, and the kernel's threads. Those of a program that ended are its parent's.
fn others() -> Result<u64> {
    let mut parents = HashMap::new();
    let mut ticks = HashMap::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // One that ends meanwhile is counted with its parent.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some((parent, used)) = program(&stat) {
            parents.insert(pid, parent);
            ticks.insert(pid, used);
        }
    }
    let ours = family(Pid::this().as_raw(), &parents);
    Ok(ticks
        .iter()
        .filter(|(pid, _)| !ours.contains(pid))
        .map(|(_, n)| n)
        .sum())
}

/// Parent and ticks of a program, with those of its children that ended; `None` for a thread of the kernel.
fn program(stat: &str) -> Option<(i32, u64)> {
    // The name in parentheses may hold anything: fields count from the last one (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    if number(6)? & KERNEL_THREAD != 0 {
        return None;
    }
    let used = number(11)? + number(12)? + number(13)? + number(14)?;
    Some((fields.get(1)?.parse().ok()?, used))
}

/// `pid` and all that descend from it.
fn family(pid: i32, parents: &HashMap<i32, i32>) -> HashSet<i32> {
    let mut family = HashSet::from([pid]);
    loop {
        let before = family.len();
        let children = parents.iter().filter(|(_, parent)| family.contains(parent));
        let children: Vec<i32> = children.map(|(child, _)| *child).collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_time_is_not_busy() {
        let stat = "cpu  100 20 30 4000 500 6 7 800 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(busy(stat).unwrap(), 163);
        assert!(busy("intr 1 2 3\n").is_err());
    }

    #[test]
    fn a_program_counts_with_its_dead_children_and_the_kernels_threads_do_not() {
        let stat = |flags: u64| format!("7 (a) b) S 3 7 7 0 -1 {flags} 1 2 3 4 100 20 3000 400 20 0 1 0 5 6 7");
        assert_eq!(program(&stat(0x0040_0000)), Some((3, 3520)));
        assert_eq!(program(&stat(KERNEL_THREAD)), None);
        assert_eq!(program("7 (a"), None);
    }

    #[test]
    fn a_share_is_of_all_processors() {
        let load = Load {
            busy: 1.5,
            others: 0.5 * cpus::count() as f64,
            wall: 1.0,
        };
        assert_eq!(load.share_of_others(), 0.5);
    }

    #[test]
    fn a_core_is_away_while_it_is_idle_waits_or_is_stolen() {
        let stat = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu10 1 2 3 40 50 6 7 80 0 0\n";
        assert_eq!((away(stat, 0).unwrap(), away(stat, 10).unwrap()), (17, 170));
        assert!(away(stat, 1).is_err());
    }

    #[test]
    fn what_a_core_does_is_seen() {
        let began = Core::now(0).unwrap();
        assert!(
            (0.0..=0.02).contains(&began.busy_since().unwrap()),
            "nothing was done yet"
        );
        crate::cpus::pin(0).unwrap();
        let used = crate::measure::time::cpu_ns();
        while crate::measure::time::cpu_ns() < used + 100_000_000 {
            std::hint::spin_loop();
        }
        assert!(began.busy_since().unwrap() >= 0.05);
    }

    #[test]
    fn a_family_is_whoever_descends_from_its_head() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 5)]);
        assert_eq!(family(2, &parents), HashSet::from([2, 3, 4]));
    }

    #[test]
    fn what_this_program_does_is_seen() {
        let began = Load::now().unwrap();
        let used = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
        let begin = used().tv_sec() as f64 + used().tv_nsec() as f64 * 1e-9;
        while used().tv_sec() as f64 + (used().tv_nsec() as f64) * 1e-9 < begin + 0.1 {
            std::hint::spin_loop();
        }
        let load = began.since().unwrap();
        assert!(load.busy >= 0.05 && load.wall >= 0.1 / 64.0, "{load:?}");
    }
}
