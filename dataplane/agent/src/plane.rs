//! The packet side, as control sees it.

use crate::clock::Clock;
use crate::ports::{PodInterface, Ports};
use crate::testing::Testing;
use crate::tsc::Tsc;
use crate::uplink::Uplink;
use crate::worker::WorkerHandle;
use crate::{devices, lost};
use sluice_control::api::{
    BurstClass, CountersReport, DropCount, FlowQuery, FlowRow, LostCount, PortCounters, RingRow, WorkerTotals,
};
use sluice_control::compile::{Report, Severity, Steering};
use sluice_control::run::{Dataplane, DroppedPacket, PodPort};
use sluice_engine::{COUNTED_PORTS, ConnectionRow, Counters, DropSample, Shared, Volume};
use sluice_io::tap;
use sluice_lb::{EndpointSlot, ServiceSlot};
use sluice_snapshot::Caps;
use sluice_wire::{Addr, DropReason, PortSlot, Proto};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Frames that wait in a tap's queue before the kernel drops; see [`tap::TapSpec::tx_queue_len`].
pub(crate) const TAP_QUEUE: u32 = 1000;

/// Everything behind [`Dataplane`].
pub(crate) struct Plane {
    pub(crate) ports: RwLock<Ports>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) uplink: Mutex<Uplink>,
    /// Masquerade ports that a program of the host waits for.
    pub(crate) contested: Mutex<Vec<u16>>,
    pub(crate) clock: Clock,
    pub(crate) tsc: Tsc,
    pub(crate) polling: &'static str,
    pub(crate) testing: Testing,
    /// Names of the host's interface and the uplink, and what they had lost before.
    pub(crate) interfaces: (&'static str, String),
    pub(crate) lost_before: lost::Before,
}

/// A tap's abilities, as the engine wants to know them.
pub(crate) fn caps_of(caps: sluice_io::Caps) -> Caps {
    Caps {
        checksum: caps.tx_checksum,
        tso4: caps.tso4,
        tso6: caps.tso6,
        uso: caps.uso,
    }
}

impl Plane {
    fn read<T>(&self, look: impl FnOnce(&Ports) -> T) -> T {
        look(&self.ports.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the workers, then gives the uplink back.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.ports.write().unwrap_or_else(PoisonError::into_inner).stop();
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner).detach()
    }

    /// Ends the workers, and leaves the uplink's program where it is.
    pub(crate) fn leave(&self) {
        self.ports.write().unwrap_or_else(PoisonError::into_inner).stop();
    }

    fn sum(&self, pick: impl Fn(&Counters) -> (u64, u64)) -> (u64, u64) {
        self.read(|ports| {
            ports
                .workers()
                .iter()
                .map(|w| pick(&w.counters))
                .fold((0, 0), |(f, b), (x, y)| (f + x, b + y))
        })
    }
}

impl Dataplane for Plane {
    fn attach_pod(&self, netns: &Path, interface: &str, mtu: u16) -> Result<PodPort, String> {
        self.read(|ports| {
            let pod = PodInterface {
                netns: netns.into(),
                name: interface.into(),
                since_ns: self.clock.now_ns(),
                lost_before: lost::so_far(Some(netns.into()), interface),
            };
            let slot = ports.reserve(pod)?;
            let spec = tap::TapSpec {
                name: interface.into(),
                netns: Some(netns.into()),
                queues: ports.workers().len() as u16,
                mac: None,
                mtu: u32::from(mtu),
                tx_queue_len: TAP_QUEUE,
                up: true,
                port: slot,
                uso: !self.testing.floor,
            };
            let made = tap::create(&spec).map_err(|err| err.to_string()).and_then(|tap| {
                let (mac, caps) = (tap.mac, caps_of(tap.caps));
                ports.hand_out(slot, false, self.testing.queues(slot, tap.queues)?)?;
                Ok(PodPort {
                    slot,
                    scope: ports.next_scope(),
                    mac,
                    caps,
                })
            });
            if made.is_err() {
                ports.release(slot);
            }
            made
        })
    }

    fn detach_pod(&self, slot: PortSlot, remove_interface: bool) -> Result<(), String> {
        self.read(|ports| {
            ports.withdraw(slot)?;
            let pod = ports
                .release(slot)
                .ok_or_else(|| format!("port {} is no pod's", slot.0))?;
            if remove_interface {
                tap::remove(Some(&pod.netns), &pod.name).map_err(|err| err.to_string())?;
            }
            Ok(())
        })
    }

    fn steer(&self, steering: &Steering) -> Result<(), String> {
        let mut uplink = self.uplink.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(|ports| uplink.steer(steering, ports))
    }

