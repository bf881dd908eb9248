//! Offloads: super-frames and checksums that are still to be completed.

use super::bench::{Bench, Sent, expect, expect_in_tunnel, in_tunnel};
use super::packet::{ACK, L4, Packet};
use super::world::{A, B, GATEWAY_MAC, NODE, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, World};
use sluice_wire::{Checksum, DropReason, Gso, GsoKind, Meta};

/// The frame as a pod's kernel gives it: only the pseudo-header's sum is in the checksum field.
pub(super) fn partial(packet: &Packet, gso: Option<u16>) -> (Meta, Vec<u8>) {
    let mut frame = packet.clone().between(A.mac, GATEWAY_MAC).frame();
    let l4 = if packet.is_v4() { 34 } else { 54 };
    let offset = if packet.l4 == L4::Udp { 6 } else { 16 };
    let tuple = packet.tuple();
    let words = |bytes: &[u8]| {
        bytes
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
            .sum::<u32>()
    };
    let addr = |a: &sluice_wire::Addr| {
        if a.is_v4() {
            words(&a.v4_octets())
        } else {
            words(&a.octets())
        }
    };
    let mut sum = addr(&tuple.src) + addr(&tuple.dst) + u32::from(tuple.proto.0) + (frame.len() - l4) as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[l4 + offset..l4 + offset + 2].copy_from_slice(&(sum as u16).to_be_bytes());
    let kind = match (packet.l4, packet.is_v4()) {
        (L4::Udp, _) => GsoKind::Udp,
        (_, true) => GsoKind::Tcp4,
        (_, false) => GsoKind::Tcp6,
    };
    let meta = Meta {
        checksum: Checksum::Partial {
            start: l4 as u16,
            offset: offset as u16,
        },
        gso: gso.map(|size| Gso { kind, size, ecn: false }),
        ..Meta::from_port(A.slot)
    };
    (meta, frame)
}

fn send(bench: &mut Bench, packet: &Packet, gso: Option<u16>) -> Vec<Sent> {
    let (meta, frame) = partial(packet, gso);
    bench.burst(0, &[(meta, &frame)])
}

pub(super) fn long(dst: (sluice_wire::Addr, u16), tcp: bool, len: usize) -> Packet {
    let src = (A.addr(dst.0.is_v4()), 40010);
    let packet = if tcp {
        Packet::tcp(src, dst, ACK)
    } else {
        Packet::udp(src, dst)
    };
    packet.with((0..len).map(|i| (i * 7 + i / 251) as u8).collect())
}

/// The packets that a long one stands for.
pub(super) fn pieces(whole: &Packet, size: usize) -> Vec<Packet> {
    let cut = |(i, part): (usize, &[u8])| {
        let mut piece = whole.clone().with(part.to_vec());
        if let L4::Tcp { seq, .. } = &mut piece.l4 {
            *seq += (i * size) as u32;
        }
        if piece.is_v4() {
            piece.id += i as u16;
        }
        piece
    };
    whole.payload.chunks(size).enumerate().map(cut).collect()
}

#[test]
fn between_pods_a_super_frame_passes_as_it_is() {
    for v4 in [true, false] {
        for tcp in [true, false] {
            let mut bench = Bench::new();
            let packet = long((B.addr(v4), 80), tcp, 30000);
            for _ in 0..2 {
                let sent = send(&mut bench, &packet, Some(1300));
                assert_eq!(sent.len(), 1);
                let (want_meta, mut want) = partial(&packet.clone().hop(), Some(1300));
                want[..12].copy_from_slice(&[B.mac.0, GATEWAY_MAC.0].concat());
                assert_eq!(sent[0].port, B.slot);
                assert!(sent[0].bytes == want, "{v4} {tcp}");
                assert_eq!(
                    (sent[0].meta.checksum, sent[0].meta.gso),
                    (want_meta.checksum, want_meta.gso)
                );
            }
        }
    }
}

