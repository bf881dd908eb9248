//! Who may send with which addresses, also while the real flow is cached.

use super::bench::{Bench, NOBODY, expect_at_pod};
use super::packet::{ACK, Packet, SYN};
use super::world::{
    A, B, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC,
};
use sluice_wire::{Checksum, DropReason, Gso, GsoKind, Meta};

#[test]
fn a_pod_sends_with_its_own_addresses_only() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let honest = Packet::udp((B.addr(v4), 1000), (REMOTE.addr(v4), 2000));
        assert_eq!(bench.pod_sends(B, &honest).len(), 1);
        assert_eq!(bench.pod_sends(B, &honest).len(), 1);
        for who in [B, REMOTE, NODE, BASE, OUTSIDE, SERVICE] {
            let forged = honest.clone().from((who.addr(v4), 1000)).between(A.mac, GATEWAY_MAC);
            bench.refused(A.slot, &forged.frame(), DropReason::SpoofedSource);
        }
        // The right address with a wrong MAC, on the very flow that is cached.
        for mac in [A.mac, NOBODY, GATEWAY_MAC] {
            let forged = honest.clone().between(mac, GATEWAY_MAC);
            bench.refused(B.slot, &forged.frame(), DropReason::SpoofedMac);
        }
        assert_eq!(bench.pod_sends(B, &honest).len(), 1);
    }
}

#[test]
fn a_pod_cannot_speak_in_anothers_connection() {
    let mut bench = Bench::new();
    let syn = Packet::tcp((B.addr(true), 1000), (REMOTE.addr(true), 80), SYN);
    bench.pod_sends(B, &syn);
    bench.tunnel_sends(&syn.reply());
    let data = Packet::tcp(syn.src, syn.dst, ACK);
    bench.pod_sends(B, &data);
    let reset = Packet::tcp(syn.src, syn.dst, super::packet::RST);
    for forged in [data, reset, syn.reply()] {
        bench.refused(
            A.slot,
            &forged.between(A.mac, GATEWAY_MAC).frame(),
            DropReason::SpoofedSource,
        );
    }
    let states: Vec<_> = bench.shared.connections.rows(0, 9).iter().map(|r| r.state).collect();
    assert_eq!(states, [sluice_lb::ConnState::Established]);
}

#[test]
fn the_wire_and_the_host_do_not_speak_for_pods() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        for src in [A, REMOTE, NODE, BASE] {
            let packet = Packet::udp((src.addr(v4), 1), (B.addr(v4), 2)).between(ROUTER_MAC, UPLINK_MAC);
            bench.refused(UPLINK, &packet.frame(), DropReason::SpoofedSource);
        }
        for src in [A, REMOTE] {
            let packet = Packet::udp((src.addr(v4), 1), (B.addr(v4), 2)).between(HOST_MAC, GATEWAY_MAC);
            bench.refused(HOST, &packet.frame(), DropReason::SpoofedSource);
        }
    }
}

/// Completing a checksum writes two bytes: nowhere but where the packet's own sum lies, or in its payload.
#[test]
fn offload_claims_must_fit_the_packet() {
    let packet = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 2000)).between(A.mac, GATEWAY_MAC);
    let frame = packet.frame();
    let mut bench = Bench::new();
    let mut send = |checksum, gso| {
        let meta = Meta {
            checksum,
            gso,
            ..Meta::from_port(A.slot)
        };
        bench.burst(0, &[(meta, &frame)]).len()
    };
    let partial = |start, offset| Checksum::Partial { start, offset };
    for (start, offset) in [
        (14, 0),
        (14, 12),
        (14, 16),
        (30, 0),
        (34, 0),
        (34, 2),
        (34, 4),
        (26, 14),
        (0, 40),
        (54, 0),
        (u16::MAX, u16::MAX),
    ] {
        assert_eq!(send(partial(start, offset), None), 0, "start {start} offset {offset}");
    }
    assert_eq!(send(partial(34, 6), None), 1);
    assert_eq!(send(partial(42, 6), None), 1);
    let gso = |kind| {
        Some(Gso {
            kind,
            size: 100,
            ecn: false,
        })
    };
    assert_eq!(send(partial(34, 6), gso(GsoKind::Tcp4)), 0);
    assert_eq!(send(partial(42, 6), gso(GsoKind::Udp)), 0);
    assert_eq!(send(partial(34, 6), gso(GsoKind::Udp)), 1);
    assert_eq!(bench.dropped(DropReason::RxInvalid), 11);
    assert_eq!(bench.dropped(DropReason::GsoMalformed), 2);
}

#[test]
fn nothing_hides_behind_the_first_segment() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1000), (B.addr(true), 2000));
    let w = &mut bench.workers[0];
    let bytes = packet.clone().between(A.mac, GATEWAY_MAC).frame();
    let mut frame = super::bench::frame(&mut w.pools, Meta::from_port(A.slot), &bytes);
    let mut tail = w.pools.small.alloc().unwrap();
    tail.extend(100).unwrap();
    frame.buf.append(tail);
    let mut rx = crate::Burst::new();
    rx.push(frame);
    w.engine.process(&bench.snapshot, 0, &mut w.pools, &mut rx, &mut w.out);
    assert_eq!(bench.dropped(DropReason::RxInvalid), 1);
    expect_at_pod(&bench.pod_sends(A, &packet), B, packet.clone().hop());
}