    fn flows(&self, query: &FlowQuery) -> Vec<FlowRow> {
        let limit = query.limit.min(FlowQuery::MAX) as usize;
        let mut rows = self.shared.connections.rows(self.clock.now_ns(), usize::MAX);
        // The table is in no order; people look for what happens now.
        rows.sort_by_key(|row| row.idle_ns);
        rows.iter()
            .filter(|row| matches(row, query))
            .take(limit)
            .map(flow_row)
            .collect()
    }

    fn counters(&self) -> CountersReport {
        let mut report = CountersReport::default();
        for (name, pick) in VOLUMES {
            let (frames, bytes) = self.sum(|c| pick(c).get());
            report.totals.insert(format!("{name}_frames"), frames);
            report.totals.insert(format!("{name}_bytes"), bytes);
        }
        // Packets that wait for a neighbour, and fragments that wait for their first.
        let (held, fragments) = (self.sum(|c| c.held.get()), self.shared.fragments.held());
        report.totals.insert("held_frames".into(), held.0 + fragments.0);
        report.totals.insert("held_bytes".into(), held.1 + fragments.1);
        self.read(|ports| {
            for worker in ports.workers() {
                for (name, value) in worker.counters.events.list() {
                    *report.totals.entry(name.into()).or_default() += value;
                }
            }
        });
        report
            .totals
            .insert("connections".into(), self.shared.connections.len() as u64);
        report
            .totals
            .insert("connections_expired".into(), self.shared.connections.expired());
        let faults = self.testing.counts().map(|(name, count)| (name.to_owned(), count));
        report.totals.extend(faults);
        let dropped = |reason: DropReason| self.sum(|c| c.dropped[reason.index()].get());
        let (mut frames, mut bytes) = (0, 0);
        for reason in DropReason::ALL {
            let (f, b) = dropped(*reason);
            (frames, bytes) = (frames + f, bytes + b);
            report.drops.push(DropCount {
                reason: reason.label().into(),
                group: reason.group().label().into(),
                text: reason.text().into(),
                remedy: reason.remedy().into(),
                packets: f,
            });
        }
        report.totals.insert("dropped_frames".into(), frames);
        report.totals.insert("dropped_bytes".into(), bytes);
        for slot in 0..COUNTED_PORTS {
            let (rx_packets, rx_bytes) = self.sum(|c| c.ports[slot].received.get());
            let (tx_packets, tx_bytes) = self.sum(|c| c.ports[slot].sent.get());
            if rx_packets + tx_packets > 0 {
                let slot = slot as u16;
                let counters = PortCounters {
                    slot,
                    rx_packets,
                    rx_bytes,
                    tx_packets,
                    tx_bytes,
                    ..PortCounters::default()
                };
                report.ports.push(counters);
            }
        }
        report
    }

    fn devices(&self) -> (Vec<LostCount>, Vec<RingRow>) {
        let (host, uplink) = &self.interfaces;
        self.read(|ports| {
            let (losses, rings) = devices::ask(ports);
            (lost::all(ports, losses, (host, uplink), &self.lost_before), rings)
        })
    }

    fn drops(&self) -> Vec<DroppedPacket> {
        let mut packets = Vec::new();
        self.read(|ports| {
            for (index, worker) in ports.workers().iter().enumerate() {
                let samples = worker.counters.samples.all();
                let now_ns = self.clock.now_ns();
                packets.extend(samples.iter().map(|sample| dropped(ports, index, sample, now_ns)));
            }
        });
        packets
    }

    fn workers(&self) -> Vec<WorkerTotals> {
        self.read(|ports| {
            let rows = ports.workers().iter().enumerate();
            rows.map(|(index, worker)| totals(index, worker, self.polling))
                .collect()
        })
    }

    fn tsc_hz(&self) -> Option<u64> {
        self.tsc.hz(self.clock)
    }

    fn receiver_costs(&self) -> Vec<(PortSlot, u32)> {
        self.read(|ports| {
            let cost = |slot: usize| {
                // Most were not written to; their line stays shared.
                let of = |worker: &WorkerHandle| match worker.receiver_costs[slot].load(Ordering::Relaxed) {
                    0 => 0,
                    _ => worker.receiver_costs[slot].swap(0, Ordering::Relaxed),
                };
                ports.workers().iter().map(of).max().filter(|cost| *cost > 0)
            };
            (0..COUNTED_PORTS)
                .filter_map(|slot| Some((PortSlot(slot as u16), cost(slot)?)))
                .collect()
        })
    }

    fn log_filter(&self, wanted: Option<&str>) -> Result<String, String> {
        crate::logging::filter_now(wanted)
    }

    fn owned_ports(&self) -> Vec<u16> {
        let uplink = self.uplink.lock().unwrap_or_else(PoisonError::into_inner);
        uplink.owned().iter().copied().collect()
    }

