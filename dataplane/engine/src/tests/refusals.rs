//! What may not go on, and what its sender is told.

use super::bench::{Bench, expect_at_host, expect_at_pod, expect_in_tunnel};
use super::packet::{ACK, FIN, L4, Packet, RST, SYN};
use super::world::{
    A, B, BASE, GATEWAY_MAC, NODE, NODE_PORT, OUR_VTEP, OUTSIDE, PEER_VTEP, REMOTE, SERVICE, World, prefix,
};
use sluice_wire::{Addr, DropReason};

/// The error that A gets about `packet`.
fn error(v4: bool, (kind, code): (u8, u8), rest: [u8; 4], packet: &Packet) -> Packet {
    let original = packet.clone().between(A.mac, GATEWAY_MAC).frame();
    let most = if v4 { 576 - 28 } else { 1280 - 48 };
    let quoted = &original[14..];
    let mut error = Packet::icmp(
        BASE.addr(v4),
        A.addr(v4),
        kind,
        code,
        rest,
        &quoted[..quoted.len().min(most)],
    );
    (error.id, error.tos) = (0, if v4 { 0xc0 } else { 0 });
    error
}

fn reset(packet: &Packet) -> Packet {
    let L4::Tcp { seq, .. } = packet.l4 else {
        panic!("no TCP")
    };
    let mut reset = Packet::tcp(packet.dst, packet.src, RST | ACK).with(Vec::new());
    reset.l4 = L4::Tcp {
        flags: RST | ACK,
        seq: 0,
        ack: seq + 1 + packet.payload.len() as u32,
    };
    reset.id = 0;
    reset
}

/// A reset as sent has no window.
fn expect_reset(sent: &[super::bench::Sent], want: &Packet) {
    let mut want = want.frame();
    let tcp = want.len() - 20;
    let check = u16::from_be_bytes([want[tcp + 16], want[tcp + 17]]);
    want[tcp + 14..tcp + 16].fill(0);
    // Taking 512 out of the sum puts it back on the complement.
    let (sum, carry) = check.overflowing_add(512);
    want[tcp + 16..tcp + 18].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].bytes, want);
}

#[test]
fn a_service_without_endpoints_refuses() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[]);
        let mut bench = Bench::with(world, 1);
        let syn = Packet::tcp((A.addr(v4), 1000), (SERVICE.addr(v4), 80), SYN);
        let want = reset(&syn).between(GATEWAY_MAC, A.mac);
        expect_reset(&bench.pod_sends(A, &syn), &want);
        let datagram = Packet::udp(syn.src, syn.dst);
        let unreachable = if v4 { (3, 3) } else { (1, 4) };
        expect_at_pod(
            &bench.pod_sends(A, &datagram),
            A,
            error(v4, unreachable, [0; 4], &datagram),
        );
        assert_eq!(bench.dropped(DropReason::NoEndpoints), 2);

        let outside = Packet::tcp((OUTSIDE.addr(v4), 1000), (NODE.addr(v4), NODE_PORT), SYN);
        let want = reset(&outside).between(super::world::UPLINK_MAC, super::world::ROUTER_MAC);
        expect_reset(&bench.outside_sends(&outside), &want);
    }
}

#[test]
fn what_is_too_big_is_told_the_size_that_passes() {
    for v4 in [true, false] {
        let headers = if v4 { 28 } else { 48 };
        let mtu = if v4 { 1450u16 } else { 1430 };
        let fits = Packet::udp((A.addr(v4), 1000), (REMOTE.addr(v4), 2000)).with(vec![7; usize::from(mtu) - headers]);
        let mut bench = Bench::new();
        // Both in the slow path and as a hit.
        for _ in 0..2 {
            expect_in_tunnel(&bench.pod_sends(A, &fits), fits.clone().hop());
            let more = fits.clone().with(vec![7; usize::from(mtu) - headers + 1]);
            let code = if v4 { (3, 4) } else { (2, 0) };
            let [high, low] = mtu.to_be_bytes();
            expect_at_pod(&bench.pod_sends(A, &more), A, error(v4, code, [0, 0, high, low], &more));
        }
        assert_eq!(bench.dropped(DropReason::TooBig), 2);
    }
}

#[test]
fn hops_run_out() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        for dst in [B, REMOTE, OUTSIDE] {
            for ttl in [0, 1] {
                let packet = Packet::udp((A.addr(v4), 1000), (dst.addr(v4), 2000)).ttl(ttl);
                let code = if v4 { (11, 0) } else { (3, 0) };
                expect_at_pod(&bench.pod_sends(A, &packet), A, error(v4, code, [0; 4], &packet));
            }
        }
        let packet = Packet::udp((A.addr(v4), 1000), (B.addr(v4), 2000)).ttl(2);
        expect_at_pod(&bench.pod_sends(A, &packet), B, packet.clone().hop());
    }
}

