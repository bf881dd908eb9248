//! Puts the first node's forwarding on a core of its own, as long as it takes to measure what that core does for a packet. It never moves
//! who forwards: peers pin their own threads there; it moves the kernel's that receive for them, and says where all else is to be.

use super::peers::Site;
use super::scene::core;
use super::traffic::Threads;
use crate::cpus;
use anyhow::{Context, Result};
use nix::unistd::Pid;

/// As long as this lives, what is received on the first node is worked on by its core, what is on the other node by others.
pub(super) struct Apart<'s> {
    site: &'s Site,
    others: Vec<usize>,
}

impl<'s> Apart<'s> {
    /// `None` where it cannot be: with a single processor, or where no threads receive (threaded NAPI).
    pub(super) fn of(site: &'s Site) -> Result<Option<Self>> {
        let others: Vec<usize> = (0..cpus::count()).filter(|cpu| *cpu != core(0)).collect();
        if others.is_empty() || site.napi.iter().any(|threads| threads.is_empty()) {
            return Ok(None);
        }
        let apart = Self { site, others };
        allow(&site.napi[0], &[core(0)])?;
        allow(&site.napi[1], &apart.others)?;
        Ok(Some(apart))
    }

    /// Generator and receiver, as far from it, and from each other, as there are processors.
    pub(super) fn threads(&self, rate: f64) -> Threads {
        let [first, .., last] = self.others[..] else {
            return Threads::bursts([self.others[0]; 2], rate);
        };
        Threads::bursts([last, first], rate)
    }
}

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        let all: Vec<usize> = (0..cpus::count()).collect();
        for threads in &self.site.napi {
            // Who cannot be moved back has ended.
            let _ = allow(threads, &all);
        }
    }
}

fn allow<'t>(threads: impl IntoIterator<Item = &'t Pid>, cpus: &[usize]) -> Result<()> {
    for thread in threads {
        cpus::allow(*thread, cpus.iter().copied()).with_context(|| {
            format!("the kernel's receiving thread {thread} cannot be moved to processors {cpus:?}")
        })?;
    }
    Ok(())
}
