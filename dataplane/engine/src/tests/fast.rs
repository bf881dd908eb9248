//! The fast path against its slow twin: an engine that has none, over the same packets and changes, sends the same, counts the same, and
//! leaves its connections the same.

use super::bench::{Bench, NO_LIMITS, Sent, Sizes, wrapped};
use super::packet::{ACK, FIN, L4, Packet, RST, SYN};
use super::super_frames::partial;
use super::twin::{Step, change, seen, step};
use super::world::{
    A, B, GATEWAY_MAC, HOST, HOST_MAC, NODE, NODE_PORT, OUTSIDE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, Who,
    World,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sluice_mem::Processor;
use sluice_snapshot::Caps;
use sluice_wire::{Checksum, Gso, GsoKind, Meta, PortSlot};

/// How a packet differs from the usual, if it does.
#[derive(Clone, Debug)]
enum Oddity {
    None,
    /// One of these bits of the frame is another one.
    Flipped(Index, u8),
    /// Ethernet padding, also behind what is inside of a tunnel.
    Padded(usize),
    /// As a sender leaves it that lets others complete sums.
    Partial,
    Meta(Checksum, Option<Gso>),
    /// UDP without a checksum.
    Unsummed,
    Cut(Index),
}

#[derive(Clone, Debug)]
struct Arrival {
    from: Who,
    to: Who,
    v4: bool,
    ports: (u16, u16),
    l4: L4,
    ttl: u8,
    tos: u8,
    len: usize,
    oddity: Oddity,
}

impl Arrival {
    fn frame(&self) -> (Meta, Vec<u8>) {
        let mut packet = Packet::udp(
            (self.from.addr(self.v4), self.ports.0),
            (self.to.addr(self.v4), self.ports.1),
        );
        (packet.l4, packet.ttl, packet.tos, packet.payload) = (self.l4, self.ttl, self.tos, vec![7; self.len]);
        let (port, mut bytes) = match self.from.slot {
            _ if self.from == REMOTE => (UPLINK, wrapped(&packet)),
            _ if self.from == OUTSIDE => (UPLINK, packet.clone().between(ROUTER_MAC, UPLINK_MAC).frame()),
            _ if self.from == NODE => (HOST, packet.clone().between(HOST_MAC, GATEWAY_MAC).frame()),
            slot => (slot, packet.clone().between(self.from.mac, GATEWAY_MAC).frame()),
        };
        let mut meta = Meta::from_port(port);
        let l4 = bytes.len() - self.len - if packet.l4 == L4::Udp { 8 } else { 20 };
        match &self.oddity {
            Oddity::Partial if self.from == A && matches!(self.l4, L4::Udp | L4::Tcp { .. }) => {
                (meta, bytes) = partial(&packet, None);
                meta.ingress = port;
            }
            Oddity::None | Oddity::Partial => {}
            Oddity::Flipped(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << (bit % 8);
            }
            Oddity::Padded(more) => bytes.resize(bytes.len() + more, 0),
            Oddity::Meta(checksum, gso) => (meta.checksum, meta.gso) = (*checksum, *gso),
            Oddity::Unsummed if self.l4 == L4::Udp => bytes[l4 + 6..l4 + 8].fill(0),
            Oddity::Unsummed => {}
            Oddity::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        }
        (meta, bytes)
    }
}

fn oddity() -> impl Strategy<Value = Oddity> {
    let checksum = prop_oneof![
        Just(Checksum::Good),
        select(&[(34, 16), (34, 6), (54, 16), (54, 6), (62, 2)][..])
            .prop_map(|(start, offset)| Checksum::Partial { start, offset }),
    ];
    let gso = (select(&[GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp][..]), 8u16..40).prop_map(|(kind, size)| Gso {
        kind,
        size,
        ecn: false,
    });
    prop_oneof![
        8 => Just(Oddity::None),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, bit)| Oddity::Flipped(at, bit)),
        1 => (1usize..30).prop_map(Oddity::Padded),
        2 => Just(Oddity::Partial),
        1 => (checksum, proptest::option::of(gso)).prop_map(|(checksum, gso)| Oddity::Meta(checksum, gso)),
        1 => Just(Oddity::Unsummed),
        1 => any::<Index>().prop_map(Oddity::Cut),
    ]
}

