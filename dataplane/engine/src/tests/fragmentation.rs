//! IPv4 packets that are larger than their way, and may be cut: what arrives, put together, is what a wider way would have carried.

use super::bench::{Bench, Sent};
use super::packet::{L4, Packet, SYN};
use super::pieces::{cut, join};
use super::world::{
    A, B, GATEWAY_MAC, NODE, NODE_PORT, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, World,
};
use proptest::prelude::*;
use sluice_wire::{Checksum, DropReason, Meta};

/// All ways take this much.
fn with_mtu(mtu: u16) -> Bench {
    let mut world = World::new();
    world.serve(&[REMOTE]);
    world.ports.values_mut().for_each(|port| port.mtu = mtu);
    world.adjacencies.values_mut().for_each(|adjacency| adjacency.mtu = mtu);
    Bench::with(world, 1)
}

/// What left without the headers of a tunnel, whose checksum has to be right.
fn inner(sent: &Sent) -> Vec<u8> {
    let Ok(sluice_wire::Packet::Ip(outer)) = sluice_wire::parse(&sent.bytes) else {
        panic!("no IP packet: {sent:?}");
    };
    if sent.port != UPLINK || outer.tuple.dport != super::world::TUNNEL_PORT {
        return sent.bytes.clone();
    }
    assert!(sluice_wire::checksum::verify_transport(&sent.bytes, &outer));
    sent.bytes[50..].to_vec()
}

/// From a pod (to a pod here, one there, a service there, and outside), or from outside to a node port.
fn packet(way: usize, l4: L4, len: usize) -> (bool, Packet) {
    let to = [
        (B.addr(true), 9),
        (REMOTE.addr(true), 9),
        (SERVICE.addr(true), 80),
        (OUTSIDE.addr(true), 53),
    ];
    let (from_pod, src, dst) = match to.get(way) {
        Some(dst) => (true, (A.addr(true), 1000), *dst),
        None => (false, (OUTSIDE.addr(true), 1000), (NODE.addr(true), NODE_PORT)),
    };
    let mut packet = match l4 {
        L4::Tcp { .. } => Packet::tcp(src, dst, SYN),
        _ => Packet::udp(src, dst),
    };
    (packet.dont_fragment, packet.id) = (false, 77);
    packet.mss = (l4 != L4::Udp).then_some(500);
    (from_pod, packet.with((0..len).map(|i| (i * 13) as u8).collect()))
}

fn send(bench: &mut Bench, from_pod: bool, packet: &Packet) -> Vec<Sent> {
    if from_pod {
        bench.pod_sends(A, packet)
    } else {
        bench.outside_sends(packet)
    }
}

proptest! {
    #[test]
    fn pieces_that_leave_make_the_packet_that_a_wider_way_would_carry(
        mtu in 552u16..1500, len in 0usize..4000, way in 0usize..5, tcp in any::<bool>(),
    ) {
        let l4 = if tcp { L4::Tcp { flags: SYN, seq: 1, ack: 1 } } else { L4::Udp };
        let (from_pod, packet) = packet(way, l4, len);
        let (mut wide, mut narrow) = (with_mtu(9000), with_mtu(mtu));
        // Decided by the first, a hit for the second where the state allows it.
        for _ in 0..2 {
            let whole = send(&mut wide, from_pod, &packet);
            prop_assert_eq!(whole.len(), 1);
            let whole = inner(&whole[0]);
            let sent = send(&mut narrow, from_pod, &packet);
            let frames: Vec<Vec<u8>> = sent.iter().map(inner).collect();
            prop_assert!(frames.iter().all(|f| f.len() - 14 <= usize::from(mtu)));
            if whole.len() - 14 <= usize::from(mtu) {
                prop_assert_eq!(&frames, &[whole]);
                continue;
            }
            let fewest = (whole.len() - 34).div_ceil(usize::from(mtu - 20) & !7);
            prop_assert_eq!(frames.len(), fewest);
            prop_assert_eq!(join(&frames), Some(whole));
        }
    }
}

#[test]
fn fragments_are_cut_again() {
    let (from_pod, packet) = packet(1, L4::Udp, 3000);
    assert!(from_pod);
    let frame = packet.clone().between(A.mac, GATEWAY_MAC).frame();
    let mut bench = with_mtu(600);
    let mut frames = Vec::new();
    for piece in cut(&frame, 1400, 77) {
        let sent = bench.send(A.slot, &piece);
        frames.extend(sent.iter().map(inner));
    }
    assert_eq!(frames.len(), 3 + 3 + 1);
    let whole = inner(&with_mtu(9000).pod_sends(A, &packet)[0]);
    assert_eq!(join(&frames), Some(whole));
}

/// A pod leaves the checksum to be completed; no fragment holds enough of the packet to do it later.
#[test]
fn a_partial_checksum_is_completed_before_the_packet_is_cut() {
    let (_, packet) = packet(0, L4::Udp, 2000);
    let want = inner(&with_mtu(9000).pod_sends(A, &packet)[0]);
    let mut frame = packet.between(A.mac, GATEWAY_MAC).frame();
    let pseudo = sluice_wire::checksum::pseudo(&A.addr(true), &B.addr(true), sluice_wire::Proto::UDP, 2008).folded();
    frame[40..42].copy_from_slice(&pseudo.to_be_bytes());
    let mut meta = Meta::from_port(A.slot);
    meta.checksum = Checksum::Partial { start: 34, offset: 6 };
    let sent = with_mtu(1000).burst(0, &[(meta, &frame)]);
    assert!(sent.iter().all(|s| s.meta.checksum == Checksum::Unverified));
    let frames: Vec<Vec<u8>> = sent.iter().map(inner).collect();
    assert_eq!(join(&frames), Some(want));
}

#[test]
fn what_must_not_be_cut_is_not() {
    let mut bench = with_mtu(1000);
    let (_, mut packet) = packet(1, L4::Udp, 1200);
    packet.dont_fragment = true;
    let told = bench.pod_sends(A, &packet);
    assert_eq!((told.len(), told[0].port), (1, A.slot));
    let (from, to) = ((A.addr(false), 1000), (REMOTE.addr(false), 9));
    let told = bench.pod_sends(A, &Packet::udp(from, to).with(vec![0; 1200]));
    assert_eq!((told.len(), told[0].port), (1, A.slot));
    assert_eq!(bench.dropped(DropReason::TooBig), 2);
    let from_outside = Packet {
        src: (OUTSIDE.addr(true), 1000),
        dst: (NODE.addr(true), NODE_PORT),
        ..packet
    };
    let told = bench.send(UPLINK, &from_outside.between(ROUTER_MAC, UPLINK_MAC).frame());
    assert_eq!((told.len(), told[0].port), (1, UPLINK));
}

#[test]
fn no_fragment_is_larger_than_a_frame() {
    let (_, packet) = packet(1, L4::Udp, 5000);
    let frames: Vec<Vec<u8>> = with_mtu(4000).pod_sends(A, &packet).iter().map(inner).collect();
    assert!(frames.len() > 2);
    let whole = inner(&with_mtu(9000).pod_sends(A, &packet)[0]);
    assert_eq!(join(&frames), Some(whole));
}
