//! Everything that may be unusual about a packet of a known flow, one by one: it is left to the general path, and what comes of it is what
//! comes of it in an engine that has no other.

use super::bench::{Bench, Sent, wrapped};
use super::fast::{bench, books, by_flow};
use super::packet::{ACK, Packet, SYN};
use super::world::{A, B, GATEWAY_MAC, NODE, NODE_PORT, OUTSIDE, REMOTE, ROUTER_MAC, UPLINK, UPLINK_MAC};
use sluice_mem::Processor;
use sluice_wire::{Checksum, Gso, GsoKind, Meta, Proto, checksum};

/// A change of one frame. The packet that it is about begins behind so many bytes, of which the Ethernet header is the last.
type Change = fn(&mut Meta, &mut Vec<u8>, usize);
type Odd = (&'static str, Change);

/// Corrects the sum of the IPv4 header at `l3`, if it is one.
fn resum(bytes: &mut [u8], l3: usize) {
    if bytes[l3] >> 4 == 4 {
        let end = l3 + usize::from(bytes[l3] & 15) * 4;
        bytes[l3 + 10..l3 + 12].fill(0);
        let sum = checksum::sum(&bytes[l3..end]).checksum();
        bytes[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Corrects a tunnel's own checksum after what is inside was changed.
fn resum_outer(bytes: &mut [u8]) {
    let v4 = bytes[14] >> 4 == 4;
    let (l4, ends) = if v4 { (34, 26..34) } else { (54, 22..54) };
    let len = (bytes.len() - l4) as u32;
    let proto = checksum::Sum::of(u16::from(Proto::UDP.0)) + checksum::Sum::of_u32(len);
    let pseudo = checksum::sum(&bytes[ends]) + proto;
    bytes[l4 + 6..l4 + 8].copy_from_slice(&pseudo.folded().to_be_bytes());
    assert!(checksum::complete(bytes, l4 as u16, 6));
}

fn l4(bytes: &[u8], l3: usize) -> usize {
    l3 + if bytes[l3] >> 4 == 4 { 20 } else { 40 }
}

fn set_ttl(bytes: &mut [u8], l3: usize, ttl: u8) {
    bytes[l3 + if bytes[l3] >> 4 == 4 { 8 } else { 7 }] = ttl;
    resum(bytes, l3);
}

/// Of packets of both families, wherever they come from.
const ANY: &[Odd] = &[
    ("several segments", |meta, _, _| {
        meta.gso = Some(Gso {
            kind: GsoKind::Udp,
            size: 8,
            ecn: false,
        });
    }),
    ("another version", |_, bytes, l3| bytes[l3] ^= 0x20),
    ("another Ethernet type", |_, bytes, l3| bytes[l3 - 1] ^= 1),
    ("the last hop", |_, bytes, l3| set_ttl(bytes, l3, 1)),
    ("no hop", |_, bytes, l3| set_ttl(bytes, l3, 0)),
    ("a longer packet than its frame", |_, bytes, l3| {
        let at = l3 + if bytes[l3] >> 4 == 4 { 2 } else { 4 };
        bytes[at] = 1;
        resum(bytes, l3);
    }),
    ("a longer datagram than its packet", |_, bytes, l3| {
        let at = l4(bytes, l3) + 5;
        bytes[at] += 1;
    }),
    ("a shorter datagram than its header", |_, bytes, l3| {
        let at = l4(bytes, l3) + 4;
        bytes[at..at + 2].copy_from_slice(&[0, 7]);
    }),
    ("cut in its header", |_, bytes, l3| bytes.truncate(l3 + 27)),
];

const ANY_V4: &[Odd] = &[
    ("options", |_, bytes, l3| {
        bytes[l3] = 0x46;
        bytes[l3 + 3] += 4;
        bytes.splice(l3 + 20..l3 + 20, [1; 4]);
        resum(bytes, l3);
    }),
    ("a first fragment", |_, bytes, l3| {
        bytes[l3 + 6] = 0x20;
        resum(bytes, l3);
    }),
    ("a later fragment", |_, bytes, l3| {
        bytes[l3 + 6..l3 + 8].copy_from_slice(&[0, 9]);
        resum(bytes, l3);
    }),
    ("a wrong sum", |_, bytes, l3| bytes[l3 + 1] ^= 4),
];

const ANY_V6: &[Odd] = &[
    ("an extension", |_, bytes, l3| {
        let next = core::mem::replace(&mut bytes[l3 + 6], 60);
        bytes[l3 + 5] += 8;
        bytes.splice(l3 + 40..l3 + 40, [next, 0, 1, 4, 0, 0, 0, 0]);
    }),
    ("a mapped source", |_, bytes, l3| {
        bytes[l3 + 8..l3 + 20].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
    }),
    ("a mapped destination", |_, bytes, l3| {
        bytes[l3 + 24..l3 + 36].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
    }),
];

/// Of packets that are not in a tunnel.
const BARE: &[Odd] = &[
    ("for all", |_, bytes, _| bytes[..6].fill(255)),
    ("for a group", |_, bytes, _| bytes[0] |= 1),
    ("a sum to be completed in the payload", |meta, bytes, l3| {
        let start = l4(bytes, l3) as u16 + 8;
        meta.checksum = Checksum::Partial { start, offset: 2 };
    }),
    (
        "a sum to be completed in the payload, at its own offset",
        |meta, bytes, l3| {
            let start = l4(bytes, l3) as u16 + 8;
            meta.checksum = Checksum::Partial { start, offset: 6 };
        },
    ),
    ("a sum to be completed in the header", |meta, bytes, l3| {
        let start = l4(bytes, l3) as u16;
        meta.checksum = Checksum::Partial { start, offset: 0 };
    }),
];

const FROM_POD: &[Odd] = &[("another sender", |_, bytes, _| bytes[11] ^= 1)];

const FROM_OUTSIDE: &[Odd] = &[
    ("for another", |_, bytes, _| bytes[5] ^= 1),
    ("for none", |_, bytes, _| bytes[..6].fill(0)),
];

/// Of what is in a tunnel, and of the tunnel itself.
const IN_TUNNEL: &[Odd] = &[
    ("tunnel: for another", |_, bytes, _| bytes[5] ^= 1),
    ("tunnel: for all", |_, bytes, _| bytes[..6].fill(255)),
    ("tunnel: for none", |_, bytes, _| bytes[..6].fill(0)),
    ("inside: for another", |_, bytes, l3| bytes[l3 - 9] ^= 1),
    ("no network", |_, bytes, l3| bytes[l3 - 22] = 0),
    ("another network", |_, bytes, l3| bytes[l3 - 16] ^= 1),
    ("congestion on the way, and a sender that knows", |_, bytes, l3| {
        ecn(bytes, 14, 3);
        ecn(bytes, l3, 2);
    }),
    (
        "congestion on the way, and a sender that does not know",
        |_, bytes, _| ecn(bytes, 14, 3),
    ),
    ("ECT(1) on the way", |_, bytes, l3| {
        ecn(bytes, 14, 1);
        ecn(bytes, l3, 2);
    }),
    ("a tunnel's sum to be completed", |meta, bytes, _| {
        let start = l4(bytes, 14) as u16;
        meta.checksum = Checksum::Partial { start, offset: 6 };
    }),
    ("an unknown peer", |_, bytes, _| {
        let at = if bytes[14] >> 4 == 4 { 29 } else { 37 };
        bytes[at] ^= 0x40;
        resum(bytes, 14);
    }),
    ("another node", |_, bytes, _| {
        let at = if bytes[14] >> 4 == 4 { 33 } else { 53 };
        bytes[at] ^= 0x40;
        resum(bytes, 14);
    }),
    ("another port", |_, bytes, _| {
        let at = l4(bytes, 14) + 3;
        bytes[at] ^= 1;
    }),
    ("a longer tunnel datagram than its packet", |_, bytes, _| {
        let at = l4(bytes, 14) + 5;
        bytes[at] += 1;
    }),
    ("a tunnel datagram without a frame", |_, bytes, _| {
        let at = l4(bytes, 14) + 4;
        bytes[at..at + 2].copy_from_slice(&[0, 29]);
    }),
];

fn ecn(bytes: &mut [u8], l3: usize, ecn: u8) {
    if bytes[l3] >> 4 == 4 {
        bytes[l3 + 1] = ecn;
        resum(bytes, l3);
    } else {
        bytes[l3 + 1] = ecn << 4;
    }
}

/// Where packets come from: who sends, and what else may be odd there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Pod,
    Outside,
    Tunnel,
}

/// In an order in which answers come behind what they answer.
const EVERYWHERE: [(From, bool); 6] = [
    (From::Pod, true),
    (From::Pod, false),
    (From::Outside, true),
    (From::Outside, false),
    (From::Tunnel, true),
    (From::Tunnel, false),
];

/// A packet of a flow that both engines know, and where it lies in its frame.
fn usual(from: From, v4: bool) -> (Meta, Vec<u8>, usize) {
    let ask = Packet::udp((A.addr(v4), 1000), (REMOTE.addr(v4), 80));
    match from {
        From::Pod => (Meta::from_port(A.slot), ask.between(A.mac, GATEWAY_MAC).frame(), 14),
        From::Outside => (
            Meta::from_port(UPLINK),
            Packet::udp((OUTSIDE.addr(v4), 1000), (NODE.addr(v4), NODE_PORT))
                .between(ROUTER_MAC, UPLINK_MAC)
                .frame(),
            14,
        ),
        From::Tunnel => {
            let bytes = wrapped(&ask.reply());
            let outer = if v4 { 50 } else { 70 };
            (Meta::from_port(UPLINK), bytes, outer + 14)
        }
    }
}

/// Engines with and without a fast path, which know the flows.
fn known() -> [Bench; 2] {
    let mut benches = [Some(Processor::detect()), None].map(bench);
    for (from, v4) in EVERYWHERE {
        let (meta, bytes, _) = usual(from, v4);
        for bench in &mut benches {
            assert_eq!(bench.burst(0, &[(meta, &bytes)]).len(), 1, "{from:?}");
        }
    }
    benches
}

/// The general path saw this burst, and did with it what it does in the other engine.
fn compare(benches: &mut [Bench; 2], frames: &[(Meta, &[u8])], what: &str) {
    assert_eq!(left(benches, frames, what), 1, "{what}: not left");
}

/// How many bursts the general path saw of this one, after which both engines have done the same.
fn left(benches: &mut [Bench; 2], frames: &[(Meta, &[u8])], what: &str) -> u64 {
    let before = benches[0].workers[0].engine.general_bursts;
    let [one, other]: [Vec<Sent>; 2] = benches.each_mut().map(|bench| bench.burst(0, frames));
    let claims = |sent: &[Sent]| -> Vec<_> { sent.iter().map(|sent| (sent.meta.checksum, sent.meta.gso)).collect() };
    assert_eq!(claims(&one), claims(&other), "{what}");
    assert_eq!(by_flow(one), by_flow(other), "{what}");
    assert_eq!(books(&benches[0]), books(&benches[1]), "{what}");
    benches[0].workers[0].engine.general_bursts - before
}

#[test]
fn what_is_usual_is_not_left() {
    let mut benches = known();
    for (from, v4) in EVERYWHERE {
        let (mut meta, bytes, _) = usual(from, v4);
        // Of a tunnel packet, what was found right is the sum in front.
        for checksum in [Checksum::Unverified, Checksum::Good] {
            meta.checksum = checksum;
            let what = format!("{from:?} {v4} {checksum:?}");
            assert_eq!(left(&mut benches, &[(meta, &bytes)], &what), 0, "{what}");
        }
    }
}

#[test]
fn whatever_is_unusual_is_left_and_comes_to_the_same() {
    for (from, v4) in EVERYWHERE {
        let family = if v4 { ANY_V4 } else { ANY_V6 };
        let place: &[&[Odd]] = match from {
            From::Pod => &[BARE, FROM_POD],
            From::Outside => &[BARE, FROM_OUTSIDE],
            From::Tunnel => &[IN_TUNNEL],
        };
        let mut benches = known();
        for (what, change) in [ANY, family].iter().chain(place).copied().flatten() {
            let (mut meta, mut bytes, l3) = usual(from, v4);
            change(&mut meta, &mut bytes, l3);
            if from == From::Tunnel {
                resum_outer(&mut bytes);
            }
            compare(&mut benches, &[(meta, &bytes)], &format!("{from:?} {v4} {what}"));
        }
    }
}

/// The same of tunnel packets whose outer headers are odd where the ones of a packet may be.
#[test]
fn whatever_is_unusual_outside_of_a_tunnel_is_left_and_comes_to_the_same() {
    for v4 in [true, false] {
        let mut benches = known();
        for (what, change) in [ANY, if v4 { ANY_V4 } else { ANY_V6 }].iter().copied().flatten() {
            let (mut meta, mut bytes, _) = usual(From::Tunnel, v4);
            // It is the one inside that has hops to go.
            if what.contains("hop") {
                continue;
            }
            change(&mut meta, &mut bytes, 14);
            compare(&mut benches, &[(meta, &bytes)], &format!("tunnel {v4} {what}"));
        }
    }
}

#[test]
fn a_tunnel_with_a_wrong_sum_or_without_one_over_ipv6_is_left() {
    for v4 in [true, false] {
        let mut benches = known();
        let (meta, mut bytes, _) = usual(From::Tunnel, v4);
        let at = l4(&bytes, 14) + 6;
        bytes[at] ^= 1;
        compare(&mut benches, &[(meta, &bytes)], "a wrong sum");
        if !v4 {
            bytes[at..at + 2].fill(0);
            compare(&mut benches, &[(meta, &bytes)], "no sum");
        }
    }
}

#[test]
fn what_moves_a_connection_is_left() {
    for (flags, v4) in [1, 2, 4].into_iter().flat_map(|flags| [(flags, true), (flags, false)]) {
        let tcp = |flags| Packet::tcp((A.addr(v4), 7), (B.addr(v4), 80), flags).between(A.mac, GATEWAY_MAC);
        let mut benches = known();
        for bench in &mut benches {
            bench.pod_sends(A, &tcp(SYN));
            bench.pod_sends(B, &tcp(SYN).reply());
            bench.pod_sends(A, &tcp(ACK));
        }
        let bytes = tcp(ACK).frame();
        assert_eq!(left(&mut benches, &[(Meta::from_port(A.slot), &bytes)], "usual"), 0);
        let bytes = tcp(flags | ACK).frame();
        compare(&mut benches, &[(Meta::from_port(A.slot), &bytes)], "flags");
        for words in [4, 9, 15] {
            let mut bytes = tcp(ACK).frame();
            let at = l4(&bytes, 14) + 12;
            bytes[at] = words << 4;
            compare(&mut benches, &[(Meta::from_port(A.slot), &bytes)], "header length");
        }
    }
}

#[test]
fn what_is_too_long_for_its_way_is_left() {
    for (v4, to) in [true, false].into_iter().flat_map(|v4| [(v4, B), (v4, REMOTE)]) {
        let mut benches = known();
        let packet = |len| Packet::udp((A.addr(v4), 1000), (to.addr(v4), 80)).with(vec![1; len]);
        for bench in &mut benches {
            bench.pod_sends(A, &packet(9));
            bench.change(|w| w.ports.get_mut(&B.slot.0).unwrap().mtu = 1450);
            bench.pod_sends(A, &packet(9));
        }
        let bytes = packet(1451 - if v4 { 28 } else { 48 })
            .between(A.mac, GATEWAY_MAC)
            .frame();
        compare(&mut benches, &[(Meta::from_port(A.slot), &bytes)], "a byte more");
    }
}

/// Options in front of a tunnel hide whose packet it is, from the fast path alone.
#[test]
fn nothing_passes_a_tunnel_packet_whose_outer_headers_have_options() {
    for v4 in [true, false] {
        let [mut bench, _] = known();
        let (meta, _, _) = usual(From::Tunnel, v4);
        let reply = |n| Packet::udp((REMOTE.addr(v4), 80), (A.addr(v4), 1000)).with(vec![n; 20]);
        let mut first = wrapped(&reply(1));
        let options = if v4 { ANY_V4[0] } else { ANY_V6[0] };
        options.1(&mut Meta::from_port(UPLINK), &mut first, 14);
        let second = wrapped(&reply(2));
        let sent = bench.burst(0, &[(meta, &first), (meta, &second)]);
        let last: Vec<_> = sent.iter().map(|sent| sent.bytes[sent.bytes.len() - 1]).collect();
        assert_eq!(last, [1, 2]);
    }
}