/// Few flows, so that most packets are of known ones.
fn arrival() -> impl Strategy<Value = Arrival> {
    let ends = select(
        &[
            (A, B),
            (A, REMOTE),
            (A, SERVICE),
            (B, A),
            (REMOTE, A),
            (REMOTE, A),
            (A, OUTSIDE),
            (OUTSIDE, NODE),
            (NODE, A),
            (A, NODE),
        ][..],
    );
    let ports = select(&[(1000, 80), (8080, 1000), (1000, NODE_PORT)][..]);
    let flags = select(&[SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST][..]);
    let l4 = prop_oneof![
        3 => flags.prop_map(|flags| L4::Tcp { flags, seq: 1, ack: 2 }),
        5 => Just(L4::Udp),
        1 => Just(L4::EchoRequest),
    ];
    let ip = (
        select(&[64u8, 64, 64, 64, 2, 1][..]),
        select(&[0u8, 0, 0, 1, 2, 3, 0xb8][..]),
    );
    let len = select(&[0usize, 1, 12, 100, 1440][..]);
    (ends, any::<bool>(), ports, l4, ip, len, oddity()).prop_map(
        |((from, to), v4, ports, l4, (ttl, tos), len, oddity)| Arrival {
            from,
            to,
            v4,
            ports,
            l4,
            ttl,
            tos,
            len,
            oddity,
        },
    )
}

#[derive(Clone, Debug)]
enum Event {
    Burst(Vec<Arrival>),
    Change(Step),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => vec(arrival(), 1..2).prop_map(Event::Burst),
        4 => vec(arrival(), 2..20).prop_map(Event::Burst),
        // A denial is forgotten when something comes that hashes like it, and tables hash differently: `twin` has policies.
        1 => step().prop_filter("no denials", |step| !matches!(step, Step::Policies(_))).prop_map(Event::Change),
    ]
}

/// A node whose known flows go the fast way, as it is compiled for such a processor; without one there is no fast way.
pub(super) fn bench(fast: Option<Processor>) -> Bench {
    let mut world = World::new();
    world.serve(&[B, REMOTE]);
    // Where packets grow, which ones is a matter of what was left; `merging` has that.
    for port in world.ports.values_mut() {
        port.caps = Caps {
            checksum: true,
            ..Caps::default()
        };
    }
    // Caches hash differently: with room for all, none of them forgets what the other one knows.
    let sizes = Sizes {
        connections: 256,
        cache_flows: 1 << 14,
    };
    let mut bench = Bench::sized(world, 1, NO_LIMITS, &sizes);
    let engine = &mut bench.workers[0].engine;
    engine.general_only = fast.is_none();
    engine.processor = fast.unwrap_or(engine.processor);
    bench
}

/// All numbers of the books.
pub(super) fn books(bench: &Bench) -> Vec<(String, u64, u64)> {
    let c = bench.counters();
    let named = [
        ("received", &c.received),
        ("generated", &c.generated),
        ("split", &c.split),
        ("merged", &c.merged),
        ("sent", &c.sent),
        ("to host", &c.to_host),
        ("answered", &c.answered),
        ("pushed", &c.pushed),
        ("pulled", &c.pulled),
    ];
    let named = named.into_iter().map(|(name, v)| (name.to_owned(), v.get()));
    let dropped = c
        .dropped
        .iter()
        .enumerate()
        .map(|(n, v)| (format!("dropped {n}"), v.get()));
    let ports = c.ports.iter().enumerate().take(8).flat_map(|(n, port)| {
        [
            (format!("{n} received"), port.received.get()),
            (format!("{n} sent"), port.sent.get()),
        ]
    });
    let volumes = named
        .chain(dropped)
        .chain(ports)
        .map(|(name, (frames, bytes))| (name, frames, bytes));
    let e = &c.events;
    let events = [
        ("hits", e.cache_hits.get()),
        ("misses", e.cache_misses.get()),
        ("again", e.decided_again.get()),
        ("renewed", e.renewed.get()),
        ("created", e.connections_created.get()),
        ("cut", e.connections_cut.get()),
    ];
    volumes.chain(events.map(|(name, n)| (name.to_owned(), n, 0))).collect()
}

/// Connections with what they know of their packets.
fn connections(bench: &mut Bench) -> Vec<String> {
    let now_ns = bench.now_ns;
    bench.workers[0].engine.publish_usage(now_ns);
    let records = bench.shared.connections.records();
    (0..records.count())
        .filter_map(|n| records.get(n))
        .map(|live| format!("{live:?}"))
        .collect()
}

