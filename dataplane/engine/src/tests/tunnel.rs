//! Traffic with the other node, over both underlays.

use super::bench::{Bench, coming, expect_at_pod, expect_in_tunnel, wrapped};
use super::packet::{Packet, SYN};
use super::world::{A, B, OTHER_NODE, OUR_VTEP, OUTSIDE, PEER_VTEP, REMOTE, UPLINK};
use sluice_wire::{Addr, DropReason, MacAddr};

#[test]
fn packets_are_wrapped_and_replies_unwrapped() {
    for v4 in [true, false] {
        for packet in [
            Packet::tcp((A.addr(v4), 1000), (REMOTE.addr(v4), 2000), SYN),
            Packet::udp((A.addr(v4), 1000), (REMOTE.addr(v4), 2000)),
            Packet::ping(A.addr(v4), REMOTE.addr(v4), 5),
        ] {
            let mut bench = Bench::new();
            for _ in 0..3 {
                expect_in_tunnel(&bench.pod_sends(A, &packet), packet.clone().hop());
                let reply = packet.reply();
                expect_at_pod(&bench.tunnel_sends(&reply), A, reply.hop());
            }
        }
    }
}

#[test]
fn congestion_marks_travel_both_ways() {
    let mut bench = Bench::new();
    let mut packet = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 2000));
    packet.tos = 0xb8 | 2;
    expect_in_tunnel(&bench.pod_sends(A, &packet), packet.clone().hop());

    let mut reply = packet.reply();
    let mut outer = coming(true);
    outer.outer.tos = 3;
    let inner = reply.clone().between(PEER_VTEP[0], OUR_VTEP[0]).frame();
    let sent = bench.send(UPLINK, &outer.around(&inner));
    reply.tos |= 3;
    expect_at_pod(&sent, A, reply.hop());
}

/// A tunnel packet that would be let in, changed in one way.
#[test]
fn what_is_wrong_with_a_tunnel_packet_has_a_reason() {
    for v4 in [true, false] {
        let family = usize::from(!v4);
        let packet = Packet::udp((REMOTE.addr(v4), 2000), (A.addr(v4), 1000));
        let inner = packet.clone().between(PEER_VTEP[family], OUR_VTEP[family]).frame();
        let mut bench = Bench::new();
        expect_at_pod(&bench.tunnel_sends(&packet), A, packet.clone().hop());

        let mut stranger = coming(v4);
        stranger.outer.src.0 = OUTSIDE.addr(v4);
        bench.refused(UPLINK, &stranger.around(&inner), DropReason::UnknownVtep);

        let mut network = coming(v4);
        network.vni = 2;
        bench.refused(UPLINK, &network.around(&inner), DropReason::UnknownVni);

        let mut no_flag = coming(v4).around(&inner);
        let flags = no_flag.len() - inner.len() - 8;
        assert_eq!(no_flag[flags], 8);
        no_flag[flags] = 0;
        bench.refused(UPLINK, &no_flag, DropReason::VxlanNoVni);

        let mut sum = coming(v4).around(&inner);
        *sum.last_mut().unwrap() ^= 1;
        bench.refused(UPLINK, &sum, DropReason::OuterChecksum);

        for len in 0..14 {
            bench.refused(UPLINK, &coming(v4).around(&inner[..len]), DropReason::VxlanTruncated);
        }
        for mac in [MacAddr([2, 7, 7, 7, 7, 7]), OUR_VTEP[1 - family], MacAddr::BROADCAST] {
            let other = packet.clone().between(PEER_VTEP[family], mac).frame();
            bench.refused(UPLINK, &coming(v4).around(&other), DropReason::InnerMac);
        }
        // The flow itself is in the cache all the time.
        expect_at_pod(&bench.tunnel_sends(&packet), A, packet.hop());
    }
}

