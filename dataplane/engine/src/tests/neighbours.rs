//! ARP and neighbour discovery from pods, and packets that wait for next hops of ours.

use super::bench::{Bench, SECOND, expect_outside};
use super::packet::Packet;
use super::world::{A, B, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, OUTSIDE, ROUTER, UPLINK, Who, prefix};
use sluice_snapshot::Route;
use sluice_wire::{Addr, DropReason, MacAddr, PortSlot};

const ALL_NODES: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

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
    if from.1.octets() != [0; 16] {
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
    // Also where another has it: nothing that came to be by such an answer would pass.
    for target in [A, B, BASE] {
        let probe = arp(1, (A.mac, Addr::v4([0; 4])), target.addr(true));
        bench.refused(A.slot, &probe, DropReason::AddressProbe);
        let probe = solicit((A.mac, Addr::v6([0; 16])), target.addr(false));
        bench.refused(A.slot, &probe.frame(), DropReason::AddressProbe);
    }
    let probe = arp(1, (HOST_MAC, Addr::v4([0; 4])), BASE.addr(true));
    bench.refused(HOST, &probe, DropReason::AddressProbe);
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
}

#[test]
fn who_announces_its_own_address_is_heard_by_nobody() {
    let mut bench = Bench::new();
    for (slot, mac, own) in [(A.slot, A.mac, A), (HOST, HOST_MAC, BASE)] {
        let own4 = (mac, own.addr(true));
        for frame in [
            arp(1, own4, own.addr(true)),
            arp(2, own4, own.addr(true)),
            arp(2, own4, B.addr(true)),
        ] {
            bench.refused(slot, &frame, DropReason::NeighbourAnnouncement);
        }
        for flags in [0, 0x20, 0x60] {
            let body = [&own.addr(false).octets()[..], &[2, 1], &mac.0].concat();
            let to = Addr::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            let word = Packet::icmp(own.addr(false), to, 136, 0, [flags, 0, 0, 0], &body).between(mac, ALL_NODES);
            bench.refused(slot, &word.clone().ttl(255).frame(), DropReason::NeighbourAnnouncement);
            bench.refused(slot, &word.ttl(254).frame(), DropReason::NdpMalformed);
        }
    }
}

#[test]
fn lies_about_who_asks_are_not_answered() {
    let mut bench = Bench::new();
    // With another's MAC, in the frame's header, in the message, or both.
    let to = OUTSIDE.addr(true);
    let mut header = arp(1, (A.mac, A.addr(true)), to);
    header[6..12].copy_from_slice(&B.mac.0);
    let mut message = arp(1, (B.mac, A.addr(true)), to);
    message[6..12].copy_from_slice(&A.mac.0);
    for frame in [
        header,
        message,
        arp(1, (B.mac, A.addr(true)), to),
        arp(2, (B.mac, B.addr(true)), to),
    ] {
        bench.refused(A.slot, &frame, DropReason::SpoofedMac);
    }
    let to = OUTSIDE.addr(false);
    let message = solicit((B.mac, A.addr(false)), to).between(A.mac, GATEWAY_MAC);
    for frame in [message, solicit((B.mac, A.addr(false)), to)] {
        bench.refused(A.slot, &frame.frame(), DropReason::SpoofedMac);
    }
    // With another's address: the gateway's, a neighbour's, one of the world.
    for liar in [BASE, B, OUTSIDE] {
        for op in [1, 2] {
            let frame = arp(op, (A.mac, liar.addr(true)), NODE.addr(true));
            bench.refused(A.slot, &frame, DropReason::SpoofedSource);
        }
        let frame = solicit((A.mac, liar.addr(false)), NODE.addr(false));
        bench.refused(A.slot, &frame.frame(), DropReason::SpoofedSource);
    }
}

/// As kernels ask when they only want to know whether we are still there, and before they have an address of their own.
#[test]
fn questions_in_other_forms_are_answered() {
    let mut bench = Bench::new();
    let mut unicast = arp(1, (A.mac, A.addr(true)), BASE.addr(true));
    unicast[..6].copy_from_slice(&GATEWAY_MAC.0);
    assert_eq!(bench.send(A.slot, &unicast).len(), 1);

    let own = (A.mac, A.addr(false));
    let target = BASE.addr(false);
    let bare = Packet::icmp(own.1, target, 135, 0, [0; 4], &target.octets());
    let bare = bare.ttl(255).between(A.mac, GATEWAY_MAC);
    let sent = bench.send(A.slot, &bare.frame());
    assert_eq!(
        (sent[0].port, &sent[0].bytes[..6]),
        (A.slot, &A.mac.0[..]),
        "to where it came from"
    );

    let link_local = std::net::Ipv6Addr::from([0xfe80, 0, 0, 0, 0, 0, 0, 2]).into();
    assert_eq!(
        bench.send(A.slot, &solicit((A.mac, link_local), target).frame()).len(),
        1
    );
    // To a group where nobody with this address listens.
    let mut elsewhere = solicit(own, target);
    elsewhere.dst.0 = solicit(own, B.addr(false)).dst.0;
    bench.refused(A.slot, &elsewhere.frame(), DropReason::NdpMalformed);
    elsewhere.src.0 = Addr::v6([0; 16]);
    elsewhere.payload.truncate(16);
    bench.refused(A.slot, &elsewhere.frame(), DropReason::NdpMalformed);
}

#[test]
fn only_this_node_is_a_router() {
    let mut bench = Bench::new();
    let link_local = std::net::Ipv6Addr::from([0xfe80, 0, 0, 0, 0, 0, 0, 2]).into();
    let all = |last| Addr::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    for (slot, mac) in [(A.slot, A.mac), (HOST, HOST_MAC)] {
        for (kind, to, body, reason) in [
            (
                133,
                all(2),
                &[1, 1, 2, 0, 0, 0, 10, 2][..],
                DropReason::RouterSolicitation,
            ),
            (134, all(1), &[0; 8], DropReason::RogueRouter),
            (134, B.addr(false), &[0; 8], DropReason::RogueRouter),
            (137, B.addr(false), &[0; 32], DropReason::RogueRouter),
        ] {
            let packet = Packet::icmp(link_local, to, kind, 0, [64, 0, 7, 8], body).between(mac, ALL_NODES);
            bench.refused(slot, &packet.clone().ttl(255).frame(), reason);
            bench.refused(slot, &packet.ttl(64).frame(), DropReason::NdpMalformed);
        }
    }
    // Nor may another node be one, through the tunnel.
    let advert = Packet::icmp(
        super::world::REMOTE.addr(false),
        A.addr(false),
        134,
        0,
        [64, 0, 7, 8],
        &[0; 8],
    );
    bench.refused(
        UPLINK,
        &super::bench::wrapped(&advert.ttl(255)),
        DropReason::RogueRouter,
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
