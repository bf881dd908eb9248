//! SCTP, of which the kernel of a pod may know nothing: associations pass as they are, through services and policy, too.

use super::bench::{Bench, coming};
use super::hand_made::sctp;
use super::packet::Packet;
use super::world::{A, B, GATEWAY_MAC, OUR_VTEP, PEER_VTEP, REMOTE, SERVICE, UPLINK, World, ingress};
use sluice_lb::{ConnState, Endpoint, EndpointSlot, SchedulerKind, ServiceName, ServiceSlot, ServiceSpec};
use sluice_policy::{PortMatch, PortSpec};
use sluice_wire::{DropReason, Proto};

fn there(v4: bool, to: super::world::Who) -> Packet {
    Packet::udp((A.addr(v4), 5000), (to.addr(v4), 3868)).between(A.mac, GATEWAY_MAC)
}

#[test]
fn associations_pass_between_pods_and_through_the_tunnel() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let family = usize::from(!v4);
        for state in [ConnState::Other, ConnState::OtherReplied] {
            let packet = there(v4, B);
            let sent = bench.send(A.slot, &sctp(&packet));
            assert_eq!(
                (sent[0].port, &sent[0].bytes),
                (B.slot, &sctp(&packet.clone().hop().between(GATEWAY_MAC, B.mac)))
            );
            assert_eq!(bench.shared.connections.rows(0, 1)[0].state, state);
            let back = packet.reply().between(B.mac, GATEWAY_MAC);
            let sent = bench.send(B.slot, &sctp(&back));
            assert_eq!(
                (sent[0].port, &sent[0].bytes),
                (A.slot, &sctp(&back.clone().hop().between(GATEWAY_MAC, A.mac)))
            );
        }
        assert_eq!(bench.shared.connections.len(), 1);

        let packet = there(v4, REMOTE);
        let sent = bench.send(A.slot, &sctp(&packet));
        let want = packet.clone().hop().between(OUR_VTEP[family], PEER_VTEP[family]);
        let outer = if v4 { 50 } else { 70 };
        assert_eq!((sent[0].port, &sent[0].bytes[outer..]), (UPLINK, &sctp(&want)[..]));
        let back = packet.reply().between(PEER_VTEP[family], OUR_VTEP[family]);
        let sent = bench.send(UPLINK, &coming(v4).around(&sctp(&back)));
        assert_eq!(
            (sent[0].port, &sent[0].bytes),
            (A.slot, &sctp(&back.hop().between(GATEWAY_MAC, A.mac)))
        );
    }
}

#[test]
fn policy_knows_it_by_port() {
    for (port, passes) in [(3868, true), (3869, false)] {
        let mut bench = Bench::new();
        bench.change(|w| {
            let mut policy = ingress("b", vec![super::world::app("a")]);
            let port = PortMatch {
                proto: Proto::SCTP,
                port: PortSpec::Number(port, None),
            };
            policy.ingress.as_mut().unwrap()[0].ports.push(port);
            w.policies = vec![policy];
        });
        let frame = sctp(&there(true, B));
        if passes {
            assert_eq!(bench.send(A.slot, &frame).len(), 1);
        } else {
            bench.refused(A.slot, &frame, DropReason::PolicyIngress);
        }
        bench.refused(A.slot, &there(true, B).frame(), DropReason::PolicyIngress);
    }
}

#[test]
fn a_service_is_translated_with_its_checksum() {
    for v4 in [true, false] {
        let mut world = World::new();
        let slot = ServiceSlot(5);
        let endpoint = Endpoint {
            slot: EndpointSlot(100),
            addr: B.addr(v4),
            port: 3900,
            weight: 1,
            local: true,
        };
        world.services.push(ServiceSpec {
            slot,
            name: ServiceName {
                namespace: "default".into(),
                name: "diameter".into(),
                port: "sctp".into(),
            },
            scheduler: SchedulerKind::Mh,
            endpoints: vec![endpoint],
            affinity_s: None,
        });
        world.frontends.insert((SERVICE.addr(v4), 3868, Proto::SCTP), slot);
        let mut bench = Bench::with(world, 1);
        let packet = there(v4, SERVICE);
        let seen = packet.clone().to((B.addr(v4), 3900));
        // In the slow path and as a hit.
        for _ in 0..2 {
            let sent = bench.send(A.slot, &sctp(&packet));
            let want = seen.clone().hop().between(GATEWAY_MAC, B.mac);
            assert_eq!((sent[0].port, &sent[0].bytes), (B.slot, &sctp(&want)));
            let answer = seen.reply().between(B.mac, GATEWAY_MAC);
            let sent = bench.send(B.slot, &sctp(&answer));
            let want = answer.from(packet.dst).hop().between(GATEWAY_MAC, A.mac);
            assert_eq!((sent[0].port, &sent[0].bytes), (A.slot, &sctp(&want)));
        }
    }
}
