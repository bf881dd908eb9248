//! A packet in fragments has the fate that it would have had whole: the same way, the same rewriting, the same refusal.

use super::bench::{Bench, SECOND, Sent, expect_at_pod, in_tunnel, wrapped};
use super::packet::{Packet, SYN};
use super::pieces::{cut, join};
use super::world::{
    A, B, GATEWAY_MAC, NODE, NODE_PORT, OUR_VTEP, OUTSIDE, PEER_VTEP, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC,
    Who, World, egress,
};
use proptest::prelude::*;
use sluice_wire::{DropReason, Meta, PortSlot};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Pod(Who),
    Tunnel,
    Outside,
}

impl From {
    fn port(self) -> PortSlot {
        match self {
            From::Pod(who) => who.slot,
            From::Tunnel | From::Outside => UPLINK,
        }
    }

    /// The IP packet's frame, without a tunnel's headers.
    fn frame(self, packet: &Packet) -> Vec<u8> {
        let family = usize::from(!packet.is_v4());
        let (src, dst) = match self {
            From::Pod(who) => (who.mac, GATEWAY_MAC),
            From::Tunnel => (PEER_VTEP[family], OUR_VTEP[family]),
            From::Outside => (ROUTER_MAC, UPLINK_MAC),
        };
        packet.clone().between(src, dst).frame()
    }

    /// As it comes in.
    fn wrap(self, v4: bool, frame: &[u8]) -> Vec<u8> {
        match self {
            From::Tunnel => super::bench::coming(v4).around(frame),
            From::Pod(_) | From::Outside => frame.to_vec(),
        }
    }
}

/// What left, outer headers off: who received it, and the frame. Outer checksums have to be right.
fn unwrap(sent: &Sent) -> (From, Vec<u8>) {
    if sent.port != UPLINK {
        let who = if sent.port == A.slot { A } else { B };
        return (From::Pod(who), sent.bytes.clone());
    }
    let Ok(sluice_wire::Packet::Ip(outer)) = sluice_wire::parse(&sent.bytes) else {
        panic!("no IP packet: {sent:?}");
    };
    if outer.tuple.dport != super::world::TUNNEL_PORT {
        return (From::Outside, sent.bytes.clone());
    }
    assert!(sluice_wire::checksum::verify_transport(&sent.bytes, &outer));
    (From::Tunnel, sent.bytes[if outer.v6 { 70 } else { 50 }..].to_vec())
}

fn whole(bench: &mut Bench, from: From, packet: &Packet) -> (From, Vec<u8>) {
    let sent = bench.send(from.port(), &from.wrap(packet.is_v4(), &from.frame(packet)));
    assert_eq!(sent.len(), 1, "{packet:?}: {sent:?}");
    unwrap(&sent[0])
}

/// The packet's fragments of 400 bytes in this order, a burst.
fn sent_in_pieces(bench: &mut Bench, from: From, packet: &Packet, order: &[usize]) -> Vec<Sent> {
    let pieces = cut(&from.frame(packet), 400, 77);
    let frames: Vec<Vec<u8>> = order.iter().map(|i| from.wrap(packet.is_v4(), &pieces[*i])).collect();
    let meta = Meta::from_port(from.port());
    let burst: Vec<(Meta, &[u8])> = frames.iter().map(|f| (meta, f.as_slice())).collect();
    bench.burst(0, &burst)
}

fn in_pieces(bench: &mut Bench, from: From, packet: &Packet, order: &[usize]) -> (From, Vec<u8>) {
    let sent = sent_in_pieces(bench, from, packet, order);
    assert_eq!(sent.len(), order.len(), "{packet:?}");
    let (to, frames): (Vec<From>, Vec<Vec<u8>>) = sent.iter().map(unwrap).unzip();
    assert!(to.iter().all(|t| *t == to[0]));
    (to[0], join(&frames).expect("fragments of one packet"))
}

