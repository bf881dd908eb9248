//! Counts and slots.

use crate::common::*;
use sluice_lb::{EndpointSlot, Runtime, SchedulerKind, Service, ServiceSlot, ServiceSpec};
use std::thread;

#[test]
fn connections_are_counted_from_commit_to_release() {
    let (service, runtime) = (service(SchedulerKind::Rr, &[1, 1]), Runtime::new(1, 2));
    for _ in 0..3 {
        let choice = service.pick(&context(client(1), 0, 0), &runtime).unwrap();
        runtime.commit(&service, &choice, client(1), 0);
    }
    assert_eq!([0, 1].map(|n| runtime.connections(EndpointSlot(n))), [2, 1]);
    runtime.release(EndpointSlot(0));
    assert_eq!([0, 1].map(|n| runtime.connections(EndpointSlot(n))), [1, 1]);
}

#[test]
fn a_release_too_many_does_not_wrap() {
    let runtime = Runtime::new(1, 1);
    runtime.release(EndpointSlot(0));
    assert_eq!(runtime.connections(EndpointSlot(0)), 0);
}

#[test]
fn an_endpoint_with_connections_is_not_forgotten() {
    let (service, runtime) = (service(SchedulerKind::Rr, &[1]), Runtime::new(1, 1));
    let choice = service.pick(&context(client(1), 0, 0), &runtime).unwrap();
    runtime.commit(&service, &choice, client(1), 0);
    assert!(!runtime.forget_endpoint(choice.endpoint));
    runtime.release(choice.endpoint);
    assert!(runtime.forget_endpoint(choice.endpoint));
}

#[test]
fn slots_beyond_the_tables_are_served_without_memory() {
    let runtime = Runtime::new(1, 1);
    for (service_slot, endpoint_slot) in [(0, 1), (1, 0), (u32::MAX, u32::MAX)] {
        for kind in SchedulerKind::ALL {
            let mut only = endpoint(0, 1);
            only.slot = EndpointSlot(endpoint_slot);
            let spec = ServiceSpec {
                slot: ServiceSlot(service_slot),
                affinity_s: Some(10),
                ..spec(kind, vec![only])
            };
            let service = Service::new(spec);
            let choice = service.pick(&context(client(1), 0, 3), &runtime).unwrap();
            runtime.commit(&service, &choice, client(1), 0);
            runtime.release(choice.endpoint);
        }
        runtime.forget_service(ServiceSlot(service_slot));
    }
    assert!(runtime.forget_endpoint(EndpointSlot(u32::MAX)));
    assert_eq!(
        (runtime.connections(EndpointSlot(9)), runtime.cursor(ServiceSlot(9))),
        (0, None)
    );
    assert_eq!(runtime.affinity_entries(), 0);
}

#[test]
fn workers_may_commit_and_release_at_once() {
    let all = endpoints(&[1, 1, 1]);
    let service = Service::new(ServiceSpec {
        affinity_s: Some(1),
        ..spec(SchedulerKind::Lc, all)
    });
    let runtime = Runtime::with_affinity_capacity(1, 3, 100);
    thread::scope(|threads| {
        for worker in 0..4u32 {
            let (service, runtime) = (&service, &runtime);
            threads.spawn(move || {
                for n in 0..2_000u32 {
                    let now_ns = u64::from(n) * S / 100;
                    let ctx = context(client(n % 300 + worker), now_ns, 0);
                    let choice = service.pick(&ctx, runtime).unwrap();
                    runtime.commit(service, &choice, ctx.tuple.src, now_ns);
                    runtime.age(now_ns, 5);
                    runtime.release(choice.endpoint);
                }
            });
        }
    });
    assert_eq!([0, 1, 2].map(|n| runtime.connections(EndpointSlot(n))), [0; 3]);
    assert!(runtime.affinity_entries() <= 128);
}