#[test]
fn a_rewritten_super_frame_keeps_a_true_pseudo_header_sum() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[B]);
        let mut bench = Bench::with(world, 1);
        let packet = long((SERVICE.addr(v4), 80), true, 20000);
        let sent = send(&mut bench, &packet, Some(1300));
        let (_, mut want) = partial(&packet.to((B.addr(v4), 8080)).hop(), Some(1300));
        want[..12].copy_from_slice(&[B.mac.0, GATEWAY_MAC.0].concat());
        assert!(sent[0].bytes == want);
    }
}

#[test]
fn towards_the_wire_it_is_cut() {
    for v4 in [true, false] {
        for tcp in [true, false] {
            let mut bench = Bench::new();
            let packet = long((OUTSIDE.addr(v4), 80), tcp, 9999);
            let sent = send(&mut bench, &packet, Some(1300));
            let seen = packet
                .from((NODE.addr(v4), 40010))
                .hop()
                .between(UPLINK_MAC, ROUTER_MAC);
            let want = pieces(&seen, 1300);
            assert_eq!((sent.len(), want.len()), (8, 8));
            for (sent, want) in sent.iter().zip(want) {
                expect(std::slice::from_ref(sent), UPLINK, &want);
            }
        }
    }
}

#[test]
fn in_the_tunnel_every_piece_is_wrapped() {
    for v4 in [true, false] {
        for tcp in [true, false] {
            let mut bench = Bench::new();
            let packet = long((REMOTE.addr(v4), 80), tcp, 9999);
            let sent = send(&mut bench, &packet, Some(1300));
            let want = pieces(&packet.hop(), 1300);
            assert_eq!((sent.len(), want.len()), (8, 8));
            for (sent, want) in sent.iter().zip(want) {
                let flow = want.tuple();
                assert_eq!((sent.port, &sent.bytes), (UPLINK, &in_tunnel(want, &flow, &sent.bytes)));
                assert!(sent.meta.gso.is_none());
            }
        }
    }
}

#[test]
fn a_partial_checksum_is_completed_for_the_wire_and_left_for_pods() {
    for v4 in [true, false] {
        for tcp in [true, false] {
            let mut bench = Bench::new();
            let packet = long((REMOTE.addr(v4), 80), tcp, 777);
            expect_in_tunnel(&send(&mut bench, &packet, None), packet.hop());
            let packet = long((B.addr(v4), 80), tcp, 777);
            let sent = send(&mut bench, &packet, None);
            assert!(matches!(sent[0].meta.checksum, Checksum::Partial { .. }));
        }
    }
}

#[test]
fn segments_must_fit_the_path_too() {
    let mut bench = Bench::new();
    let fits = long((REMOTE.addr(true), 80), true, 5000);
    assert_eq!(send(&mut bench, &fits, Some(1410)).len(), 4);
    let sent = send(&mut bench, &fits, Some(1411));
    assert_eq!((sent.len(), sent[0].port), (1, A.slot), "an error to the sender");
    assert_eq!(bench.dropped(DropReason::TooBig), 1);
    // A super-frame that is only one segment is as large as it is.
    assert_eq!(
        send(&mut bench, &long((REMOTE.addr(true), 80), true, 1000), Some(9000)).len(),
        1
    );
}

#[test]
fn without_memory_the_rest_of_a_super_frame_is_lost_and_counted() {
    let mut bench = Bench::new();
    let packet = long((REMOTE.addr(true), 80), true, 9999);
    let mut taken: Vec<_> = core::iter::from_fn(|| bench.workers[0].pools.small.alloc()).collect();
    for _ in 0..1 {
        bench.workers[0].pools.free(taken.pop().unwrap());
    }
    // Each piece is freed as it is sent here, so one frame is enough for all.
    assert_eq!(send(&mut bench, &packet, Some(1300)).len(), 8);
    let last = bench.workers[0].pools.small.alloc().unwrap();
    taken.push(last);
    assert_eq!(send(&mut bench, &packet, Some(1300)).len(), 0);
    assert_eq!(bench.dropped(DropReason::NoFrameMemory), 1);
    taken.into_iter().for_each(|buf| bench.workers[0].pools.free(buf));
}
