//! Decides whether the kernel's table of connections is large enough. It never changes what belongs to the machine: its size is the same
//! for all network namespaces, and asked for.

use crate::compare::settings::Setting;
use crate::report::exact;
use anyhow::{Context, Result, ensure};
use sluice_lab::Place;
use std::fs;

/// Flows that every kernel's usual table has room for.
const USUAL: u32 = 50_000;
/// Datagrams without an answer are remembered for half a minute, and a million flows take longer than that to come round.
pub(super) const REMEMBER: &str = "echo 300 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout";

/// Seconds until the kernel forgets datagrams, one way and both, and what they are where nobody sets them (net/netfilter/
/// nf_conntrack_proto_udp.c).
const TIMEOUTS: [(&str, &str); 2] = [
    ("nf_conntrack_udp_timeout", "30"),
    ("nf_conntrack_udp_timeout_stream", "120"),
];

/// What the node has them set to.
pub(super) fn settings(node: &Place<'_>) -> Result<Vec<Setting>> {
    let read = |(key, usual): (&'static str, &'static str)| {
        let path = format!("/proc/sys/net/netfilter/{key}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(Setting::new(key, text.trim(), usual))
    };
    node.within(|| TIMEOUTS.into_iter().map(read).collect())
}

/// Whether a node remembers so many flows, with as many to spare, and finds each at once.
pub(super) fn has_room_for(flows: u32) -> Result<()> {
    if flows <= USUAL {
        return Ok(());
    }
    let most = 2 * u64::from(flows);
    for (key, want) in [("nf_conntrack_max", most), ("nf_conntrack_buckets", u64::from(flows))] {
        let path = format!("/proc/sys/net/netfilter/{key}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let have: u64 = text.trim().parse().with_context(|| format!("{path} holds no number"))?;
        ensure!(
            have >= want,
            "the kernel's table of connections is too small for {} flows: net.netfilter.{key} is {}; set it on this machine with \
             sysctl -w net.netfilter.{key}={want}",
            exact(flows.into()),
            exact(have)
        );
    }
    Ok(())
}