/// What left, and of that, what left before what: bursts are sent by stages, so only packets of one flow have an order.
pub(super) fn by_flow(sent: Vec<Sent>) -> Vec<(PortSlot, Vec<u8>)> {
    let mut all = seen(sent);
    // Addresses and ports of the innermost headers, which only one flow's packets have in common.
    let flow = |bytes: &[u8]| {
        let inner = if bytes.len() > 92 && bytes[12..14] == [8, 0] && bytes[23] == 17 && bytes[36..38] == [0x21, 0x18] {
            &bytes[50..]
        } else {
            bytes
        };
        let (proto, ends) = if inner[12..14] == [8, 0] {
            (23, 26..38)
        } else {
            (20, 22..58)
        };
        inner.get(ends).map(|ends| [&[inner[proto]], ends].concat())
    };
    all.sort_by_key(|(port, bytes)| (*port, flow(bytes)));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_the_fast_path_does_is_what_the_general_one_does(events in vec(event(), 1..60)) {
        same(Processor::detect(), &events)?;
    }

    /// What is compiled for any processor is of use where ours is not; it must do the same.
    #[test]
    fn on_any_processor_it_does_the_same(events in vec(event(), 1..60)) {
        same(Processor::ANY, &events)?;
    }
}

fn same(processor: Processor, events: &[Event]) -> Result<(), TestCaseError> {
    let (mut fast, mut general) = (bench(Some(processor)), bench(None));
    for event in events {
        let (one, other) = match event {
            Event::Change(Step::Time(ns)) => (fast.wait(*ns), general.wait(*ns)),
            Event::Change(step) => {
                fast.change(|w| change(w, step));
                general.change(|w| change(w, step));
                continue;
            }
            Event::Burst(arrivals) => {
                let frames: Vec<_> = arrivals.iter().map(Arrival::frame).collect();
                let frames: Vec<_> = frames.iter().map(|(meta, bytes)| (*meta, &bytes[..])).collect();
                fast.now_ns += 10_000_000;
                general.now_ns += 10_000_000;
                (fast.burst(0, &frames), general.burst(0, &frames))
            }
        };
        let (one, other) = (by_flow(one), by_flow(other));
        prop_assert_eq!(one.len(), other.len(), "frames that left");
        for ((port, bytes), (wanted_port, wanted)) in one.iter().zip(&other) {
            let head = |bytes: &[u8]| bytes[..bytes.len().min(100)].to_vec();
            prop_assert_eq!((port, head(bytes)), (wanted_port, head(wanted)));
            prop_assert!(bytes == wanted, "payload");
        }
        for (one, other) in books(&fast).iter().zip(&books(&general)) {
            prop_assert_eq!(one, other);
        }
    }
    for (one, other) in connections(&mut fast).iter().zip(&connections(&mut general)) {
        prop_assert_eq!(one, other);
    }
    Ok(())
}

/// The fast path takes part at all: a known flow's packet never meets the general one, in either direction.
#[test]
fn known_flows_go_the_fast_way() {
    let mut bench = bench(Some(Processor::detect()));
    let out = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 80));
    bench.pod_sends(A, &out);
    bench.tunnel_sends(&out.reply());
    let general = bench.workers[0].engine.general_bursts;
    for _ in 0..3 {
        assert_eq!(bench.pod_sends(A, &out).len(), 1);
        assert_eq!(bench.tunnel_sends(&out.reply()).len(), 1);
    }
    assert_eq!(bench.workers[0].engine.general_bursts, general);
    bench.pod_sends(A, &out.clone().ttl(1));
    assert_eq!(bench.workers[0].engine.general_bursts, general + 1);
}

/// A frame without room for the tunnel's headers is nobody's to send unwrapped.
#[test]
fn what_has_no_room_for_tunnel_headers_is_dropped() {
    let mut bench = bench(Some(Processor::detect()));
    let out = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 80));
    assert_eq!(bench.pod_sends(A, &out).len(), 1);
    let bytes = out.between(A.mac, GATEWAY_MAC).frame();
    let (snapshot, now_ns) = (bench.snapshot.clone(), bench.now_ns);
    let worker = &mut bench.workers[0];
    let mut buf = worker.pools.small.alloc().unwrap();
    assert!(buf.reset(20));
    buf.extend(bytes.len()).unwrap().copy_from_slice(&bytes);
    let meta = Meta::from_port(A.slot);
    let mut rx = crate::Burst::new();
    rx.push(crate::Frame { buf, meta });
    worker
        .engine
        .process(&snapshot, now_ns, &mut worker.pools, &mut rx, &mut worker.out);
    assert!(worker.out.sent.is_empty());
    assert_eq!(bench.dropped(sluice_wire::DropReason::NoHeadroom), 1);
}
