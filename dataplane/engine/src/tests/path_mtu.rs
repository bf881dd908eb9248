//! What routers say about the path of our own tunnel packets: believed where it can be true, told to senders, and forgotten.

use super::bench::{Bench, SECOND, Sent, expect_in_tunnel, wrapped};
use super::packet::{Packet, SYN};
use super::world::{
    A, B, GATEWAY_MAC, NODE, OTHER_NODE, OUTSIDE, REMOTE, ROUTER_MAC, TUNNEL, TUNNEL_PORT, UPLINK, UPLINK_MAC,
};
use sluice_snapshot::{AdjacencyIndex, Link};
use sluice_wire::{Addr, DropReason};

fn router(v4: bool) -> Addr {
    if v4 {
        Addr::v4([198, 51, 100, 9])
    } else {
        Addr::v6([0x20; 16])
    }
}

/// A datagram of this size, IP header included.
fn sized(v4: bool, to: Addr, size: usize) -> Packet {
    let headers = if v4 { 28 } else { 48 };
    Packet::udp((A.addr(v4), 1000), (to, 2000)).with(vec![7; size - headers])
}

/// An error of a router that says that the path takes `mtu`, and quotes a tunnel packet of ours.
fn error(v4: bool, mtu: u16, outer: &[u8]) -> Packet {
    let (kind, code) = if v4 { (3, 4) } else { (2, 0) };
    let [high, low] = mtu.to_be_bytes();
    let quoted = &outer[14..outer.len().min(14 + if v4 { 548 } else { 1232 })];
    Packet::icmp(router(v4), NODE.addr(v4), kind, code, [0, 0, high, low], quoted)
}

fn hear(bench: &mut Bench, error: &Packet) -> u64 {
    assert_eq!(bench.outside_sends(error), []);
    bench.dropped(DropReason::PathMtuNoted)
}

/// The largest packet that still gets through the tunnel, as the sender learns it.
fn told(bench: &mut Bench, v4: bool) -> u16 {
    let sent = bench.pod_sends(A, &sized(v4, REMOTE.addr(v4), 1450));
    assert_eq!(sent.len(), 1);
    if sent[0].port == UPLINK {
        return 1450;
    }
    let at = if v4 { 14 + 20 + 6 } else { 14 + 40 + 6 };
    u16::from_be_bytes([sent[0].bytes[at], sent[0].bytes[at + 1]])
}

fn a_tunnel_packet(bench: &mut Bench, v4: bool) -> Sent {
    bench.pod_sends(A, &sized(v4, REMOTE.addr(v4), 1430)).remove(0)
}

#[test]
fn the_tunnels_path_narrows_for_ten_minutes() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let (usual, overhead) = if v4 { (1450, 50) } else { (1430, 70) };
        assert_eq!(told(&mut bench, v4), usual);
        let outer = a_tunnel_packet(&mut bench, v4);
        assert_eq!(hear(&mut bench, &error(v4, 1400, &outer.bytes)), 1);
        // At its next packet the sender hears of it, and what fits passes.
        let mtu = 1400 - overhead;
        assert_eq!(told(&mut bench, v4), mtu);
        let fits = sized(v4, REMOTE.addr(v4), mtu.into());
        expect_in_tunnel(&bench.pod_sends(A, &fits), fits.hop());
        // No flow was decided again for it, nobody else's way is narrower, and nothing makes it wider before its time.
        assert_eq!(bench.counters().events.decided_again.get(), 0);
        for to in [B, OUTSIDE] {
            assert_ne!(bench.pod_sends(A, &sized(v4, to.addr(v4), 1450))[0].port, A.slot);
        }
        assert_eq!(hear(&mut bench, &error(v4, 1420, &outer.bytes)), 2);
        assert_eq!(told(&mut bench, v4), mtu);
        bench.wait(598 * SECOND);
        assert_eq!(told(&mut bench, v4), mtu);
        bench.wait(2 * SECOND);
        assert_eq!(told(&mut bench, v4), usual);
    }
}

#[test]
fn a_syn_announces_what_the_narrow_path_takes() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let outer = a_tunnel_packet(&mut bench, v4);
        hear(&mut bench, &error(v4, 1400, &outer.bytes));
        let mut syn = Packet::tcp((A.addr(v4), 1001), (REMOTE.addr(v4), 80), SYN);
        syn.mss = Some(1460);
        let sent = bench.pod_sends(A, &syn);
        syn.mss = Some(if v4 { 1400 - 50 - 40 } else { 1400 - 70 - 60 });
        expect_in_tunnel(&sent, syn.hop());
    }
}

