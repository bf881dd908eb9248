//! Decides the services: each has an address, a node port if there is one left, and its own endpoints on other nodes.

use super::addresses::{NODE_PORT, NODE_PORTS, POD_PORT, SERVICE_PORT};
use super::{ENDPOINTS, Size};
use sluice_lb::{Endpoint, EndpointSlot, Frontend, SchedulerKind, Service, ServiceName, ServiceSlot, ServiceSpec};
use sluice_snapshot::Services;
use sluice_wire::Proto;
use std::sync::Arc;

/// All services, and one more that no case uses; that one lacks an endpoint unless it is `whole`.
pub(super) fn services(size: &Size, whole: bool) -> Services {
    let mut all = Services::default();
    for n in 0..=size.services {
        let slot = ServiceSlot(n);
        let missing = u32::from(n == size.services && !whole);
        all.set(slot, Arc::new(Service::new(spec(size, n, ENDPOINTS - missing))));
        let frontend = Frontend {
            addr: size.family.service(n),
            port: SERVICE_PORT,
            proto: Proto::UDP,
        };
        let mut added = all.add_frontend(frontend, slot);
        if n < NODE_PORTS {
            let v4 = size.family.service(n).is_v4();
            added &= all.add_node_port(Proto::UDP, NODE_PORT + n as u16, v4, slot);
        }
        debug_assert!(added, "addresses and ports are each one service's");
    }
    all
}

fn spec(size: &Size, n: u32, endpoints: u32) -> ServiceSpec {
    let endpoint = |e: u32| Endpoint {
        slot: EndpointSlot(e),
        addr: size.family.remote(e),
        port: POD_PORT,
        weight: 1,
        local: false,
    };
    ServiceSpec {
        slot: ServiceSlot(n),
        name: ServiceName {
            namespace: "default".into(),
            name: format!("service-{n}"),
            port: String::new(),
        },
        scheduler: SchedulerKind::default(),
        endpoints: (n * ENDPOINTS..n * ENDPOINTS + endpoints).map(endpoint).collect(),
        affinity_s: None,
    }
}
