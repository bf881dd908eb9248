//! Decides what one Service object becomes: a slot for each port and family, with its endpoints. It never compares it with other services.

use super::endpoints::{listed, usable};
use super::inputs::Settings;
use super::result::{Report, SlotKeeper};
use super::slots::Slots;
use crate::model::{ServicePort, ServiceRecord, SliceRecord};
use crate::objects::{proto_name, shown};
use sluice_lb::{Endpoint, EndpointSlot, Frontend, SchedulerKind, Service, ServiceName, ServiceSlot, ServiceSpec};
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, Proto};
use std::sync::Arc;

/// Where nothing is said.
const WEIGHT: u16 = 100;

/// What every service depends on beside its own objects.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Context {
    scheduler: SchedulerKind,
    pub(super) node: String,
    pub(super) ranges: Vec<Prefix>,
    own: Vec<Prefix>,
    node_ports: (u16, u16),
    tunnel_port: u16,
}

impl Context {
    pub(super) fn new(settings: &Settings, ranges: &[Prefix], own: &[Prefix]) -> Self {
        Self {
            scheduler: settings.default_scheduler,
            node: settings.node_name.clone(),
            ranges: ranges.to_vec(),
            own: own.to_vec(),
            node_ports: settings.node_ports,
            tunnel_port: settings.tunnel_port,
        }
    }

    /// Whether the node gives this port away. What it has beside the range, such as its SSH, must not hang on what somebody writes
    /// into a Service.
    fn node_port(&self, port: &ServicePort) -> Result<Option<(Proto, u16)>, String> {
        let Some(number) = port.node_port else { return Ok(None) };
        let (first, last) = self.node_ports;
        let served = "it is served at the cluster addresses only";
        if !(first..=last).contains(&number) {
            return Err(format!(
                "its nodePort {number} is outside of {first}-{last} (key services.nodeports of the agent's configuration); {served}"
            ));
        }
        if port.proto == Proto::UDP && number == self.tunnel_port {
            return Err(format!(
                "its nodePort {number}/UDP is the port of the tunnels; {served}"
            ));
        }
        Ok(Some((port.proto, number)))
    }
}

/// What a service slot is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PortKey {
    namespace: String,
    name: String,
    port: String,
    proto: Proto,
    v4: bool,
}

/// What an endpoint slot is for.
type EndpointKey = (ServiceSlot, Addr, u16);

/// The numbers of services and endpoints, and who must agree before one changes hands.
pub(super) struct Numbers {
    services: Slots<PortKey>,
    endpoints: Slots<EndpointKey>,
    keeper: Box<dyn SlotKeeper>,
}

impl Numbers {
    pub(super) fn new(keeper: Box<dyn SlotKeeper>) -> Self {
        Self {
            services: Slots::new(16_384, 64),
            endpoints: Slots::new(65_536, 64),
            keeper,
        }
    }

    pub(super) fn begin_round(&mut self) {
        self.services.begin_round();
        self.endpoints.begin_round();
    }

    /// The ports are gone, all but those that `kept` has as well.
    pub(super) fn release(&mut self, ports: &[PortOut], kept: &[PortOut]) {
        for port in ports {
            let same = kept.iter().find(|k| k.key == port.key);
            for key in &port.endpoints {
                // Both lists are ordered by address and port.
                if same.is_none_or(|same| same.endpoints.binary_search(key).is_err()) {
                    self.endpoints.release(key);
                }
            }
            if same.is_none() {
                self.services.release(&port.key);
            }
        }
    }
}

/// One port of a service in one family.
#[derive(Clone, Debug)]
pub(super) struct PortOut {
    key: PortKey,
    endpoints: Vec<EndpointKey>,
    pub(super) slot: ServiceSlot,
    pub(super) service: Arc<Service>,
    pub(super) frontends: Vec<Frontend>,
    pub(super) node_port: Option<(Proto, u16)>,
    /// Who may have connections of a TCP service, usable or not.
    pub(super) listed: Vec<(Addr, u16)>,
}

impl PortOut {
    /// Whether it is reached where the other one is, under the same number.
    pub(super) fn same_door(&self, other: &Self) -> bool {
        self.slot == other.slot && self.frontends == other.frontends && self.node_port == other.node_port
    }

    pub(super) fn v4(&self) -> bool {
        self.key.v4
    }
}

/// A service and what it was made from.
#[derive(Clone, Debug)]
pub(super) struct Memo {
    pub(super) record: Arc<ServiceRecord>,
    slices: Vec<Arc<SliceRecord>>,
    pub(super) ports: Vec<PortOut>,
    pub(super) reports: Vec<Report>,
}

