//! Decides how a node's kernel receives from the wire. It never says what becomes of the packets.

use crate::compare::scene::NODES;
use anyhow::Result;
use clap::ValueEnum;
use sluice_lab::{Lab, Place};

/// Settings of both uplinks, each on top of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::compare) enum Receiving {
    /// As the interfaces come
    Plain,
    /// Segments are put together again (GRO), as by every NIC's driver
    Gro,
    /// Received packets are worked on by a thread that the scheduler places, and not on the sender's processor (threaded NAPI)
    Threaded,
    /// They are spread over all processors (RPS), also when they come out of the tunnel
    Rps,
}

impl Receiving {
    /// Sets both nodes of a lab. What an XDP program takes GRO never sees, so it is for those who have none.
    pub(super) fn apply(self, lab: &Lab, gro: bool) -> Result<()> {
        for node in NODES {
            let node = lab.place(node)?;
            if gro && self >= Self::Gro {
                node.run(&["ethtool", "-K", "eth0", "gro", "on"])?.text()?;
            }
            if self >= Self::Threaded {
                with_sys(&node, "echo 1 > /sys/class/net/eth0/threaded")?;
            }
            if self >= Self::Rps {
                let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(32);
                let mask = (1u64 << cpus) - 1;
                let line =
                    "for f in /sys/class/net/eth0/queues/rx-*/rps_cpus /sys/class/net/flannel.1/queues/rx-*/rps_cpus";
                with_sys(&node, &format!("{line}; do [ ! -e $f ] || echo {mask:x} > $f; done"))?;
            }
        }
        Ok(())
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Plain => "uplinks as they come",
            Self::Gro => "GRO on the uplinks",
            Self::Threaded => "GRO and threaded NAPI on the uplinks",
            Self::Rps => "GRO, threaded NAPI and RPS on the uplinks",
        }
    }
}

/// Runs a line of shell that sees the place's own interfaces in `/sys`.
fn with_sys(place: &Place<'_>, line: &str) -> Result<()> {
    let path = place.netns();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    place.run(&["ip", "netns", "exec", &name, "sh", "-ec", line])?.text()?;
    Ok(())
}
