//! What a service makes of its spec.

use crate::common::*;
use proptest::prelude::*;
use sluice_lb::{Endpoint, EndpointSlot, MAX_ENDPOINTS, Runtime, SchedulerKind, Service, ServiceName, ServiceSpec};
use sluice_wire::Addr;

#[test]
fn without_usable_endpoints_there_is_no_choice() {
    for kind in SchedulerKind::ALL {
        for weights in [&[][..], &[0, 0]] {
            let service = service(kind, weights);
            assert_eq!(
                service.pick(&context(client(1), 0, 0), &Runtime::new(1, 2)),
                None,
                "{kind}"
            );
        }
    }
}

#[test]
fn an_address_and_port_counts_once_and_the_local_one_wins() {
    let twin = Endpoint {
        slot: EndpointSlot(9),
        local: true,
        ..endpoint(1, 1)
    };
    let service = Service::new(spec(SchedulerKind::Rr, vec![endpoint(1, 1), twin, endpoint(0, 0)]));
    assert_eq!(service.endpoints(), [twin]);
    assert_eq!(
        (service.index_of(EndpointSlot(9)), service.index_of(EndpointSlot(1))),
        (Some(0), None)
    );
}

#[test]
fn a_choice_says_all_that_a_rewrite_needs() {
    let service = service(SchedulerKind::Rr, &[1, 1]);
    let choice = service.pick(&context(client(1), 0, 0), &Runtime::new(1, 2)).unwrap();
    let e = service.endpoints()[choice.index];
    assert_eq!(
        (choice.endpoint, choice.addr, choice.port, choice.local),
        (e.slot, e.addr, e.port, e.local)
    );
}

#[test]
fn endpoints_are_limited_to_what_a_table_can_name() {
    let all = (0..MAX_ENDPOINTS as u32 + 3).rev().map(|n| endpoint(n, 1)).collect();
    let service = Service::new(spec(SchedulerKind::Mh, all));
    assert_eq!(service.endpoints().len(), MAX_ENDPOINTS);
    assert_eq!(service.endpoints()[0].addr, Addr::v4([10, 0, 0, 0]));
}

#[test]
fn a_changed_spec_is_noticed() {
    let old = spec(SchedulerKind::Rr, endpoints(&[1, 2]));
    let service = Service::new(old.clone());
    assert!(service.matches(&old));
    let changes: [fn(&mut ServiceSpec); 7] = [
        |s| s.affinity_s = Some(1),
        |s| s.scheduler = SchedulerKind::Mh,
        |s| s.slot.0 += 1,
        |s| s.name.port.clear(),
        |s| s.endpoints[1].weight += 1,
        |s| s.endpoints[1].local ^= true,
        |s| s.endpoints.truncate(1),
    ];
    for change in changes {
        let mut new = old.clone();
        change(&mut new);
        assert!(!service.matches(&new), "{new:?}");
    }
}

#[test]
fn names_read_as_people_write_them() {
    let name = |port: &str| ServiceName {
        namespace: "default".into(),
        name: "web".into(),
        port: port.into(),
    };
    assert_eq!(name("http").to_string(), "default/web:http");
    assert_eq!(name("").to_string(), "default/web");
}

proptest! {
    #[test]
    fn order_and_unusable_endpoints_do_not_matter(
        (given, shuffled) in prop::collection::vec(0..4u16, 0..12)
            .prop_flat_map(|w| (Just(endpoints(&w)), Just(endpoints(&w)).prop_shuffle())),
        who: u32,
        entropy: u64,
    ) {
        let usable: Vec<Endpoint> = given.iter().copied().filter(|e| e.weight > 0).collect();
        for kind in SchedulerKind::ALL {
            let (runtime, other) = (Runtime::new(1, 12), Runtime::new(1, 12));
            let service = Service::new(spec(kind, shuffled.clone()));
            prop_assert!(service.matches(&spec(kind, given.clone())));
            prop_assert_eq!(service.endpoints(), &usable[..]);
            let twin = Service::new(spec(kind, given.clone()));
            let ctx = context(client(who), 0, entropy);
            prop_assert_eq!(service.pick(&ctx, &runtime), twin.pick(&ctx, &other));
        }
    }
}
