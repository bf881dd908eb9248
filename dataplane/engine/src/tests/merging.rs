//! Packets of one flow that come one by one and leave as super-frames.

use super::bench::{Bench, Sent, wrapped};
use super::packet::{ACK, L4, Packet, SYN};
use super::super_frames::{long, partial, pieces};
use super::world::{A, B, GATEWAY_MAC, HOST_MAC, OFFLOADS, REMOTE, SERVICE, UPLINK, World};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_snapshot::Caps;
use sluice_wire::{Checksum, GsoKind, Meta, Parsed, PortSlot, SegmentPlan, parse};

const PSH: u8 = 0x08;

/// A long packet from the other node to pod A, of a flow that is known from here on.
fn from_remote(bench: &mut Bench, v4: bool, tcp: bool, sport: u16, len: usize) -> Packet {
    let packet = long((A.addr(v4), 80), tcp, len).from((REMOTE.addr(v4), sport));
    introduce(bench, &packet);
    packet
}

fn introduce(bench: &mut Bench, packet: &Packet) {
    let mut opening = packet.clone().with(b"hello".to_vec());
    if let L4::Tcp { seq, ack, .. } = opening.l4 {
        opening.l4 = L4::Tcp { flags: SYN, seq, ack };
        bench.tunnel_sends(&opening);
        let pod = if packet.dst.0 == B.addr(packet.is_v4()) { B } else { A };
        bench.pod_sends(pod, &opening.reply());
        opening.l4 = L4::Tcp { flags: ACK, seq, ack };
    }
    bench.tunnel_sends(&opening);
}

/// These in one burst from the other node.
fn burst(bench: &mut Bench, packets: &[Packet]) -> Vec<Sent> {
    let frames: Vec<_> = packets.iter().map(wrapped).collect();
    burst_at(bench, UPLINK, &frames)
}

/// The same from pod A.
fn burst_from_pod(bench: &mut Bench, packets: Vec<Packet>) -> Vec<Sent> {
    let frames: Vec<_> = packets
        .into_iter()
        .map(|p| p.between(A.mac, GATEWAY_MAC).frame())
        .collect();
    burst_at(bench, A.slot, &frames)
}

fn burst_at(bench: &mut Bench, port: PortSlot, frames: &[Vec<u8>]) -> Vec<Sent> {
    let frames: Vec<_> = frames.iter().map(|bytes| (Meta::from_port(port), &bytes[..])).collect();
    bench.burst(0, &frames)
}

/// Exactly this super-frame left for pod A.
fn expect_super_frame(sent: &Sent, packet: &Packet, size: u16) {
    let (meta, mut bytes) = partial(&packet.clone().hop(), Some(size));
    bytes[..12].copy_from_slice(&[A.mac.0, GATEWAY_MAC.0].concat());
    assert_eq!(sent.port, A.slot);
    assert_eq!((sent.meta.checksum, sent.meta.gso), (meta.checksum, meta.gso));
    assert!(sent.bytes == bytes, "another super-frame");
}

fn parsed(bytes: &[u8]) -> Parsed {
    match parse(bytes) {
        Ok(sluice_wire::Packet::Ip(parsed)) => parsed,
        other => panic!("no IP packet: {other:?}"),
    }
}

/// The packets that a frame stands for.
fn cut(sent: &Sent) -> Vec<Vec<u8>> {
    let Some(gso) = sent.meta.gso else {
        return vec![sent.bytes.clone()];
    };
    let plan = SegmentPlan::new(&sent.bytes, &parsed(&sent.bytes), gso).unwrap();
    let segment = |i| {
        let mut out = vec![0; plan.segment_len(i)];
        assert!(plan.write(i, &sent.bytes, &mut out));
        out
    };
    (0..plan.count()).map(segment).collect()
}

#[test]
fn a_burst_from_the_tunnel_leaves_as_one_super_frame() {
    for v4 in [true, false] {
        for tcp in [true, false] {
            let mut bench = Bench::new();
            let whole = from_remote(&mut bench, v4, tcp, 2000, 19 * 1300 + 700);
            let packets = pieces(&whole, 1300);
            assert_eq!(packets.len(), 20);
            let sent = burst(&mut bench, &packets);
            assert_eq!(sent.len(), 1);
            expect_super_frame(&sent[0], &whole, 1300);
            let headers = 14 + if v4 { 20 } else { 40 } + if tcp { 20 } else { 8 };
            assert_eq!(bench.counters().merged.get(), (19, 19 * headers));
            assert_eq!(bench.counters().events.super_frames.get(), 1);
        }
    }
}

