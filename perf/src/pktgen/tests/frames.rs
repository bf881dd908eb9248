//! Frames, byte for byte.

use super::*;
use crate::cases::build;
use crate::pktgen::flows::{Flow, flows, tuple};
use crate::pktgen::pace::Schedule;
use crate::pktgen::payload::{Mark, Run, find};
use crate::pktgen::receive::{Arrived, Judge};
use crate::pktgen::source::Source;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use sluice_mem::{Memory, Pool};
use sluice_wire::{MacAddr, Tuple};
use std::collections::BTreeSet;

const MACS: (MacAddr, MacAddr) = (MacAddr([2, 1, 1, 1, 1, 1]), MacAddr([2, 2, 2, 2, 2, 2]));
const RUN: Run = Run(0xbeef);

fn v6() -> Stream {
    let mut stream = stream();
    stream.src.addresses = "fd00:1::/120".parse().unwrap();
    stream.dst.addresses = "fd00:2::7-fd00:2::9".parse().unwrap();
    stream.size = Size::Bytes(90);
    stream
}

fn tunnel(family: &str) -> Option<Vxlan> {
    let ends = if family == "v4" {
        "src=192.0.2.1,dst=192.0.2.2"
    } else {
        "src=2001:db8::1,dst=2001:db8::2"
    };
    Some(
        format!("vni=70000,{ends},port=4789,src-mac=02:00:00:00:00:0a")
            .parse()
            .unwrap(),
    )
}

/// The frames of these numbers.
fn frames(stream: &Stream, numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    let memory = Memory::new(4096, 4).unwrap();
    let mut pool: Pool = memory.pool();
    let mut source = Source::stream(stream, MACS).unwrap();
    // A run before leaves nothing behind.
    source.begin(Run(1));
    source.begin(RUN);
    let mut one = |number: u64| {
        let mut buf = pool.alloc().unwrap();
        buf.extend(3000).unwrap().fill(0xee);
        buf.truncate(0);
        source.write(&mut buf, number, sent(number)).unwrap();
        let bytes = buf.bytes().to_vec();
        pool.free(buf).unwrap();
        bytes
    };
    numbers.into_iter().map(&mut one).collect()
}

fn sent(number: u64) -> u64 {
    number.wrapping_mul(0x1_2345_6789) & ((1 << 48) - 1)
}

/// As etherparse builds it.
fn built(stream: &Stream, flow: &Flow, number: u64, bytes: usize) -> Vec<u8> {
    let Tuple {
        src, dst, sport, dport, ..
    } = tuple(stream, flow);
    let headers = if src.is_v4() { 42 } else { 62 };
    let mut payload = Mark {
        number,
        sent_ns: sent(number),
    }
    .bytes(RUN)
    .to_vec();
    payload.resize(bytes - 4 - headers, 0);
    let inner = |macs| build(macs, (src, sport), (dst, dport), 64, None, &payload);
    let Some(vxlan) = stream.vxlan else { return inner(MACS) };
    let mut packet = vec![8, 0, 0, 0, 1, 0x11, 0x70, 0];
    packet.extend(inner(vxlan.macs));
    let port = sluice_vxlan::source_port(tuple(stream, flow).stable_hash());
    let mut frame = build(MACS, (vxlan.src, port), (vxlan.dst, vxlan.port), 64, Some(0), &packet);
    if vxlan.src.is_v4() {
        frame[40..42].fill(0);
    }
    frame
}

#[test]
fn every_frame_is_what_another_library_builds() {
    let numbers = [0, 1, 2, 77, 4999, 5000, 123_456_789, 1 << 40];
    for base in [stream(), v6()] {
        for vxlan in [None, tunnel("v4"), tunnel("v6")] {
            for size in [90, 91, 512, 1500] {
                let stream = Stream {
                    flows: 5000,
                    size: Size::Bytes(size),
                    vxlan,
                    ..base.clone()
                };
                let all = flows(&stream);
                let wanted = numbers.map(|n| built(&stream, &all[n as usize % 5000], n, size.into()));
                assert!(frames(&stream, numbers) == wanted, "{stream:?}");
            }
        }
    }
    let least = Stream { flows: 3, ..stream() };
    let frame = &frames(&least, [5])[0];
    assert_eq!(frame.len(), 60, "64 bytes with the frame check sequence");
    assert_eq!(frame, &built(&least, &flows(&least)[2], 5, 64));
}