/// What traceroute sees: this node, then the other one, and on a way through a service, too. What ends here begins nothing.
#[test]
fn each_hop_says_its_name() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[REMOTE]);
        let mut bench = Bench::with(world, 1);
        let code = if v4 { (11, 0) } else { (3, 0) };
        for to in [
            (REMOTE.addr(v4), 33434),
            (SERVICE.addr(v4), 80),
            (OUTSIDE.addr(v4), 33434),
        ] {
            for probe in [
                Packet::udp((A.addr(v4), 1000), to).ttl(1),
                Packet::tcp((A.addr(v4), 1000), to, SYN).ttl(1),
                Packet::tcp((A.addr(v4), 1000), to, RST | ACK).ttl(1),
            ] {
                expect_at_pod(&bench.pod_sends(A, &probe), A, error(v4, code, [0; 4], &probe));
                assert_eq!(bench.shared.connections.len(), 0, "{probe:?}");
            }
        }
        // Of a connection that there is already, too: its state waits for packets that get on.
        let data = Packet::tcp((A.addr(v4), 1000), (REMOTE.addr(v4), 80), ACK);
        bench.pod_sends(A, &data);
        bench.tunnel_sends(&data.reply());
        for flags in [ACK, RST, ACK | FIN] {
            let probe = Packet::tcp(data.src, data.dst, flags).ttl(1);
            expect_at_pod(&bench.pod_sends(A, &probe), A, error(v4, code, [0; 4], &probe));
            let rows = bench.shared.connections.rows(0, 9);
            assert_eq!(
                (rows.len(), rows[0].state),
                (1, sluice_lb::ConnState::Established),
                "{flags}"
            );
        }
        // What arrives with its last hop is told by the node where it arrives, through the tunnel.
        let last = Packet::udp((REMOTE.addr(v4), 1000), (A.addr(v4), 33434)).ttl(1);
        let sent = bench.tunnel_sends(&last);
        let family = usize::from(!v4);
        let quoted = &last.between(PEER_VTEP[family], OUR_VTEP[family]).frame()[14..];
        let mut told = Packet::icmp(BASE.addr(v4), REMOTE.addr(v4), code.0, code.1, [0; 4], quoted);
        (told.id, told.tos) = (0, if v4 { 0xc0 } else { 0 });
        expect_in_tunnel(&sent, told);
        assert_eq!(bench.shared.connections.len(), 1);
        // The node itself is the end of the way, not a hop of it.
        let here = Packet::udp((A.addr(v4), 1000), (NODE.addr(v4), 33434)).ttl(1);
        expect_at_host(&bench.pod_sends(A, &here), here);
    }
}

/// The other way round: what the other node says of a probe, in the name that the pod knows the destination by.
#[test]
fn the_other_nodes_word_reaches_the_pod() {
    for v4 in [true, false] {
        let mut world = World::new();
        world.serve(&[REMOTE]);
        let mut bench = Bench::with(world, 1);
        let code = if v4 { (11, 0) } else { (3, 0) };
        let other_base = if v4 {
            Addr::v4([10, 244, 2, 0])
        } else {
            std::net::Ipv6Addr::from([0xfd00, 0x244, 0, 2, 0, 0, 0, 0]).into()
        };
        for to in [(REMOTE.addr(v4), 8080), (SERVICE.addr(v4), 80)] {
            let probe = Packet::tcp((A.addr(v4), 1000), to, SYN).ttl(2);
            assert_eq!(bench.pod_sends(A, &probe).len(), 1);
            let seen = probe.clone().to((REMOTE.addr(v4), 8080)).hop();
            let said = Packet::icmp(other_base, A.addr(v4), code.0, code.1, [0; 4], &seen.frame()[14..]);
            let want = Packet::icmp(
                other_base,
                A.addr(v4),
                code.0,
                code.1,
                [0; 4],
                &probe.clone().hop().frame()[14..],
            );
            expect_at_pod(&bench.tunnel_sends(&said), A, want.hop());
            let end = bench.shared.connections.lookup(&probe.tuple()).unwrap().0;
            bench.shared.connections.remove(end);
        }
    }
}

#[test]
fn nobody_there_is_told() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1000), (Addr::v4([10, 244, 1, 99]), 2000));
    expect_at_pod(&bench.pod_sends(A, &packet), A, error(true, (3, 1), [0; 4], &packet));
    bench.change(|w| _ = w.routes.remove(&prefix("0.0.0.0/0")));
    let packet = Packet::udp((A.addr(true), 1000), (OUTSIDE.addr(true), 2000));
    expect_at_pod(&bench.pod_sends(A, &packet), A, error(true, (3, 0), [0; 4], &packet));
}

#[test]
fn errors_and_resets_are_limited() {
    let mut bench = Bench::new();
    let packet = Packet::udp((A.addr(true), 1000), (Addr::v4([10, 244, 1, 99]), 2000));
    let answers = (0..200).map(|_| bench.pod_sends(A, &packet).len()).sum::<usize>();
    assert_eq!(answers, 128);
    bench.now_ns += super::bench::SECOND;
    assert_eq!(bench.pod_sends(A, &packet).len(), 1);
    assert_eq!(bench.dropped(DropReason::NoPod), 201);
}

#[test]
fn what_is_not_forwarded_at_all() {
    let mut bench = Bench::new();
    let src = (A.addr(true), 1000);
    for (dst, reason) in [
        (Addr::v4([224, 0, 0, 1]), DropReason::Multicast),
        (Addr::v4([255; 4]), DropReason::Broadcast),
        (Addr::v4([169, 254, 1, 1]), DropReason::LinkLocal),
        (Addr::v4([127, 0, 0, 1]), DropReason::Martian),
    ] {
        let frame = Packet::udp(src, (dst, 5)).between(A.mac, GATEWAY_MAC).frame();
        bench.refused(A.slot, &frame, reason);
    }
    let from_group = Packet::udp((Addr::v4([224, 0, 0, 9]), 5), (NODE.addr(true), NODE_PORT));
    let frame = from_group
        .between(super::world::ROUTER_MAC, super::world::UPLINK_MAC)
        .frame();
    bench.refused(super::world::UPLINK, &frame, DropReason::SpoofedSource);
    bench.refused(sluice_wire::PortSlot(77), &frame, DropReason::PortGone);
    bench.change(|w| w.ports.clear());
    bench.refused(A.slot, &frame, DropReason::NoConfiguration);
}
