//! Whatever comes in by whichever port: nothing panics, every frame is accounted for, and no forged source gets out.

use super::bench::{Bench, Sent, wrapped};
use super::packet::{L4, Packet};
use super::world::{
    A, B, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, NODE_PORT, OTHER_NODE, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE,
    TUNNEL_PORT, UPLINK, UPLINK_MAC, Who, World, app, ingress,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_wire::{Checksum, Gso, GsoKind, Meta, PortSlot};

const EVERYBODY: [Who; 8] = [A, B, REMOTE, NODE, BASE, OUTSIDE, SERVICE, OTHER_NODE];

fn who() -> impl Strategy<Value = Who> {
    select(&EVERYBODY[..])
}

fn port() -> impl Strategy<Value = u16> {
    select(&[80, 8080, NODE_PORT, 40001, 20001, 1000, TUNNEL_PORT][..])
}

fn l4() -> impl Strategy<Value = L4> {
    let flags = select(&[0x02, 0x10, 0x12, 0x11, 0x04, 0x14, 0x18][..]);
    prop_oneof![
        3 => flags.prop_map(|flags| L4::Tcp { flags, seq: 1, ack: 2 }),
        3 => Just(L4::Udp),
        1 => Just(L4::EchoRequest),
        1 => Just(L4::EchoReply),
        1 => select(&[(3, 4), (3, 3), (11, 0), (2, 0), (1, 4), (135, 0), (13, 0)][..])
            .prop_map(|(kind, code)| L4::Icmp { kind, code, rest: [0, 0, 5, 0] }),
    ]
}

/// A sound packet between any two, which need not be a permitted one.
fn packet() -> impl Strategy<Value = Packet> {
    let ends = (who(), port(), who(), port(), any::<bool>());
    let rest = (l4(), select(&[0u8, 1, 2, 64, 255][..]), 0u8..4, vec(any::<u8>(), 0..64));
    (ends, rest).prop_map(|((src, sport, dst, dport, v4), (l4, ttl, tos, payload))| {
        let mut packet = Packet::udp((src.addr(v4), sport), (dst.addr(v4), dport));
        (packet.l4, packet.ttl, packet.tos, packet.payload) = (l4, ttl, tos, payload);
        packet
    })
}

/// Where a packet comes in, and its bytes there.
fn arrival() -> impl Strategy<Value = (PortSlot, Vec<u8>, Packet)> {
    (packet(), 0..5u8).prop_map(|(packet, by)| {
        let at = |port, src, dst| (port, packet.clone().between(src, dst).frame());
        let (port, bytes) = match by {
            0 => at(A.slot, A.mac, GATEWAY_MAC),
            1 => at(B.slot, B.mac, GATEWAY_MAC),
            2 => at(HOST, HOST_MAC, GATEWAY_MAC),
            3 => at(UPLINK, ROUTER_MAC, UPLINK_MAC),
            _ => (UPLINK, wrapped(&packet)),
        };
        (port, bytes, packet)
    })
}

fn checksum() -> impl Strategy<Value = Checksum> {
    prop_oneof![
        Just(Checksum::Unverified),
        Just(Checksum::Good),
        (0u16..100, 0u16..20).prop_map(|(start, offset)| Checksum::Partial { start, offset }),
        select(&[(34, 16), (34, 6), (54, 16), (54, 6)][..])
            .prop_map(|(start, offset)| Checksum::Partial { start, offset }),
    ]
}

fn gso() -> impl Strategy<Value = Option<Gso>> {
    let kind = select(&[GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp][..]);
    let some = (kind, any::<u16>(), any::<bool>()).prop_map(|(kind, size, ecn)| Some(Gso { kind, size, ecn }));
    prop_oneof![2 => Just(None), 1 => some]
}

fn bench() -> Bench {
    let mut world = World::new();
    world.serve(&[A, B, REMOTE]);
    world.policies = vec![ingress("b", vec![app("a")])];
    Bench::with(world, 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_at_any_port_are_accounted_for(
        frames in vec((0u16..6, vec(any::<u8>(), 0..200), checksum(), gso()), 1..20),
    ) {
        let mut bench = bench();
        for (port, bytes, checksum, gso) in &frames {
            let meta = Meta { checksum: *checksum, gso: *gso, ..Meta::from_port(PortSlot(*port)) };
            bench.burst(0, &[(meta, bytes)]);
            prop_assert_eq!(bench.counters().imbalance(), (0, 0));
        }
        bench.wait(1);
    }

    #[test]
    fn mutated_packets_are_accounted_for(
        frames in vec((arrival(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), any::<prop::sample::Index>(), any::<bool>(), checksum(), gso()), 1..24),
    ) {
        let mut bench = bench();
        let mut burst = Vec::new();
        for ((port, bytes, _), edits, cut, shorten, checksum, gso) in &frames {
            let mut bytes = bytes.clone();
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] ^= value;
            }
            if *shorten {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            burst.push((Meta { checksum: *checksum, gso: *gso, ..Meta::from_port(*port) }, bytes));
        }
        // One by one, and then all at once, when some are known.
        for (meta, bytes) in &burst {
            bench.burst(0, &[(*meta, bytes)]);
            prop_assert_eq!(bench.counters().imbalance(), (0, 0));
        }
        let all: Vec<_> = burst.iter().map(|(meta, bytes)| (*meta, &bytes[..])).collect();
        bench.burst(0, &all);
        prop_assert_eq!(bench.counters().imbalance(), (0, 0));
    }

    /// After any traffic, honest or not, a packet leaves only if its source belongs where it came in.
    #[test]
    fn a_spoofed_source_never_gets_out(frames in vec(arrival(), 1..24)) {
        let mut bench = bench();
        for (port, bytes, packet) in &frames {
            for _ in 0..2 {
                let sent = bench.send(*port, bytes);
                let is = |who: Who| packet.src.0 == who.addr(packet.is_v4());
                let stranger = is(OUTSIDE) || is(SERVICE) || is(OTHER_NODE);
                let tunnel = bytes.len() > packet.frame().len();
                let honest = match *port {
                    p if p == A.slot => is(A),
                    p if p == B.slot => is(B),
                    HOST => is(NODE) || is(BASE) || stranger,
                    _ if tunnel => is(REMOTE),
                    _ => stranger,
                };
                // A solicitation is answered to who asked, and goes nowhere else.
                let answer = |s: &Sent| s.port == *port && matches!(packet.l4, L4::Icmp { kind: 135, .. });
                prop_assert!(honest || sent.iter().all(answer), "{packet:?} {sent:?}");
            }
        }
    }
}