impl Memo {
    /// Whether compiling these again would give the same.
    pub(super) fn made_from(&self, record: &Arc<ServiceRecord>, slices: &[Arc<SliceRecord>]) -> bool {
        Arc::ptr_eq(&self.record, record)
            && self.slices.len() == slices.len()
            && self.slices.iter().zip(slices).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    pub(super) fn compile(
        record: &Arc<ServiceRecord>,
        slices: Vec<Arc<SliceRecord>>,
        context: &Context,
        numbers: &mut Numbers,
        before: &[PortOut],
    ) -> Self {
        let object = format!("service {}/{}", record.namespace, record.name);
        let mut reports: Vec<Report> = Vec::new();
        for what in &record.not_honoured {
            let instead = if what.ends_with("Local") {
                "traffic goes to all endpoints"
            } else {
                "they do not lead to the service"
            };
            reports.push(Report::warning(&object, format!("{what}: not honoured; {instead}")));
        }
        for ip in &record.cluster_ips {
            let ranges = &context.ranges;
            if ranges.iter().any(|r| r.is_v4() == ip.is_v4()) && !ranges.iter().any(|range| range.contains(*ip)) {
                let text = format!(
                    "its address {ip} is outside of the service ranges; pods reach it, this node's own programs do not"
                );
                reports.push(Report::warning(&object, text));
            }
        }
        let mut ports = Vec::new();
        for port in &record.ports {
            if port.proto != Proto::TCP && port.proto != Proto::UDP {
                let text = format!(
                    "port {}/{} is not served; only TCP and UDP are",
                    port.port,
                    proto_name(port.proto)
                );
                reports.push(Report::warning(&object, text));
                continue;
            }
            let node_port = context.node_port(port).unwrap_or_else(|text| {
                reports.push(Report::warning(&object, text));
                None
            });
            for ip in &record.cluster_ips {
                let mut out = compile_port(record, port, *ip, &slices, context, numbers, before);
                out.node_port = node_port;
                if out.service.endpoints().is_empty() {
                    reports.push(Report::info(&object, no_endpoint(port, *ip, &slices)));
                }
                ports.push(out);
            }
        }
        Self {
            record: record.clone(),
            slices,
            ports,
            reports,
        }
    }
}

/// Each of a service's addresses is of another family, so an address stands for its family.
fn compile_port(
    record: &ServiceRecord,
    port: &ServicePort,
    ip: Addr,
    slices: &[Arc<SliceRecord>],
    context: &Context,
    numbers: &mut Numbers,
    before: &[PortOut],
) -> PortOut {
    let v4 = ip.is_v4();
    let (namespace, name) = (record.namespace.clone(), record.name.clone());
    let key = PortKey {
        namespace,
        name,
        port: port.name.clone(),
        proto: port.proto,
        v4,
    };
    let Numbers {
        services,
        endpoints,
        keeper,
    } = numbers;
    let slot = ServiceSlot(services.acquire(&key, |slot| keeper.forget_service(ServiceSlot(slot))));
    let mut keys = Vec::new();
    let mut chosen = Vec::new();
    for candidate in usable(slices, &port.name, port.proto, v4) {
        let key = (slot, candidate.addr, candidate.port);
        let local = candidate.node.map_or_else(
            || context.own.iter().any(|prefix| prefix.contains(candidate.addr)),
            |node| node == context.node,
        );
        chosen.push(Endpoint {
            slot: EndpointSlot(endpoints.acquire(&key, |slot| keeper.forget_endpoint(EndpointSlot(slot)))),
            addr: candidate.addr,
            port: candidate.port,
            weight: record.weights.get(&candidate.addr).copied().unwrap_or(WEIGHT),
            local,
        });
        keys.push(key);
    }
    let name = ServiceName {
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        port: port.name.clone(),
    };
    let scheduler = record.scheduler.unwrap_or(context.scheduler);
    let spec = ServiceSpec {
        slot,
        name,
        scheduler,
        endpoints: chosen,
        affinity_s: record.affinity_s,
    };
    let same = before
        .iter()
        .map(|out| &out.service)
        .find(|service| service.slot() == slot && service.matches(&spec));
    PortOut {
        service: same.cloned().unwrap_or_else(|| Arc::new(Service::new(spec))),
        key,
        endpoints: keys,
        slot,
        frontends: vec![Frontend {
            addr: ip,
            port: port.port,
            proto: port.proto,
        }],
        node_port: None,
        listed: if port.proto == Proto::TCP {
            listed(slices, &port.name, port.proto, v4)
        } else {
            Vec::new()
        },
    }
}

fn no_endpoint(port: &ServicePort, ip: Addr, slices: &[Arc<SliceRecord>]) -> String {
    let (number, proto) = (port.port, proto_name(port.proto));
    let family = if ip.is_v4() { "IPv4" } else { "IPv6" };
    let mut fitting = slices.iter().filter(|slice| slice.v4 == ip.is_v4()).peekable();
    let why = if fitting.peek().is_none() {
        format!("no EndpointSlice with {family} addresses carries the label kubernetes.io/service-name with its name")
    } else if !fitting.any(|slice| slice.ports.iter().any(|p| p.name == port.name && p.proto == port.proto)) {
        let named = if port.name.is_empty() {
            "without a name".to_owned()
        } else {
            format!("named `{}`", shown(&port.name))
        };
        format!("its EndpointSlices have no port {named} with protocol {proto}")
    } else {
        "no endpoint is ready, or all have weight 0".to_owned()
    };
    format!("port {number}/{proto} has no usable {family} endpoint: {why}; connections to it are refused")
}
