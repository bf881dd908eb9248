//! Decides how a node's kernel receives from the wire. It never says what becomes of the packets.

use crate::compare::scene::NODES;
use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::unistd::Pid;
use sluice_lab::{Lab, Place};
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

/// Threads that work on what the uplinks of both nodes receive; none where softirqs do.
pub(in crate::compare) type Napi = [BTreeSet<Pid>; 2];

/// Name of such a thread, before the device's number (net/core/dev.c, `napi_kthread_create`).
const NAPI_OF_UPLINK: &str = "napi/eth0-";

/// Threads have no namespace to be known by: those that appear are this lab's as long as no other one's are made meanwhile.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Settings of both uplinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::compare) enum Receiving {
    /// As the interfaces come
    Plain,
    /// Segments are put together again (GRO), as by every NIC's driver
    Gro,
    /// With GRO, received packets are worked on by a thread that the scheduler places, and not on the sender's processor (threaded NAPI)
    Threaded,
    /// The same by a thread that goes before ordinary ones (`SCHED_RR` 1)
    Realtime,
    /// As by `threaded`, and they are spread over all processors (RPS), also when they come out of the tunnel
    Rps,
}

impl Receiving {
    /// Sets both nodes of a lab. What an XDP program takes GRO never sees, so it is for those who have none.
    pub(super) fn apply(self, lab: &Lab, gro: bool) -> Result<Napi> {
        let mut napi = Napi::default();
        for (node, threads) in NODES.into_iter().zip(&mut napi) {
            let node = lab.place(node)?;
            if gro && self != Self::Plain {
                node.run(&["ethtool", "-K", "eth0", "gro", "on"])?.text()?;
            }
            if !matches!(self, Self::Plain | Self::Gro) {
                let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
                let before = threads_of_uplinks()?;
                with_sys(&node, "echo 1 > /sys/class/net/eth0/threaded")?;
                // The kernel makes them at once.
                *threads = &threads_of_uplinks()? - &before;
            }
            if self == Self::Realtime {
                for thread in &*threads {
                    node.run(&["chrt", "--rr", "--pid", "1", &thread.to_string()])?.text()?;
                }
            }
            if self == Self::Rps {
                let cpus = crate::cpus::count().min(32);
                let mask = (1u64 << cpus) - 1;
                let line =
                    "for f in /sys/class/net/eth0/queues/rx-*/rps_cpus /sys/class/net/flannel.1/queues/rx-*/rps_cpus";
                with_sys(&node, &format!("{line}; do [ ! -e $f ] || echo {mask:x} > $f; done"))?;
            }
        }
        Ok(napi)
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Plain => "uplinks as they come",
            Self::Gro => "GRO on the uplinks",
            Self::Threaded => "GRO and threaded NAPI on the uplinks",
            Self::Realtime => "GRO and threaded NAPI of SCHED_RR 1 on the uplinks",
            Self::Rps => "GRO, threaded NAPI and RPS on the uplinks",
        }
    }

    /// Of those whose packets GRO never sees.
    pub(super) fn without_gro(self) -> &'static str {
        match self {
            Self::Plain | Self::Gro => "uplinks as they come",
            Self::Threaded => "threaded NAPI on the uplinks",
            Self::Realtime => "threaded NAPI of SCHED_RR 1 on the uplinks",
            Self::Rps => "threaded NAPI and RPS on the uplinks",
        }
    }
}

/// On the whole machine.
fn threads_of_uplinks() -> Result<BTreeSet<Pid>> {
    let all = fs::read_dir("/proc").context("cannot read /proc")?.flatten();
    let thread = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        // One that ends meanwhile is none.
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        name.starts_with(NAPI_OF_UPLINK).then(|| Pid::from_raw(pid))
    };
    Ok(all.filter_map(thread).collect())
}

/// Runs a line of shell that sees the place's own interfaces in `/sys`.
fn with_sys(place: &Place<'_>, line: &str) -> Result<()> {
    let path = place.netns();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    place.run(&["ip", "netns", "exec", &name, "sh", "-ec", line])?.text()?;
    Ok(())
}