    fn uplink_mode(&self) -> String {
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner).mode()
    }

    fn uplink_queues(&self) -> u16 {
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner).queues()
    }

    fn warnings(&self) -> Vec<Report> {
        let contested = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        let text = "a program of this host has bound it, but connections of pods are still masqueraded to it: they keep it until \
                    they end, then the program gets what comes there; keep programs out of snat.ports, or choose another range";
        let report = |port| Report {
            severity: Severity::Warning,
            object: format!("masquerade port {port}"),
            text: text.to_owned(),
            reason: None,
        };
        contested.iter().map(report).collect()
    }

    fn endpoint_connections(&self, slot: EndpointSlot) -> u32 {
        self.shared.runtime.connections(slot)
    }

    fn forget_service(&self, slot: ServiceSlot) -> bool {
        self.shared.runtime.forget_service(slot);
        true
    }

    fn forget_endpoint(&self, slot: EndpointSlot) -> bool {
        self.shared.runtime.forget_endpoint(slot)
    }
}

fn totals(index: usize, worker: &WorkerHandle, polling: &str) -> WorkerTotals {
    let (meters, counters) = (&worker.meters, &worker.counters);
    let class = |(from, to, bursts)| BurstClass {
        from: from as u16,
        to: to as u16,
        bursts,
    };
    WorkerTotals {
        worker: index as u16,
        cpu: worker.cpu.map(|cpu| cpu as u32),
        polling: polling.into(),
        busy_ns: meters.busy_ns.get(),
        poll_ns: meters.poll_ns.get(),
        idle_ns: meters.idle_ns.get(),
        packets: counters.received.get().0,
        cache_hits: counters.events.cache_hits.get(),
        cache_misses: counters.events.cache_misses.get(),
        bursts: meters.bursts().map(class).collect(),
    }
}

fn dropped(ports: &Ports, worker: usize, sample: &DropSample, now_ns: u64) -> DroppedPacket {
    let then = |slot: Option<PortSlot>| slot.filter(|slot| ports.was_there(*slot, sample.at_ns));
    DroppedPacket {
        worker: worker as u16,
        sequence: sample.sequence,
        age_ns: now_ns.saturating_sub(sample.at_ns),
        reason: sample.reason,
        ingress: then(sample.ingress),
        egress: then(sample.egress),
        length: sample.length,
        bytes: sample.bytes().to_vec(),
    }
}

pub(crate) type Pick = fn(&Counters) -> &Volume;
pub(crate) const VOLUMES: [(&str, Pick); 9] = [
    ("received", |c| &c.received),
    ("generated", |c| &c.generated),
    ("split", |c| &c.split),
    ("merged", |c| &c.merged),
    ("sent", |c| &c.sent),
    ("to_host", |c| &c.to_host),
    ("answered", |c| &c.answered),
    ("pushed", |c| &c.pushed),
    ("pulled", |c| &c.pulled),
];

fn matches(row: &ConnectionRow, query: &FlowQuery) -> bool {
    let (original, reply) = (&row.record.original, &row.record.reply);
    let has = |addr: IpAddr| {
        let addr = Addr::from(addr);
        [original.src, original.dst, reply.src, reply.dst].contains(&addr)
    };
    let at = |port: u16| [original.sport, original.dport, reply.sport, reply.dport].contains(&port);
    query.address.is_none_or(has)
        && query.port.is_none_or(at)
        && query
            .protocol
            .as_ref()
            .is_none_or(|p| p.eq_ignore_ascii_case(&protocol(original.proto)))
}

fn protocol(proto: Proto) -> String {
    match proto {
        Proto::TCP => "tcp".into(),
        Proto::UDP => "udp".into(),
        Proto::ICMP => "icmp".into(),
        Proto::ICMPV6 => "icmpv6".into(),
        Proto::SCTP => "sctp".into(),
        Proto(other) => other.to_string(),
    }
}

fn flow_row(row: &ConnectionRow) -> FlowRow {
    let (original, reply) = (&row.record.original, &row.record.reply);
    let served = row.record.endpoint.is_some();
    let masqueraded = (reply.dst, reply.dport) != (original.src, original.sport);
    FlowRow {
        protocol: protocol(original.proto),
        source: original.src.to_string(),
        source_port: original.sport,
        destination: original.dst.to_string(),
        destination_port: original.dport,
        endpoint: served.then(|| reply.src.to_string()),
        endpoint_port: served.then_some(reply.sport),
        masqueraded_to: masqueraded.then(|| reply.dst.to_string()),
        masqueraded_port: masqueraded.then_some(reply.dport),
        state: row.state.label().into(),
        age_ms: row.age_ns / 1_000_000,
        idle_ms: row.idle_ns / 1_000_000,
        packets: row.packets.iter().sum(),
        bytes: row.bytes.iter().sum(),
    }
}