/// As the receiver of `frame` answers it.
fn answer(packet: &Packet, frame: &[u8]) -> Packet {
    let Ok(sluice_wire::Packet::Ip(p)) = sluice_wire::parse(frame) else {
        panic!("no IP packet");
    };
    let mut seen = packet.clone();
    seen.src = (p.tuple.src, p.tuple.sport);
    seen.dst = (p.tuple.dst, p.tuple.dport);
    seen.reply().with((0..1100u32).map(|i| i as u8).collect())
}

/// A conversation, once in whole packets and once in fragments: what arrives is the same, byte for byte.
fn same_fate(world: impl Fn() -> World, from: From, packet: &Packet, order: &[usize]) {
    let (mut w, mut f) = (Bench::with(world(), 1), Bench::with(world(), 1));
    let mut packet = packet.clone().with((0..1180u32).map(|i| (i * 7) as u8).collect());
    // Identification is what fragments are put together by.
    (packet.id, packet.dont_fragment) = (77, false);
    let mut from = from;
    for turn in 0..4 {
        let (to, frame) = whole(&mut w, from, &packet);
        assert_eq!(
            in_pieces(&mut f, from, &packet, order),
            (to, frame.clone()),
            "turn {turn}"
        );
        packet = answer(&packet, &frame);
        (packet.id, packet.dont_fragment) = (77, false);
        from = to;
    }
    assert_eq!(f.shared.fragments.len(), 0, "a packet that came whole is forgotten");
}

/// Every way a conversation may take, with the world that it needs.
fn conversations(v4: bool) -> Vec<(Vec<Who>, From, Packet)> {
    let service = (SERVICE.addr(v4), 80);
    let node_port = (NODE.addr(v4), NODE_PORT);
    let (pod, outside) = ((A.addr(v4), 1000), (OUTSIDE.addr(v4), 1000));
    let mut all = vec![
        (vec![], From::Pod(A), Packet::udp(pod, (B.addr(v4), 9))),
        (vec![], From::Pod(A), Packet::udp(pod, (REMOTE.addr(v4), 9))),
        (vec![], From::Tunnel, Packet::udp((REMOTE.addr(v4), 9), pod)),
        (vec![], From::Pod(A), Packet::ping(A.addr(v4), REMOTE.addr(v4), 5)),
        (vec![], From::Pod(A), Packet::udp(pod, (OUTSIDE.addr(v4), 53))),
        (vec![], From::Pod(A), Packet::ping(A.addr(v4), OUTSIDE.addr(v4), 5)),
        (vec![], From::Pod(A), Packet::tcp(pod, (OUTSIDE.addr(v4), 53), SYN)),
    ];
    for by in [A, B, REMOTE] {
        all.push((vec![by], From::Pod(A), Packet::udp(pod, service)));
        all.push((vec![by], From::Outside, Packet::udp(outside, node_port)));
        all.push((vec![by], From::Outside, Packet::tcp(outside, node_port, SYN)));
    }
    all
}

fn serving(by: &[Who]) -> World {
    let mut world = World::new();
    if !by.is_empty() {
        world.serve(by);
    }
    world
}

#[test]
fn fragments_in_order_have_the_fate_of_their_packet() {
    for v4 in [true, false] {
        for (by, from, packet) in conversations(v4) {
            same_fate(|| serving(&by), from, &packet, &[0, 1, 2]);
        }
    }
}

#[test]
fn fragments_out_of_order_have_the_fate_of_their_packet() {
    for v4 in [true, false] {
        for (by, from, packet) in conversations(v4) {
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                same_fate(|| serving(&by), from, &packet, &order);
            }
        }
    }
}

/// A UDP packet of three fragments from A to B.
fn to_b(v4: bool) -> Packet {
    let mut packet = Packet::udp((A.addr(v4), 1000), (B.addr(v4), 9)).with(vec![5; 1000]);
    packet.dont_fragment = false;
    packet
}

fn pieces(packet: &Packet) -> Vec<Vec<u8>> {
    cut(&From::Pod(A).frame(packet), 400, 77)
}