#[test]
fn flows_that_alternate_have_a_super_frame_each() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let wholes: Vec<_> = [2000, 2001, 2002]
            .map(|sport| from_remote(&mut bench, v4, sport != 2001, sport, 9 * 1000))
            .into();
        let packets: Vec<_> = wholes.iter().map(|whole| pieces(whole, 1000)).collect();
        let mixed: Vec<_> = (0..9)
            .flat_map(|i| packets.iter().map(move |flow| flow[i].clone()))
            .collect();
        let sent = burst(&mut bench, &mixed);
        assert_eq!(sent.len(), 3);
        for (sent, whole) in sent.iter().zip(&wholes) {
            expect_super_frame(sent, whole, 1000);
        }
    }
}

#[test]
fn what_small_packets_become_lies_in_an_ordinary_frame() {
    let mut bench = Bench::new();
    let whole = from_remote(&mut bench, true, true, 2000, 1000);
    let large: Vec<_> = core::iter::from_fn(|| bench.workers[0].pools.large.alloc()).collect();
    let sent = burst(&mut bench, &pieces(&whole, 50));
    assert_eq!(sent.len(), 1);
    expect_super_frame(&sent[0], &whole, 50);
    // Where there is no memory for more, packets leave as they came.
    let whole = from_remote(&mut bench, true, true, 2001, 4000);
    let sent = burst(&mut bench, &pieces(&whole, 1000));
    assert_eq!(sent.iter().flat_map(cut).count(), 4);
    assert_eq!(sent.len(), 4);
    large.into_iter().for_each(|buf| bench.workers[0].pools.free(buf));
}

#[test]
fn a_reply_through_a_service_is_gathered_as_it_leaves() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[REMOTE]);
        let mut bench = Bench::with(world, 1);
        let ask = Packet::udp((A.addr(v4), 2000), (SERVICE.addr(v4), 80));
        bench.pod_sends(A, &ask);
        let reply = long((A.addr(v4), 2000), false, 5 * 1000).from((REMOTE.addr(v4), 8080));
        bench.tunnel_sends(&reply.clone().with(vec![1]));
        let sent = burst(&mut bench, &pieces(&reply, 1000));
        assert_eq!(sent.len(), 1);
        expect_super_frame(&sent[0], &reply.from((SERVICE.addr(v4), 80)), 1000);
    }
}

#[test]
fn nothing_is_gathered_for_the_wire_or_for_who_does_not_take_it() {
    for v4 in [true, false] {
        for (tcp, without) in [
            (
                true,
                Caps {
                    tso4: false,
                    tso6: false,
                    ..OFFLOADS
                },
            ),
            (false, Caps { uso: false, ..OFFLOADS }),
            (
                true,
                Caps {
                    checksum: false,
                    ..OFFLOADS
                },
            ),
        ] {
            let mut bench = Bench::new();
            bench.change(|w| w.ports.get_mut(&A.slot.0).unwrap().caps = without);
            let whole = from_remote(&mut bench, v4, tcp, 2000, 5000);
            assert_eq!(burst(&mut bench, &pieces(&whole, 1000)).len(), 5);
            assert_eq!(bench.counters().merged.get(), (0, 0));
        }
        let mut bench = Bench::new();
        let packets = pieces(&long((REMOTE.addr(v4), 80), false, 5000), 1000);
        bench.pod_sends(A, &packets[0]);
        let sent = burst_from_pod(&mut bench, packets);
        assert!(sent.len() == 5 && sent.iter().all(|sent| sent.port == UPLINK));
        assert_eq!(bench.counters().merged.get(), (0, 0));
    }
}

#[test]
fn the_host_takes_super_frames_too() {
    let mut bench = Bench::new();
    let host = super::world::BASE.addr(true);
    let whole = long((host, 80), false, 4000).from((A.addr(true), 2000));
    bench.pod_sends(A, &whole.clone().with(vec![1]));
    let sent = burst_from_pod(&mut bench, pieces(&whole, 1000));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].bytes[..6], HOST_MAC.0);
    assert_eq!(sent[0].meta.gso.map(|gso| gso.kind), Some(GsoKind::Udp));
}

/// A datagram that is cut into fragments does not wait for those before it, so they do not wait either.
#[test]
fn a_packet_that_cannot_join_does_not_pass_those_before_it() {
    let mut bench = Bench::new();
    let mut packets = pieces(&from_remote(&mut bench, true, false, 2000, 5 * 1000), 1000);
    packets[2].dont_fragment = false;
    packets[2].payload = vec![9; 1440];
    let sent = burst(&mut bench, &packets);
    let first_bytes: Vec<_> = sent.iter().map(|s| s.bytes.len() - 34).collect();
    assert_eq!(first_bytes, [8 + 2000, 1424, 24, 8 + 2000], "{sent:?}");
}

