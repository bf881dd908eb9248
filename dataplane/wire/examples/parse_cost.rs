//! What parsing a frame costs, ours and etherparse's, taking turns: `cargo run --release -p sluice-wire --example parse_cost`.
//!
//! Both answer with addresses, protocol, ports and the payload's offset. Ours always verifies the IPv4 header's checksum, which
//! etherparse leaves to its caller; its second line adds that. A round parses 64 frames of as many flows 50 times, too
//! short to be interrupted often; shown is the median round, with the 5 % and 95 % ones. An argument is the number of rounds.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use sluice_wire::{Packet, parse};
use std::hint::black_box;
use std::time::Instant;

const FRAMES: usize = 64;
const PASSES: usize = 50;
const ROUNDS: usize = 2001;

/// A digest of what was found, so that nothing of it can be left out.
type Parser = fn(&[u8]) -> Option<u64>;

fn frames(v6: bool) -> Vec<Vec<u8>> {
    let frame = |n: u8| {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let addr = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n, last];
        let ip = if v6 {
            ethernet.ipv6(addr(1), addr(2), 64)
        } else {
            ethernet.ipv4([10, 0, n, 1], [10, 0, n, 2], 64)
        };
        let mut bytes = Vec::new();
        ip.tcp(40_000 + u16::from(n), 80, 1, 512)
            .write(&mut bytes, &[0; 10])
            .unwrap();
        bytes
    };
    (0..FRAMES as u8).map(frame).collect()
}

fn mix(src: &[u8], dst: &[u8], proto: u8, sport: u16, dport: u16, payload: usize) -> u64 {
    let last = |bytes: &[u8]| bytes.last_chunk::<4>().map_or(0, |b| u64::from(u32::from_be_bytes(*b)));
    let ports = u64::from(sport) << 16 | u64::from(dport);
    last(src) ^ last(dst).rotate_left(32) ^ ports.rotate_left(16) ^ u64::from(proto) << 56 ^ payload as u64
}

#[inline(never)]
fn ours(frame: &[u8]) -> Option<u64> {
    let Ok(Packet::Ip(p)) = parse(frame) else { return None };
    let t = p.tuple;
    Some(mix(
        &t.src.octets(),
        &t.dst.octets(),
        t.proto.0,
        t.sport,
        t.dport,
        usize::from(p.payload),
    ))
}

#[inline(never)]
fn sliced(frame: &[u8], verify: bool) -> Option<u64> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        return None;
    };
    let payload = frame.len() - tcp.payload().len();
    let found =
        |src: &[u8], dst: &[u8], proto| mix(src, dst, proto, tcp.source_port(), tcp.destination_port(), payload);
    match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            if verify && sluice_wire::checksum::sum(header.slice()).folded() != 0xffff {
                return None;
            }
            Some(found(&header.source(), &header.destination(), header.protocol().0))
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            Some(found(&header.source(), &header.destination(), header.next_header().0))
        }
        _ => None,
    }
}

fn main() {
    let wanted = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(ROUNDS)
        .max(1);
    let parsers: [(&str, Parser); 3] = [
        ("ours, IPv4 checksum verified", ours),
        ("etherparse", |frame| sliced(frame, false)),
        ("etherparse, IPv4 checksum verified", |frame| sliced(frame, true)),
    ];
    for v6 in [false, true] {
        let frames = frames(v6);
        for frame in &frames {
            assert!(
                ours(frame).is_some() && parsers.iter().all(|(_, p)| p(frame) == ours(frame)),
                "parsers disagree"
            );
        }
        let mut rounds = [const { Vec::new() }; 3];
        for _ in 0..wanted {
            for ((_, parser), times) in parsers.iter().zip(&mut rounds) {
                let started = Instant::now();
                for _ in 0..PASSES {
                    for frame in &frames {
                        black_box(parser(black_box(frame)));
                    }
                }
                times.push(started.elapsed().as_secs_f64() * 1e9 / (PASSES * FRAMES) as f64);
            }
        }
        for ((name, _), times) in parsers.iter().zip(&mut rounds) {
            times.sort_by(f64::total_cmp);
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            let family = if v6 { "IPv6" } else { "IPv4" };
            println!(
                "{family} tcp  {name:36} {:5.1} ns  ({:.1} .. {:.1})",
                at(50),
                at(5),
                at(95)
            );
        }
    }
}
