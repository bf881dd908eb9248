//! Which endpoints get no new connections any more but may have old ones.

use sluice_lb::{Endpoint, EndpointSlot, ServiceSlot};
use sluice_snapshot::Services;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Endpoints that left their service, by slot, until the slot is another's or the service is gone. There are no more than slots.
#[derive(Debug, Default)]
pub(super) struct Draining(BTreeMap<EndpointSlot, (ServiceSlot, Endpoint)>);

impl Draining {
    /// One generation follows another.
    pub(super) fn follow(&mut self, before: &Services, after: &Services) {
        for (slot, old) in before.iter() {
            match after.get(slot) {
                Some(new) if Arc::ptr_eq(old, new) => {}
                Some(new) if new.name() == old.name() => {
                    let left = old.endpoints().iter().filter(|e| new.index_of(e.slot).is_none());
                    self.0.extend(left.map(|e| (e.slot, (slot, *e))));
                }
                _ => self.0.retain(|_, (service, _)| *service != slot),
            }
        }
        for (slot, new) in after.iter() {
            let same = before.get(slot).is_some_and(|old| Arc::ptr_eq(old, new));
            if !same {
                for endpoint in new.endpoints() {
                    self.0.remove(&endpoint.slot);
                }
            }
        }
    }

    /// Those of a service.
    pub(super) fn of(&self, service: ServiceSlot) -> impl Iterator<Item = &Endpoint> {
        self.0
            .values()
            .filter(move |(of, _)| *of == service)
            .map(|(_, endpoint)| endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_lb::{SchedulerKind, Service, ServiceName, ServiceSpec};
    use sluice_wire::Addr;

    /// Slot and name of a service, slot and weight of each endpoint.
    type Given<'a> = (u32, &'a str, &'a [(u32, u16)]);

    fn services(all: &[Given<'_>]) -> Services {
        let mut out = Services::default();
        for (slot, name, endpoints) in all {
            let endpoint = |(slot, weight): &(u32, u16)| Endpoint {
                slot: EndpointSlot(*slot),
                addr: Addr::v4([10, 244, 1, *slot as u8]),
                port: 80,
                weight: *weight,
                local: true,
            };
            let slot = ServiceSlot(*slot);
            let spec = ServiceSpec {
                slot,
                name: ServiceName {
                    namespace: "default".into(),
                    name: (*name).into(),
                    port: String::new(),
                },
                scheduler: SchedulerKind::Rr,
                endpoints: endpoints.iter().map(endpoint).collect(),
                affinity_s: None,
            };
            out.set(slot, Arc::new(Service::new(spec)));
        }
        out
    }

    #[test]
    fn who_leaves_drains_until_it_is_back_or_its_slot_is_anothers() {
        let mut draining = Draining::default();
        let of = |draining: &Draining, service| -> Vec<u32> {
            draining.of(ServiceSlot(service)).map(|e| e.slot.0).collect()
        };
        let mut now = services(&[(0, "web", &[(1, 100), (2, 100), (3, 100)]), (1, "db", &[(9, 100)])]);
        let mut step = |draining: &mut Draining, all: &[Given<'_>]| {
            let next = services(all);
            draining.follow(&now, &next);
            now = next;
        };
        step(
            &mut draining,
            &[(0, "web", &[(1, 100), (2, 0)]), (1, "db", &[(9, 100)])],
        );
        assert_eq!(
            (of(&draining, 0), of(&draining, 1)),
            (vec![2, 3], vec![]),
            "weight 0, and gone"
        );
        step(
            &mut draining,
            &[(0, "web", &[(1, 100), (2, 100)]), (1, "db", &[(9, 100), (3, 100)])],
        );
        assert_eq!((of(&draining, 0), of(&draining, 1)), (vec![], vec![]));
        step(&mut draining, &[(0, "web", &[]), (1, "db", &[(9, 100), (3, 100)])]);
        assert_eq!(of(&draining, 0), [1, 2], "the last ones, too");
        step(
            &mut draining,
            &[(0, "other", &[(7, 100)]), (1, "db", &[(9, 100), (3, 100)])],
        );
        assert!(of(&draining, 0).is_empty(), "another service has the slot");
    }
}
