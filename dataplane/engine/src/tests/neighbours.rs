//! ARP and neighbour discovery from pods, and packets that wait for next hops of ours.

use super::bench::{Bench, SECOND, expect_outside};
use super::packet::Packet;
use super::world::{A, B, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, OUTSIDE, ROUTER, UPLINK, Who, prefix};
use sluice_snapshot::Route;
use sluice_wire::{Addr, DropReason, MacAddr, PortSlot};

fn arp(op: u16, sender: (MacAddr, Addr), target: Addr) -> Vec<u8> {
    let mut frame = [&[0xff; 6], &sender.0.0[..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, op as u8]].concat();
    frame.extend(sender.0.0);
    frame.extend(sender.1.v4_octets());
    frame.extend([0; 6]);
    frame.extend(target.v4_octets());
    frame
}

/// A solicitation with its source link-layer address, except from nobody.
fn solicit(from: (MacAddr, Addr), target: Addr) -> Packet {
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&target.octets()[13..]);
    let mut body = target.octets().to_vec();
    if *from.1.octets() != [0; 16] {
        body.extend([1, 1]);
        body.extend(from.0.0);
    }
    let mac = MacAddr([0x33, 0x33, 0xff, group[13], group[14], group[15]]);
    let packet = Packet::icmp(from.1, Addr::v6(group), 135, 0, [0; 4], &body).ttl(255);
    packet.between(from.0, mac)
}

#[test]
fn pods_are_told_that_everybody_is_behind_the_gateway() {
    let mut bench = Bench::new();
    for target in [B, BASE, OUTSIDE] {
        let sent = bench.send(A.slot, &arp(1, (A.mac, A.addr(true)), target.addr(true)));
        let mut answer = arp(2, (GATEWAY_MAC, target.addr(true)), A.addr(true));
        answer[..6].copy_from_slice(&A.mac.0);
        answer[32..38].copy_from_slice(&A.mac.0);
        assert_eq!((sent[0].port, &sent[0].bytes), (A.slot, &answer));

        let sent = bench.send(A.slot, &solicit((A.mac, A.addr(false)), target.addr(false)).frame());
        let body = [&target.addr(false).octets()[..], &[2, 1], &GATEWAY_MAC.0].concat();
        let mut want = Packet::icmp(target.addr(false), A.addr(false), 136, 0, [0xe0, 0, 0, 0], &body).ttl(255);
        want.macs = (GATEWAY_MAC, A.mac);
        assert_eq!((sent[0].port, &sent[0].bytes), (A.slot, &want.frame()));
    }
    assert_eq!(bench.counters().answered.get().0, 6);
}

#[test]
fn who_asks_for_its_own_address_hears_nothing() {
    let mut bench = Bench::new();
    let nobody = (A.mac, Addr::v4([0; 4]));
    for frame in [
        arp(1, nobody, A.addr(true)),
        arp(1, (A.mac, A.addr(true)), A.addr(true)),
        arp(2, (A.mac, A.addr(true)), B.addr(true)),
    ] {
        bench.refused(A.slot, &frame, DropReason::ArpNotForUs);
    }
    let nobody = (A.mac, Addr::v6([0; 16]));
    for target in [A, B] {
        bench.refused(
            A.slot,
            &solicit(nobody, target.addr(false)).frame(),
            DropReason::NdpNotForUs,
        );
    }
    bench.refused(
        A.slot,
        &solicit((A.mac, A.addr(false)), A.addr(false)).frame(),
        DropReason::NdpNotForUs,
    );
    let hops = solicit((A.mac, A.addr(false)), B.addr(false)).ttl(254);
    bench.refused(A.slot, &hops.frame(), DropReason::NdpMalformed);
    let mut sum = solicit((A.mac, A.addr(false)), B.addr(false)).frame();
    *sum.last_mut().unwrap() ^= 1;
    bench.refused(A.slot, &sum, DropReason::TransportChecksum);
    // With another's MAC.
    bench.refused(
        A.slot,
        &arp(1, (B.mac, A.addr(true)), OUTSIDE.addr(true)),
        DropReason::ArpNotForUs,
    );
    bench.refused(
        A.slot,
        &solicit((B.mac, A.addr(false)), OUTSIDE.addr(false)).frame(),
        DropReason::SpoofedMac,
    );
}