#[test]
fn it_does_not_matter_which_worker_sees_a_fragment() {
    for v4 in [true, false] {
        for order in [[0, 1, 2], [2, 1, 0]] {
            let mut bench = Bench::with(World::new(), 2);
            let pieces = pieces(&to_b(v4));
            let mut sent = Vec::new();
            for (turn, i) in order.into_iter().enumerate() {
                sent.extend(bench.burst(turn % 2, &[(Meta::from_port(A.slot), &pieces[i])]));
            }
            let frames: Vec<Vec<u8>> = sent.iter().map(|s| unwrap(s).1).collect();
            assert!(join(&frames).is_some());
        }
    }
}

#[test]
fn what_waits_for_a_first_fragment_in_vain_is_dropped() {
    let mut bench = Bench::new();
    let pieces = pieces(&to_b(true));
    assert_eq!(bench.send(A.slot, &pieces[1]), []);
    bench.wait(SECOND - 1);
    assert_eq!(
        (
            bench.shared.fragments.held().0,
            bench.dropped(DropReason::FragmentNoFirst)
        ),
        (1, 0)
    );
    bench.wait(1);
    assert_eq!(
        (
            bench.shared.fragments.held().0,
            bench.dropped(DropReason::FragmentNoFirst)
        ),
        (0, 1)
    );
    // The first still passes, and so does what follows it, until the packet's time is over.
    assert_eq!(bench.send(A.slot, &pieces[0]).len(), 1);
    bench.wait(28 * SECOND);
    assert_eq!(bench.send(A.slot, &pieces[2]).len(), 1);
    assert_eq!(bench.shared.fragments.len(), 0, "all have come");
    // Without its last fragment a packet is remembered for half a minute.
    bench.send(A.slot, &pieces[0]);
    bench.wait(30 * SECOND - 1);
    assert_eq!(bench.shared.fragments.len(), 1);
    bench.wait(1);
    assert_eq!(bench.shared.fragments.len(), 0);
}

#[test]
fn of_a_packet_whose_fragments_contradict_each_other_nothing_more_passes() {
    for v4 in [true, false] {
        let whole = to_b(v4);
        let good = pieces(&whole);
        // The same identification, cut elsewhere: it overlaps, or says that the packet ends elsewhere.
        let overlapping = cut(&From::Pod(A).frame(&whole), 200, 77).swap_remove(1);
        let shorter = cut(&From::Pod(A).frame(&whole.clone().with(vec![5; 600])), 400, 77).swap_remove(1);
        for bad in [overlapping, shorter] {
            let mut bench = Bench::new();
            assert_eq!(bench.send(A.slot, &good[0]).len(), 1);
            assert_eq!(bench.send(A.slot, &good[2]).len(), 1);
            bench.refused(A.slot, &bad, DropReason::FragmentOverlap);
            bench.refused(A.slot, &good[1], DropReason::FragmentOverlap);
            assert_eq!(bench.shared.fragments.len(), 1);
            bench.wait(30 * SECOND);
            assert_eq!(bench.send(A.slot, &good[0]).len(), 1);
        }
        // Those that wait for their first go, too.
        let mut bench = Bench::new();
        assert_eq!(bench.send(A.slot, &good[1]), []);
        let overlapping = cut(&From::Pod(A).frame(&whole), 600, 77).swap_remove(1);
        assert_eq!(bench.send(A.slot, &overlapping), []);
        assert_eq!(bench.dropped(DropReason::FragmentOverlap), 2);
        bench.refused(A.slot, &good[0], DropReason::FragmentOverlap);
    }
}

#[test]
fn a_repeated_fragment_is_dropped_and_the_packet_lives() {
    let mut bench = Bench::new();
    let pieces = pieces(&to_b(true));
    assert_eq!(bench.send(A.slot, &pieces[0]).len(), 1);
    bench.refused(A.slot, &pieces[0], DropReason::FragmentOverlap);
    assert_eq!(bench.send(A.slot, &pieces[2]).len(), 1);
    bench.refused(A.slot, &pieces[2], DropReason::FragmentOverlap);
    assert_eq!(bench.send(A.slot, &pieces[1]).len(), 1);
    assert_eq!(bench.shared.fragments.len(), 0);
}