#[test]
fn no_path_is_narrower_than_all_paths_are() {
    for (v4, want) in [(true, 552 - 50), (false, 1280)] {
        let mut bench = Bench::new();
        let outer = a_tunnel_packet(&mut bench, v4);
        hear(&mut bench, &error(v4, 68, &outer.bytes));
        assert_eq!(told(&mut bench, v4), want, "no sender of IPv6 goes below 1280");
    }
}

#[test]
fn only_what_can_be_true_is_believed() {
    for v4 in [true, false] {
        let mut bench = Bench::new();
        let outer = a_tunnel_packet(&mut bench, v4).bytes;
        let l4 = if v4 { 34 } else { 54 };
        let changed = |at: usize, bytes: &[u8]| {
            let mut frame = outer.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            frame
        };
        let (src, dst) = if v4 { (26, 30) } else { (22, 38) };
        let stranger = OUTSIDE.addr(v4);
        let octets = if v4 {
            stranger.v4_octets().to_vec()
        } else {
            stranger.octets().to_vec()
        };
        let length = if v4 { 16 } else { 18 };
        let lies = [
            ("another source", changed(src, &octets)),
            ("to no node", changed(dst, &octets)),
            ("a source port that we never use", changed(l4, &[0x80, 0])),
            ("another port", changed(l4 + 2, &[0, 53])),
            ("another network", changed(l4 + 12, &[0, 0, 9])),
            ("a packet that fits", changed(length, &[1, 0])),
            ("nothing", outer[..l4].to_vec()),
        ];
        for (name, frame) in lies {
            let lie = error(v4, 1400, &frame).between(ROUTER_MAC, UPLINK_MAC).frame();
            bench.refused(UPLINK, &lie, DropReason::IcmpUnrelated);
            assert_eq!(told(&mut bench, v4), if v4 { 1450 } else { 1430 }, "{name}");
        }
        let truth = error(v4, 1400, &outer);
        let mut damaged = truth.clone().between(ROUTER_MAC, UPLINK_MAC).frame();
        *damaged.last_mut().unwrap() ^= 1;
        bench.refused(UPLINK, &damaged, DropReason::IcmpUnrelated);
        // Unreachable, or too big without a size.
        let other = Packet {
            l4: super::packet::L4::Icmp {
                kind: if v4 { 3 } else { 1 },
                code: 1,
                rest: [0, 0, 5, 0],
            },
            ..truth.clone()
        };
        bench.refused(
            UPLINK,
            &other.between(ROUTER_MAC, UPLINK_MAC).frame(),
            DropReason::IcmpUnrelated,
        );
        let nothing = error(v4, 0, &outer).between(ROUTER_MAC, UPLINK_MAC).frame();
        bench.refused(UPLINK, &nothing, DropReason::IcmpUnrelated);
        // Nobody in the cluster says it, neither a pod nor through the tunnel.
        let by_pod = truth.clone().from((A.addr(v4), 0)).between(A.mac, GATEWAY_MAC).frame();
        bench.refused(A.slot, &by_pod, DropReason::IcmpUnrelated);
        let tunnelled = wrapped(&truth.clone().from((REMOTE.addr(v4), 0)));
        bench.refused(UPLINK, &tunnelled, DropReason::IcmpUnrelated);
        assert_eq!(told(&mut bench, v4), if v4 { 1450 } else { 1430 });
        assert_eq!(hear(&mut bench, &truth), 1);
    }
}

/// A node goes, and another one takes its place in the table of adjacencies.
#[test]
fn what_was_learnt_is_about_one_peer() {
    let v4 = false;
    let mut bench = Bench::new();
    let outer = a_tunnel_packet(&mut bench, v4).bytes;
    hear(&mut bench, &error(v4, 1400, &outer));
    assert_eq!(told(&mut bench, v4), 1330);
    let AdjacencyIndex(index) = TUNNEL[1];
    bench.change(|w| {
        let adjacency = w.adjacencies.get_mut(&index).unwrap();
        let Link::Tunnel(template) = &mut adjacency.link else {
            panic!("a tunnel")
        };
        let (local, remote) = template.ends();
        assert_eq!((local, remote), (NODE.addr(v4), OTHER_NODE.addr(v4)));
        let tunnel = sluice_vxlan::Tunnel {
            local,
            remote: OUTSIDE.addr(v4),
            outer_src_mac: UPLINK_MAC,
            outer_dst_mac: ROUTER_MAC,
            vni: sluice_wire::Vni::new(1).unwrap(),
            port: TUNNEL_PORT,
            inner_src_mac: UPLINK_MAC,
            inner_dst_mac: ROUTER_MAC,
            checksum_v4: true,
        };
        **template = sluice_vxlan::Template::new(&tunnel).unwrap();
    });
    assert_eq!(told(&mut bench, v4), 1430);
}
