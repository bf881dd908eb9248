//! Small builders that the tests share.

use sluice_lb::{Endpoint, EndpointSlot, PickContext, SchedulerKind, Service, ServiceName, ServiceSlot, ServiceSpec};
use sluice_wire::{Addr, Proto, Tuple};

pub(crate) const S: u64 = 1_000_000_000;

pub(crate) fn client(n: u32) -> Addr {
    let [_, b, c, d] = n.to_be_bytes();
    Addr::v4([192, b, c, d])
}

/// Endpoint number `n`: slot `n`, an address of its own.
pub(crate) fn endpoint(n: u32, weight: u16) -> Endpoint {
    let [_, b, c, d] = n.to_be_bytes();
    Endpoint {
        slot: EndpointSlot(n),
        addr: Addr::v4([10, b, c, d]),
        port: 8080,
        weight,
        local: n.is_multiple_of(2),
    }
}

pub(crate) fn endpoints(weights: &[u16]) -> Vec<Endpoint> {
    (0..).zip(weights).map(|(n, &weight)| endpoint(n, weight)).collect()
}

pub(crate) fn spec(scheduler: SchedulerKind, endpoints: Vec<Endpoint>) -> ServiceSpec {
    let name = ServiceName {
        namespace: "default".into(),
        name: "web".into(),
        port: "http".into(),
    };
    ServiceSpec {
        slot: ServiceSlot(0),
        name,
        scheduler,
        endpoints,
        affinity_s: None,
    }
}

pub(crate) fn service(scheduler: SchedulerKind, weights: &[u16]) -> Service {
    Service::new(spec(scheduler, endpoints(weights)))
}

pub(crate) fn tuple(src: Addr, sport: u16) -> Tuple {
    Tuple {
        src,
        dst: Addr::v4([10, 96, 0, 10]),
        sport,
        dport: 80,
        proto: Proto::TCP,
    }
}

pub(crate) fn context(src: Addr, now_ns: u64, entropy: u64) -> PickContext {
    PickContext {
        service: ServiceSlot(0),
        tuple: tuple(src, 40_000),
        now_ns,
        entropy,
    }
}