#[test]
fn each_fragment_has_to_be_honest() {
    let mut bench = Bench::new();
    let honest = pieces(&to_b(true));
    assert_eq!(bench.send(A.slot, &honest[0]).len(), 1);
    // B may not add to A's packet, neither in A's name nor with its own port.
    let forged = cut(&From::Pod(B).frame(&to_b(true)), 400, 77);
    for piece in &forged {
        bench.refused(B.slot, piece, DropReason::SpoofedSource);
    }
    bench.refused(B.slot, &honest[1], DropReason::SpoofedMac);
    let outside = From::Outside.frame(&to_b(true));
    for piece in cut(&outside, 400, 77) {
        bench.refused(UPLINK, &piece, DropReason::SpoofedSource);
    }
    let foreign = Packet::udp((OUTSIDE.addr(true), 1000), (A.addr(true), 9)).with(vec![5; 1000]);
    for piece in cut(&From::Tunnel.frame(&foreign), 400, 77) {
        let piece = super::bench::coming(true).around(&piece);
        bench.refused(UPLINK, &piece, DropReason::SpoofedSource);
    }
    // And A's own packet goes on.
    assert_eq!(bench.send(A.slot, &honest[1]).len(), 1);
}

#[test]
fn what_is_denied_for_the_first_is_denied_for_all() {
    for order in [[0, 1, 2], [2, 1, 0]] {
        let mut bench = Bench::new();
        bench.change(|w| w.policies = vec![egress("a", vec![])]);
        assert_eq!(sent_in_pieces(&mut bench, From::Pod(A), &to_b(true), &order), []);
        assert_eq!(bench.dropped(DropReason::PolicyEgress), 3);
        assert_eq!(bench.shared.fragments.len(), 0);
    }
    // Also when it is denied in between.
    let mut bench = Bench::new();
    let pieces = pieces(&to_b(true));
    assert_eq!(bench.send(A.slot, &pieces[0]).len(), 1);
    bench.change(|w| w.policies = vec![egress("a", vec![])]);
    bench.refused(A.slot, &pieces[1], DropReason::PolicyEgress);
}

/// The sender is told once, and no rest of the packet burdens the other node.
#[test]
fn what_is_too_big_for_the_first_ends_all() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(false), 1000), (REMOTE.addr(false), 9)).with(vec![5; 2000]);
    let mut sent = Vec::new();
    for piece in cut(&From::Pod(A).frame(&packet), 1400, 77) {
        sent.extend(bench.send(A.slot, &piece));
    }
    assert_eq!((sent.len(), sent[0].port), (1, A.slot), "the error, and nothing else");
    assert_eq!(bench.dropped(DropReason::TooBig), 2);
}

#[test]
fn fragments_wait_with_their_first_for_a_neighbour() {
    let mut world = World::new();
    let route = sluice_snapshot::Route::Unresolved {
        next_hop: OUTSIDE.addr(true),
    };
    let default = super::world::prefix("0.0.0.0/0");
    let resolved = world.routes.insert(default, route).unwrap();
    let mut bench = Bench::with(world, 1);
    let mut packet = Packet::udp((A.addr(true), 1000), (OUTSIDE.addr(true), 53)).with(vec![5; 1000]);
    packet.dont_fragment = false;
    assert_eq!(sent_in_pieces(&mut bench, From::Pod(A), &packet, &[1, 0, 2]), []);
    bench.change(|w| _ = w.routes.insert(default, resolved));
    let frames: Vec<Vec<u8>> = bench.wait(1).iter().map(|s| unwrap(s).1).collect();
    assert!(join(&frames).is_some());
    assert_eq!(bench.shared.fragments.held(), (0, 0));
}

#[test]
fn errors_in_fragments_are_not_translated() {
    let mut bench = Bench::new();
    let error = Packet::icmp(A.addr(true), B.addr(true), 3, 3, [0; 4], &vec![0x45; 1000]);
    for piece in cut(&From::Pod(A).frame(&error), 400, 77) {
        bench.refused(A.slot, &piece, DropReason::FragmentUnsupported);
    }
}