#[test]
fn the_host_is_told_of_pods_and_the_wire_of_nothing() {
    let mut bench = Bench::new();
    assert_eq!(
        bench
            .send(HOST, &arp(1, (HOST_MAC, BASE.addr(true)), A.addr(true)))
            .len(),
        1
    );
    assert_eq!(
        bench
            .send(HOST, &solicit((HOST_MAC, BASE.addr(false)), A.addr(false)).frame())
            .len(),
        1
    );
    for own in [BASE, NODE] {
        bench.refused(
            HOST,
            &arp(1, (HOST_MAC, OUTSIDE.addr(true)), own.addr(true)),
            DropReason::ArpNotForUs,
        );
    }
    let router = super::world::ROUTER_MAC;
    bench.refused(
        UPLINK,
        &arp(1, (router, OUTSIDE.addr(true)), A.addr(true)),
        DropReason::ArpNotForUs,
    );
    bench.refused(
        UPLINK,
        &solicit((router, OUTSIDE.addr(false)), A.addr(false)).frame(),
        DropReason::NdpNotForUs,
    );
}

fn unresolved() -> (Bench, Packet, Packet) {
    let mut bench = Bench::new();
    let next_hop = Addr::v4([192, 0, 2, 254]);
    bench.change(|w| _ = w.routes.insert(prefix("0.0.0.0/0"), Route::Unresolved { next_hop }));
    let packet = Packet::udp((A.addr(true), 40001), (OUTSIDE.addr(true), 53));
    let seen = packet.clone().from((NODE.addr(true), 40001)).hop();
    (bench, packet, seen)
}

#[test]
fn held_packets_leave_when_the_neighbour_appears() {
    let (mut bench, packet, seen) = unresolved();
    assert_eq!(bench.pod_sends(A, &packet), []);
    assert_eq!(bench.workers[0].out.asked, [Addr::v4([192, 0, 2, 254])]);
    assert_eq!(bench.wait(SECOND), []);
    assert_eq!(bench.counters().held.get().0, 1);
    bench.change(|w| _ = w.routes.insert(prefix("0.0.0.0/0"), Route::Direct(ROUTER)));
    expect_outside(&bench.wait(SECOND), seen);
    assert_eq!(bench.counters().held.get(), (0, 0));
}

#[test]
fn held_packets_are_dropped_after_three_seconds_whatever_else_changes() {
    let (mut bench, packet, _) = unresolved();
    bench.pod_sends(A, &packet);
    for n in 0..3 {
        bench.change(|w| w.serve(if n % 2 == 0 { &[B] } else { &[A] }));
        assert_eq!(bench.wait(SECOND), []);
        assert_eq!(bench.counters().held.get().0, 1, "after {} s", n + 1);
    }
    bench.wait(1);
    assert_eq!(bench.dropped(DropReason::NeighbourUnresolved), 1);
    assert_eq!(bench.counters().held.get(), (0, 0));
}

#[test]
fn few_packets_are_held_and_fewer_of_one_port() {
    let (mut bench, packet, seen) = unresolved();
    let others = (1..=4).map(|n| Who {
        slot: PortSlot(10 + n),
        v4: [10, 244, 1, 10 + n as u8],
        ..A
    });
    let pods: Vec<Who> = [A].into_iter().chain(others).collect();
    bench.change(|w| {
        for pod in &pods[1..] {
            w.add_pod(*pod, 10 + u32::from(pod.slot.0));
        }
    });
    for (n, pod) in pods.iter().enumerate() {
        for port in 0..20 {
            let packet = packet.clone().from((pod.addr(true), packet.src.1));
            bench.pod_sends(*pod, &packet.to((OUTSIDE.addr(true), port)));
        }
        assert_eq!(bench.counters().held.get().0, (16 * (n as u64 + 1)).min(64));
    }
    assert_eq!(bench.dropped(DropReason::HeldTooMany), 4 * 4 + 20);
    bench.change(|w| _ = w.routes.insert(prefix("0.0.0.0/0"), Route::Direct(ROUTER)));
    let sent = bench.wait(SECOND);
    assert_eq!(sent.len(), 64);
    expect_outside(&sent[..1], seen.to((OUTSIDE.addr(true), 0)));
}

#[test]
fn what_waited_is_judged_by_the_rules_of_the_day() {
    let (mut bench, packet, _) = unresolved();
    bench.pod_sends(A, &packet);
    bench.change(|w| {
        w.routes.insert(prefix("0.0.0.0/0"), Route::Direct(ROUTER));
        w.policies = vec![super::world::egress("a", vec![])];
    });
    assert_eq!(bench.wait(SECOND), []);
    assert_eq!(bench.dropped(DropReason::PolicyEgress), 1);
    bench.change(|w| w.policies.clear());
    bench.pod_sends(A, &packet);
    let gone: Who = A;
    bench.change(|w| {
        let next_hop = NODE.addr(true);
        w.routes.insert(prefix("0.0.0.0/0"), Route::Unresolved { next_hop });
    });
    bench.pod_sends(A, &packet);
    bench.change(|w| w.remove_pod(gone));
    assert_eq!(bench.wait(SECOND), []);
    assert_eq!(bench.dropped(DropReason::SpoofedSource), 1);
}