#[test]
fn a_wrong_checksum_reaches_the_pod_as_it_came_and_alone() {
    let mut bench = Bench::new();
    let packets = pieces(&from_remote(&mut bench, false, true, 2000, 5 * 1000), 1000);
    let mut frames: Vec<_> = packets.iter().map(wrapped).collect();
    // The outer sum is not looked at where it is zero, which IPv6 allows no tunnel here; so it is corrected.
    let last = frames[2].len() - 1;
    frames[2][last] ^= 1;
    let outer = u16::from_be_bytes([frames[2][60], frames[2][61]]);
    let (old, new) = (u16::from(frames[2][last] ^ 1), u16::from(frames[2][last]));
    let sum = sluice_wire::checksum::update16(outer, old, new);
    frames[2][60..62].copy_from_slice(&sum.to_be_bytes());
    let frames: Vec<_> = frames
        .iter()
        .map(|bytes| (Meta::from_port(UPLINK), &bytes[..]))
        .collect();
    let sent = bench.burst(0, &frames);
    let shapes: Vec<_> = sent.iter().map(|s| (s.bytes.len() - 74, s.meta.checksum)).collect();
    let partial = Checksum::Partial { start: 54, offset: 16 };
    assert_eq!(shapes, [(2000, partial), (1000, Checksum::Unverified), (2000, partial)]);
}

/// What happens to one packet of a flow.
#[derive(Clone, Copy, Debug)]
enum Twist {
    Nothing,
    Lost,
    Pushed,
    Marked,
    Nearer,
    Shorter,
    Damaged,
}

/// For each packet of a burst: its flow, and what happens to it.
fn traffic() -> impl Strategy<Value = Vec<(usize, Twist)>> {
    use Twist::*;
    let twist = prop_oneof![6 => Just(Nothing), 1 => select(vec![Lost, Pushed, Marked, Nearer, Shorter, Damaged])];
    // Some bursts have more flows than may grow at a time.
    (1usize..12).prop_flat_map(move |flows| vec((0..flows, twist.clone()), 1..60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut again, a burst that was gathered is what leaves when each packet comes in a burst of its own.
    #[test]
    fn a_gathered_burst_is_its_packets_in_the_order_of_each_flow(
        traffic in traffic(), v4: bool, tcp: bool, size in select(vec![8usize, 100, 1300]),
    ) {
        let flow = |n: usize| {
            let packet = long((if n % 3 == 2 { B } else { A }.addr(v4), 80), tcp ^ (n % 4 == 3), 60 * size);
            packet.from((REMOTE.addr(v4), 2000 + n as u16))
        };
        let mut left: Vec<_> = (0..12).map(|n| pieces(&flow(n), size).into_iter()).collect();
        let mut frames = Vec::new();
        for (n, twist) in &traffic {
            let mut packet = left[*n].next().unwrap();
            match twist {
                Twist::Lost => continue,
                Twist::Pushed => if let L4::Tcp { flags, .. } = &mut packet.l4 { *flags |= PSH },
                Twist::Marked => packet.tos ^= 3,
                Twist::Nearer => packet.ttl -= 1,
                Twist::Shorter => packet.payload.truncate(size / 2),
                Twist::Damaged | Twist::Nothing => {}
            }
            let mut frame = wrapped(&packet);
            if matches!(twist, Twist::Damaged) && v4 {
                // No outer checksum, so that only the pod finds it.
                frame[40..42].fill(0);
                *frame.last_mut().unwrap() ^= 1;
            }
            frames.push(frame);
        }
        let known = || {
            let mut bench = Bench::new();
            (0..12).for_each(|n| introduce(&mut bench, &flow(n)));
            bench
        };
        let (mut together, mut one_by_one) = (known(), known());
        let all: Vec<_> = frames.iter().map(|bytes| (Meta::from_port(UPLINK), &bytes[..])).collect();
        let got: Vec<_> = together.burst(0, &all).iter().flat_map(cut).collect();
        let want: Vec<_> = all.iter().flat_map(|one| one_by_one.burst(0, &[*one])).map(|sent| sent.bytes).collect();
        for n in 0..12 {
            let of = |frames: &[Vec<u8>]| -> Vec<Vec<u8>> {
                frames.iter().filter(|bytes| parsed(bytes).tuple.sport == 2000 + n).cloned().collect()
            };
            prop_assert!(of(&got) == of(&want), "flow {n}");
        }
        prop_assert_eq!(got.len(), want.len());
    }
}