#[test]
fn a_fragment_that_is_the_whole_packet_is_one() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(false), 1000), (B.addr(false), 9));
    let atomic = cut(&From::Pod(A).frame(&packet), 1400, 77);
    assert_eq!(atomic.len(), 1);
    for _ in 0..2 {
        let sent = bench.send(A.slot, &atomic[0]);
        assert_eq!((sent.len(), bench.shared.fragments.len()), (1, 0));
    }
    // And no fragment of another size than it may have.
    let mut odd = pieces(&to_b(false)).swap_remove(1);
    odd.pop();
    super::pieces::fix(&mut odd);
    bench.refused(A.slot, &odd, DropReason::Ipv6Malformed);
}

#[test]
fn nobody_fills_the_table_for_others() {
    let mut bench = Bench::new();
    let mut piece = |port: Who, id: u32, at: usize| {
        let packet = Packet::udp((port.addr(true), 1000), (REMOTE.addr(true), 9)).with(vec![5; 1000]);
        let frame = cut(&From::Pod(port).frame(&packet), 400, id).swap_remove(at);
        bench.send(port.slot, &frame);
        (bench.shared.fragments.len(), bench.shared.fragments.held().0)
    };
    piece(B, 7, 0);
    for id in 0..2000 {
        piece(A, id, 0);
    }
    assert_eq!(piece(A, 2000, 0), (512 + 1, 0));
    for id in 3000..3200 {
        piece(A, id, 1);
    }
    assert_eq!(piece(B, 8, 1), (512 + 2, 64 + 1));
    piece(B, 7, 1);
    assert_eq!(piece(B, 7, 2).0, 512 + 1, "B's packet was there all the time");
    assert_eq!(bench.dropped(DropReason::FragmentTableFull), 200 - 64);
}

proptest! {
    /// Whatever comes, in whatever order: a receiver that puts together what leaves never gets a packet that nobody sent.
    #[test]
    fn no_other_packet_can_be_put_together(
        v4 in any::<bool>(),
        steps in prop::collection::vec((prop::sample::select(vec![200usize, 400, 600, 1000]), 0usize..6, any::<bool>()), 1..24),
    ) {
        let mut bench = Bench::new();
        let packets = [to_b(v4), to_b(v4).with(vec![9; 1000])];
        let mut passed: Vec<Vec<u8>> = Vec::new();
        let mut starts = Vec::new();
        for (size, at, other) in steps {
            let mut pieces = cut(&From::Pod(A).frame(&packets[usize::from(other)]), size, 77);
            let at = at % pieces.len();
            for sent in bench.send(A.slot, &pieces.swap_remove(at)) {
                passed.push(unwrap(&sent).1);
            }
            let done = bench.shared.fragments.len() == 0;
            // What passed since the packet began is without overlaps: `join` fails only where something is missing.
            let joined = join(&passed);
            prop_assert_eq!(joined.is_some(), done && !passed.is_empty());
            if done {
                starts.push(passed.len());
                passed.clear();
            }
        }
    }
}

#[test]
fn each_inner_fragment_is_wrapped_by_itself() {
    let mut bench = Bench::new();
    let mut packet = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 9)).with(vec![5; 1000]);
    (packet.dont_fragment, packet.id) = (false, 77);
    let sent = sent_in_pieces(&mut bench, From::Pod(A), &packet, &[0, 1, 2]);
    let source = |s: &Sent| u16::from_be_bytes([s.bytes[34], s.bytes[35]]);
    let id = |s: &Sent| u16::from_be_bytes([s.bytes[18], s.bytes[19]]);
    assert!(
        sent.iter().all(|s| source(s) == source(&sent[0])),
        "one flow, one way through the underlay"
    );
    assert!(id(&sent[0]) != id(&sent[1]) && id(&sent[1]) != id(&sent[2]));
    // The whole packet has the same source port.
    let whole = bench.pod_sends(A, &packet);
    assert_eq!(
        whole[0].bytes,
        in_tunnel(packet.clone().hop(), &packet.tuple(), &whole[0].bytes)
    );
    assert_eq!(source(&whole[0]), source(&sent[0]));
    let reply = packet.reply();
    expect_at_pod(&bench.send(UPLINK, &wrapped(&reply)), A, reply.hop());
}
