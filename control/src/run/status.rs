//! The node's state, put together from all that the loop knows.

use super::control::Control;
use super::rows::Owners;
use crate::api::{
    CountersReport, DropQuery, DropsReport, HostStatus, LostCount, PortCounters, SourceStatus, Status, UplinkStatus,
    Warning,
};
use crate::compile::{Reason, Report, Severity, vtep_mac};
use sluice_snapshot::{PortKind, PortTable};
use sluice_wire::{Addr, PortSlot};
use std::time::{Duration, Instant};

impl Control {
    /// The answer to `status`.
    pub(super) fn status(&self) -> Status {
        let now = Instant::now();
        let since = |at: Instant| millis(now.saturating_duration_since(at));
        let counters = self.dataplane.counters();
        let tsc_hz = self.dataplane.tsc_hz();
        let waiting_for = self.waiting_for();
        Status {
            node: self.settings.compile.node_name.clone(),
            ready: waiting_for.is_empty(),
            waiting_for,
            nodes: self.store.nodes().count() as u32,
            generation: self.publisher.current().generation.0,
            generation_age_ms: since(self.published),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: since(self.started),
            source: SourceStatus {
                kind: self.source().kind().to_owned(),
                place: self.source().place(),
                synced: self.store.synced(),
                last_change_ms: self.last_change.map(since),
                last_heard_ms: self.source().last_heard().map(since),
                saved_age_ms: self.source().saved_age().map(millis),
                events_written: self.source().notices().0,
                events_dropped: self.source().notices().1,
                problems: self.problems.rows(),
                ignored: self.problems.ignored_kinds(),
            },
            uplink: self.uplink_status(),
            host: self.host_status(),
            pods: self.attachments.len() as u32,
            workers: self.rates.workers(now, self.dataplane.workers(), tsc_hz),
            tsc_hz,
            drops: self.rates.drops(now, &counters),
            warnings: self.warnings(now, |_| true),
        }
    }

    /// All counters, with ports named. Gathered elsewhere, so that the loop goes on meanwhile.
    pub(super) fn counters(&self) -> impl FnOnce() -> CountersReport + Send + use<> {
        let (dataplane, current) = (self.dataplane.clone(), self.publisher.current());
        move || {
            let mut report = dataplane.counters();
            (report.workers, report.tsc_hz) = (dataplane.workers(), dataplane.tsc_hz());
            let (lost, rings) = dataplane.devices();
            add_lost(&mut report, lost);
            report.rings = rings;
            let name = |slot: u16| port_name(&current.parts.ports, PortSlot(slot)).unwrap_or_default();
            for port in report.ports.iter_mut().filter(|port| port.name.is_empty()) {
                port.name = name(port.slot);
            }
            for lost in &mut report.lost {
                lost.port = name(lost.slot);
            }
            for rings in &mut report.rings {
                rings.port = name(rings.slot);
            }
            report
        }
    }

    /// Some of the dropped packets.
    pub(super) fn drops(&self, query: &DropQuery) -> Result<DropsReport, String> {
        let (counters, samples) = (self.dataplane.counters(), self.dataplane.drops());
        let nodes = self
            .store
            .nodes()
            .flat_map(|node| [true, false].map(|v4| (vtep_mac(node, v4), node.name.clone())));
        super::drops::report(&self.owners(), &nodes.collect(), query, &counters, &samples)
    }

    fn uplink_status(&self) -> UplinkStatus {
        let uplink = self.underlay.as_ref().map(|underlay| &underlay.uplink);
        let (rx, tx) = self.rates.uplink();
        UplinkStatus {
            name: self.settings.uplink_interface.clone(),
            up: uplink.is_some_and(|uplink| uplink.up),
            mtu: uplink.map_or(0, |uplink| uplink.mtu),
            mode: self.dataplane.uplink_mode(),
            queues: self.dataplane.uplink_queues(),
            rx_packets_per_second: rx,
            tx_packets_per_second: tx,
        }
    }

    fn host_status(&self) -> HostStatus {
        let plan = self.host.applied();
        HostStatus {
            name: self.settings.host_interface.clone(),
            mtu: plan.map_or(0, |plan| plan.mtu),
            addresses: plan
                .map(|plan| plan.bases.iter().map(Addr::to_string).collect())
                .unwrap_or_default(),
        }
    }