#[test]
fn a_mix_has_each_size_as_often_as_it_says_and_no_flow_always_the_same() {
    let stream = Stream {
        flows: 12,
        size: Size::Imix,
        ..stream()
    };
    let lengths: Vec<usize> = frames(&stream, 0..144).iter().map(Vec::len).collect();
    let count = |of: &[usize], len: usize| of.iter().filter(|l| **l == len).count();
    assert_eq!([60, 590, 1514].map(|len| count(&lengths, len)), [84, 48, 12]);
    let first: Vec<usize> = lengths.iter().step_by(12).copied().collect();
    assert_eq!([60, 590, 1514].map(|len| count(&first, len)), [7, 4, 1]);
    let six = Stream {
        size: Size::Imix,
        ..v6()
    };
    let lengths: BTreeSet<usize> = frames(&six, 0..12).iter().map(Vec::len).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [80, 590, 1514]);
}

#[test]
fn the_same_seed_makes_the_same_headers() {
    let of = |seed| {
        frames(
            &Stream {
                flows: 1000,
                size: Size::Imix,
                seed,
                ..stream()
            },
            0..3000,
        )
    };
    assert!(of(7) == of(7));
    assert!(of(7) != of(8));
}

#[test]
fn a_tunnel_is_what_its_option_says() {
    let stream = Stream {
        flows: 100,
        vxlan: tunnel("v6"),
        ..stream()
    };
    let mut sources = BTreeSet::new();
    for frame in frames(&stream, 0..100) {
        let outer = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = &outer.transport else {
            panic!("no UDP")
        };
        assert_eq!(udp.destination_port(), 4789);
        let Some(NetSlice::Ipv6(ip)) = &outer.net else {
            panic!("no IPv6")
        };
        let header = ip.header().to_header();
        let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
        assert_eq!(sum, udp.checksum(), "outer UDP over IPv6 has a checksum");
        sources.insert(udp.source_port());
        let (head, inner) = udp.payload().split_at(8);
        assert_eq!(head, [8, 0, 0, 0, 0x01, 0x11, 0x70, 0], "RFC 7348 section 5: VNI 70000");
        let inner = SlicedPacket::from_ethernet(inner).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&inner.net, &inner.transport) else {
            panic!("no UDP over IPv4 inside")
        };
        let header = ip.header().to_header();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
        assert_eq!(
            udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap(),
            udp.checksum()
        );
    }
    assert!(sources.len() > 90, "flows have their own outer ports");
}

#[test]
fn a_mark_is_found_behind_other_addresses_and_in_tunnels_and_nowhere_else() {
    for base in [stream(), v6()] {
        let plain = &frames(&base, [9])[0];
        let mark = |frame: &[u8]| find(frame, RUN).and_then(|payload| Mark::read(payload, RUN));
        let want = Some(Mark {
            number: 9,
            sent_ns: sent(9),
        });
        assert_eq!(mark(plain), want);
        assert_eq!(find(plain, Run(1)), None, "of another run");
        // Translated; swapped, addresses and ports keep their sums.
        let mut other = plain.clone();
        let (addresses, ports) = if base.dst.addresses.is_v4() {
            (26..34, 34..38)
        } else {
            (22..54, 54..58)
        };
        let middle = addresses.len() / 2;
        other[addresses].rotate_left(middle);
        other[ports.clone()].rotate_left(2);
        assert_ne!(&other, plain);
        assert_eq!(mark(&other), want);
        for vxlan in [tunnel("v4"), tunnel("v6")] {
            assert_eq!(mark(&frames(&Stream { vxlan, ..base.clone() }, [9])[0]), want);
        }
        let mut foreign = plain.clone();
        foreign[ports.start + 8] ^= 1;
        assert_eq!(mark(&foreign), None);
        assert!(
            (0..plain.len()).all(|len| find(&plain[..len], RUN).is_none()),
            "cut short"
        );
    }
}

#[test]
fn once_laid_out_nothing_is_allocated_for_a_packet() {
    let memory = Memory::new(4096, 64).unwrap();
    let mut pool = memory.pool();
    let stream = Stream {
        flows: 1000,
        size: Size::Imix,
        vxlan: tunnel("v6"),
        ..stream()
    };
    let mut source = Source::stream(&stream, MACS).unwrap();
    source.begin(RUN);
    let schedule = Schedule::new(Pace::Ramp(0.0, 1e6), Until::Packets(10_000)).unwrap();
    let judge = Judge {
        schedule: &schedule,
        run: RUN,
        flows: source.flows(),
        piece: source.piece(),
    };
    let mut arrived = Arrived::new(source.flows());
    let found = allocation_counter::measure(|| {
        for number in 0..10_000 {
            assert_eq!(schedule.due(number, u64::MAX, 1), 1);
            let mut buf = pool.alloc().unwrap();
            source.write(&mut buf, number, number).unwrap();
            // Every fifth is lost.
            if number % 5 > 0 {
                arrived.frame(buf.bytes(), 7 * number, 10_000, &judge);
            }
            pool.free(buf).unwrap();
        }
    });
    assert_eq!(found.count_total, 0);
    assert_eq!((arrived.account.counts.unique, arrived.foreign), (8000, 0));
}
