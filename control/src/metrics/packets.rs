//! Decides how what the packet side counts is exported.

use super::{Labels, Out};
use crate::api::CountersReport;
use prometheus_client::registry::Unit;
use std::fmt::Result;

/// The packet side's balance: received + generated + split (+ pushed) = sent + to_host + answered + dropped + merged + held (+ pulled),
/// those in brackets for bytes alone.
const BALANCE: [&str; 10] = [
    "received",
    "generated",
    "split",
    "pushed",
    "sent",
    "to_host",
    "answered",
    "dropped",
    "merged",
    "pulled",
];

/// Total, metric, meaning.
const EVENTS: [(&str, &str, &str); 14] = [
    (
        "cache_hits",
        "flow_cache_hits",
        "Packets that an entry of a flow cache decided",
    ),
    ("cache_misses", "flow_cache_misses", "Packets that took the slow path"),
    (
        "renewed",
        "flow_cache_renewals",
        "Entries of flow caches that a change of the configuration did not concern",
    ),
    (
        "decided_again",
        "flow_cache_redecisions",
        "Entries of flow caches decided again because something they depend on had changed",
    ),
    ("connections_created", "connections_created", "Connections that began"),
    (
        "connections_expired",
        "connections_expired",
        "Connections that ended by silence",
    ),
    (
        "connections_cut",
        "connections_cut",
        "Connections cut because policy no longer allows them",
    ),
    (
        "connections_evicted",
        "connections_evicted",
        "Connections taken out before their time so that another one found room",
    ),
    (
        "races_lost",
        "connection_races_lost",
        "Connections that two workers began at once, one of which took the other's decision",
    ),
    (
        "super_frames",
        "super_frames",
        "Super-frames made of packets that came one by one",
    ),
    ("bursts", "bursts", "Bursts that held at least one frame"),
    ("rounds", "worker_rounds", "Rounds of the workers' loops"),
    ("idle_rounds", "worker_idle_rounds", "Rounds that found nothing to do"),
    ("sleeps", "worker_sleeps", "Times that workers fell asleep"),
];

pub(super) fn encode(out: &mut Out<'_>, counters: &CountersReport) -> Result {
    let total = |name: &str| counters.totals.get(name).copied();
    let balance = |unit: &'static str| {
        let row =
            move |stage: &'static str| Some((vec![("stage", stage.to_owned())], total(&format!("{stage}_{unit}"))?));
        BALANCE.into_iter().filter_map(row)
    };
    let frames = balance("frames").filter(|(labels, _)| !["pushed", "pulled"].contains(&labels[0].1.as_str()));
    out.counters(
        "frames",
        "Frames by where they came from or went: received + generated + split = sent + to_host + answered + dropped + merged + held",
        frames,
    )?;
    let help = "The same of bytes; pushed and pulled are headers put on and taken off";
    out.counters_in("frame", help, Some(&Unit::Bytes), balance("bytes"))?;
    let held = total("held_frames").map(|frames| frames as f64);
    out.maybe(
        "held_frames",
        "Frames that wait for a neighbour or a first fragment",
        None,
        held,
    )?;
    let connections = total("connections").map(|connections| connections as f64);
    out.maybe("connections", "Connections of this node", None, connections)?;
    for (name, metric, help) in EVENTS {
        if let Some(value) = total(name) {
            out.counter(metric, help, value)?;
        }
    }
    let drops = counters.drops.iter().map(|drop| {
        let labels = vec![("reason", drop.reason.clone()), ("group", drop.group.clone())];
        (labels, drop.packets)
    });
    out.counters(
        "drops",
        "Frames dropped, by reason and kind of remedy (sluice drops)",
        drops,
    )?;
    ports(out, counters)?;
    workers(out, counters)
}

fn ports(out: &mut Out<'_>, counters: &CountersReport) -> Result {
    let named = || counters.ports.iter().filter(|port| !port.name.is_empty());
    let label = |name: &str| -> Labels { vec![("port", name.to_owned())] };
    type Of = fn(&crate::api::PortCounters) -> u64;
    let all: [(&str, &str, Of); 2] = [
        ("port_receive_packets", "Packets that came in by a port", |port| {
            port.rx_packets
        }),
        ("port_transmit_packets", "Packets that left by a port", |port| {
            port.tx_packets
        }),
    ];
    for (name, help, of) in all {
        out.counters(name, help, named().map(|port| (label(&port.name), of(port))))?;
    }
    let all: [(&str, &str, Of); 2] = [
        ("port_receive", "Bytes that came in by a port", |port| port.rx_bytes),
        ("port_transmit", "Bytes that left by a port", |port| port.tx_bytes),
    ];
    for (name, help, of) in all {
        let rows = named().map(|port| (label(&port.name), of(port)));
        out.counters_in(name, help, Some(&Unit::Bytes), rows)?;
    }
    let lost = counters.lost.iter().filter(|lost| !lost.port.is_empty()).map(|lost| {
        let labels = vec![("port", lost.port.clone()), ("cause", lost.cause.clone())];
        (labels, lost.packets)
    });
    out.counters(
        "port_lost_packets",
        "Packets that a device lost before a worker had them",
        lost,
    )
}

fn workers(out: &mut Out<'_>, counters: &CountersReport) -> Result {
    let label = |worker: u16| ("worker", worker.to_string());
    let packets = counters.workers.iter().map(|w| (vec![label(w.worker)], w.packets));
    out.counters("worker_packets", "Packets that a worker took in", packets)?;
    let times = counters.workers.iter().flat_map(|w| {
        let states = [("busy", w.busy_ns), ("polling", w.poll_ns), ("asleep", w.idle_ns)];
        states.map(|(state, ns)| (vec![label(w.worker), ("state", state.to_owned())], ns as f64 / 1e9))
    });
    let help = "What a worker's time went into";
    out.counters_in("worker_time", help, Some(&Unit::Seconds), times)
}