    /// What people are told, of what is of such reasons.
    pub(super) fn warnings(&self, now: Instant, of: impl Fn(Option<Reason>) -> bool) -> Vec<Warning> {
        let told = |report: &&Report| of(report.reason) && self.lasting.is_told(report, now);
        let mut out: Vec<_> = self.reports.iter().filter(told).map(warning).collect();
        if of(None) {
            out.extend(self.other_warnings());
        }
        if of(Some(Reason::SlowReceiver)) {
            out.extend(self.slow.warnings());
        }
        if of(Some(Reason::ApiServerIsOwnService)) {
            out.extend(self.own_server.warning());
        }
        if of(Some(Reason::PodNotAttached)) {
            let left = self.saved.iter();
            let left = left.filter_map(|(attachment, why)| Some((attachment, why.as_ref()?)));
            out.extend(left.map(|(attachment, why)| Warning {
                severity: "error".to_owned(),
                object: format!("Pod {}", attachment.pod),
                text: format!("cannot be taken up after the restart, and is tried again every second: {why}"),
                reason: Some(Reason::PodNotAttached.name().to_owned()),
            }));
        }
        out
    }

    /// What has no word of its own.
    fn other_warnings(&self) -> Vec<Warning> {
        let mut out: Vec<_> = self.dataplane.warnings().iter().map(warning).collect();
        out.extend(self.troubles.iter().map(|(about, text)| Warning {
            severity: "error".to_owned(),
            object: (*about).to_owned(),
            text: text.clone(),
            reason: None,
        }));
        out.extend(self.settings.testing.notices.iter().map(|text| Warning {
            severity: "warning".to_owned(),
            object: "testing".to_owned(),
            text: text.clone(),
            reason: None,
        }));
        out.extend(self.stop.health.troubles().into_iter().map(|(_, text)| Warning {
            severity: "warning".to_owned(),
            object: "health".to_owned(),
            text,
            reason: None,
        }));
        out
    }
}

impl Control {
    /// Who owns which address, for rows about the snapshot that is served.
    pub(super) fn owners(&self) -> Owners {
        Owners::new(
            self.publisher.current(),
            &self.settings.compile.node_name,
            self.own_ranges.clone(),
            self.store.pods().map(|pod| &*pod.identity),
        )
    }
}

/// A port that lost packets has a row, also if it never had one otherwise.
fn add_lost(report: &mut CountersReport, lost: Vec<LostCount>) {
    for count in &lost {
        let at = report.ports.iter().position(|port| port.slot >= count.slot);
        let at = at.unwrap_or(report.ports.len());
        if report.ports.get(at).is_none_or(|port| port.slot != count.slot) {
            let slot = count.slot;
            report.ports.insert(
                at,
                PortCounters {
                    slot,
                    ..PortCounters::default()
                },
            );
        }
        report.ports[at].lost_packets += count.packets;
    }
    report.lost = lost;
}

/// `uplink`, `host`, or `namespace/name` of the pod.
pub(super) fn port_name(ports: &PortTable, slot: PortSlot) -> Option<String> {
    Some(match &ports.get(slot)?.kind {
        PortKind::Pod { name, .. } => name.to_string(),
        PortKind::Host { .. } => "host".to_owned(),
        PortKind::Uplink { .. } => "uplink".to_owned(),
    })
}

fn warning(report: &Report) -> Warning {
    let severity = match report.severity {
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    Warning {
        severity: severity.to_owned(),
        object: report.object.clone(),
        text: report.text.clone(),
        reason: report.reason.map(|reason| reason.name().to_owned()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_counts_for_its_port_though_nothing_else_came_by_it() {
        let port = |slot, lost_packets| PortCounters {
            slot,
            lost_packets,
            ..PortCounters::default()
        };
        let lost = |slot, packets| LostCount {
            slot,
            packets,
            ..LostCount::default()
        };
        let mut report = CountersReport {
            ports: vec![port(0, 0), port(5, 0)],
            ..CountersReport::default()
        };
        let all = vec![lost(5, 2), lost(3, 7), lost(5, 1), lost(9, 4)];
        add_lost(&mut report, all.clone());
        assert_eq!(report.ports, [port(0, 0), port(3, 7), port(5, 3), port(9, 4)]);
        assert_eq!(report.lost, all);
    }
}