#[test]
fn a_cached_flow_does_not_open_the_tunnel_to_other_sources() {
    let v4 = true;
    let mut bench = Bench::new();
    let honest = Packet::udp((REMOTE.addr(v4), 2000), (A.addr(v4), 1000));
    bench.tunnel_sends(&honest);
    for source in [
        B.addr(v4),
        OUTSIDE.addr(v4),
        Addr::v4([10, 244, 3, 1]),
        OTHER_NODE.addr(v4),
    ] {
        let packet = honest.clone().from((source, 2000));
        bench.refused(UPLINK, &wrapped(&packet), DropReason::SpoofedSource);
    }
    // The same tuple, not through the tunnel.
    let bare = honest
        .between(super::world::ROUTER_MAC, super::world::UPLINK_MAC)
        .frame();
    bench.refused(UPLINK, &bare, DropReason::SpoofedSource);
}

#[test]
fn the_tunnel_leads_to_pods_and_not_through_this_node() {
    let mut bench = Bench::new();
    for to in [OUTSIDE.addr(true), Addr::v4([10, 244, 2, 77])] {
        let packet = Packet::udp((REMOTE.addr(true), 2000), (to, 53));
        bench.refused(UPLINK, &wrapped(&packet), DropReason::Loop);
    }
}

#[test]
fn a_peer_that_lost_a_prefix_may_not_use_it_any_more() {
    let v4 = true;
    let mut bench = Bench::new();
    let packet = Packet::udp((REMOTE.addr(v4), 2000), (A.addr(v4), 1000));
    // No route through the tunnel yet: the peer's own list decides.
    let prefix = super::world::prefix("10.244.2.0/24");
    let next_hop = OTHER_NODE.addr(v4);
    bench.change(|w| _ = w.routes.insert(prefix, sluice_snapshot::Route::Unresolved { next_hop }));
    expect_at_pod(&bench.tunnel_sends(&packet), A, packet.clone().hop());
    assert!(bench.change(|w| w.peers.get_mut(&0).unwrap().prefixes.clear()));
    bench.refused(UPLINK, &wrapped(&packet), DropReason::SpoofedSource);
}

#[test]
fn a_syn_announces_no_more_than_the_tunnel_takes() {
    for v4 in [true, false] {
        let most = if v4 { 1450 - 40 } else { 1430 - 60 };
        for (mss, want) in [(1460, most), (most, most), (500, 500)] {
            let mut bench = Bench::new();
            let mut syn = Packet::tcp((A.addr(v4), 1000), (REMOTE.addr(v4), 80), SYN);
            syn.mss = Some(mss);
            let sent = bench.pod_sends(A, &syn);
            syn.mss = Some(want);
            expect_in_tunnel(&sent, syn.hop());
        }
    }
}

#[test]
fn outer_ipv4_may_be_fragmented_and_each_packet_has_a_new_id() {
    let mut bench = Bench::new();
    let mut packet = Packet::udp((A.addr(true), 1000), (REMOTE.addr(true), 2000));
    let mut ids = std::collections::BTreeSet::new();
    for dont_fragment in [true, false] {
        packet.dont_fragment = dont_fragment;
        for _ in 0..100 {
            let outer = &bench.pod_sends(A, &packet)[0].bytes[14..34];
            assert_eq!(
                outer[6..8],
                [0, 0],
                "neither DF, whatever the inner packet says, nor a fragment"
            );
            ids.insert([outer[4], outer[5]]);
        }
    }
    assert_eq!(ids.len(), 200);
}

#[test]
fn outer_ipv6_has_a_valid_checksum() {
    let mut bench = Bench::new();
    for len in 0..64 {
        let packet = Packet::udp((A.addr(false), 1000), (REMOTE.addr(false), 2000)).with(vec![len; len.into()]);
        for _ in 0..2 {
            let sent = bench.pod_sends(A, &packet);
            let Ok(sluice_wire::Packet::Ip(outer)) = sluice_wire::parse(&sent[0].bytes) else {
                panic!("no IP packet");
            };
            assert!(outer.v6 && sent[0].bytes[60..62] != [0, 0]);
            assert!(sluice_wire::checksum::verify_transport(&sent[0].bytes, &outer));
        }
    }
}
