//! Nothing passes that is spoofed. Each test first shows that what it sends does arrive when it comes from where it may:
//! a frame that nobody would take anyway proves nothing.

use crate::clients::{Conversation, once_free, udp_socket, udp_socket_to, uninterrupted};
use crate::cluster::*;
use crate::faults;
use crate::frames::{datagram, mac_at, mac_of, reset};
use crate::raw::{RawPort, expect_drops, raw};
use etherparse::{SlicedPacket, TransportSlice};
use sluice_lab::topology::NodeKind;
use sluice_lab::{Lab, Place, Topology};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Where the test's own servers listen.
const PORT: u16 = 9000;
const TIMES: u64 = 3;
/// What forged datagrams say.
const FORGED: &str = "forged";
/// Before it nothing forged has come.
const LAST: &str = "the last datagram";

/// user on node-a is who others pretend to be; the attacker is on the same node.
fn with_attacker() -> Topology {
    let mut topology = two_nodes();
    add_pod(
        &mut topology,
        r#"{"name": "attacker", "node": "node-a", "addresses": ["10.244.1.66", "fd00:244:1::66"]}"#,
    );
    topology
}

/// A socket that hears what arrives at `place`.
fn listen(place: &Place<'_>, v6: bool) -> UdpSocket {
    let any = if v6 { "[::]" } else { "0.0.0.0" };
    let socket = place
        .within(|| Ok(once_free(|| UdpSocket::bind(format!("{any}:{PORT}")))?))
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends `text` by `send`, and the server hears it before anything else. Where datagrams are doubled on purpose, honest ones
/// may come again before it, and nothing forged.
fn heard(server: &UdpSocket, text: &str, send: impl Fn()) {
    let next = || {
        send();
        let mut buffer = [0; 2048];
        loop {
            let Ok(length) = uninterrupted(|| server.recv(&mut buffer)) else {
                return None;
            };
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said == text || said == FORGED || !faults::everywhere() {
                return Some(said);
            }
        }
    };
    assert_eq!(faults::again(next, Option::is_some).as_deref(), Some(text));
}

fn client(place: &Place<'_>, to: IpAddr) -> UdpSocket {
    place.within(|| Ok(udp_socket_to((to, PORT))?)).unwrap()
}

fn place_address(lab: &Lab, name: &str, v6: bool) -> IpAddr {
    if name == "outside" {
        of(OUTSIDE, v6)
    } else {
        address(lab, name, v6)
    }
}

/// Frames read below the stack that sends them must be complete, or nobody would take them when they are sent again.
fn whole_checksums(place: &Place<'_>) {
    let said = place.run(&["ethtool", "-K", "eth0", "tx", "off"]).unwrap();
    assert!(said.ok(), "{said}");
}

#[test]
fn another_pods_frames_from_the_wrong_port_reach_nobody() {
    in_lab(&with_attacker(), |lab| {
        let (victim, attacker) = (lab.pod("user").unwrap(), lab.pod("attacker").unwrap());
        let node = lab.node("node-a").unwrap();
        whole_checksums(&victim);
        let (own, wrong) = (raw(lab, &victim), raw(lab, &attacker));
        for (v6, to) in FAMILIES
            .into_iter()
            .flat_map(|v6| ["web-1", "web-2", "outside"].map(|to| (v6, to)))
        {
            let place = lab.place(to).unwrap();
            let target = place_address(lab, to, v6);
            let server = listen(&place, v6);
            let flow = client(&victim, target);
            // The second one is let through by the cache.
            let text = format!("the real datagram to {target}");
            for text in ["the first datagram", &text] {
                heard(&server, text, || _ = flow.send(text.as_bytes()).unwrap());
            }
            let real = own.carrying(&text);
            // The frame is good where it belongs.
            heard(&server, &text, || own.send(&real));

            let (gateway, mac) = (mac_at(&real, 0), mac_at(&real, 6));
            let unseen = (address(lab, "user", v6), flow.local_addr().unwrap().port() ^ 1);
            let new = datagram((mac, gateway), unseen, (target, PORT), FORGED);
            for frame in [real, new] {
                let mut own_mac = frame.clone();
                own_mac[6..12].copy_from_slice(&mac_of(&attacker));
                for (frame, reason) in [(&frame, "spoofed_mac"), (&own_mac, "spoofed_source")] {
                    expect_drops(lab, &node, reason, TIMES, || (0..TIMES).for_each(|_| wrong.send(frame)));
                }
            }
            heard(&server, LAST, || _ = flow.send(LAST.as_bytes()).unwrap());
        }
    });
}

#[test]
fn a_pod_cannot_end_anothers_connection() {
    in_lab(&with_attacker(), |lab| {
        let (victim, attacker) = (lab.pod("user").unwrap(), lab.pod("attacker").unwrap());
        let node = lab.node("node-a").unwrap();
        whole_checksums(&victim);
        let (own, wrong) = (raw(lab, &victim), raw(lab, &attacker));
        for (v6, to) in FAMILIES
            .into_iter()
            .flat_map(|v6| [WEB[usize::from(v6)], "web-2"].map(|to| (v6, to)))
        {
            let target = to.parse().unwrap_or_else(|_| address(lab, to, v6));
            let mut talk = Conversation::open(&victim, (target, 80));
            let request = format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n");
            talk.ask(&request, PATIENCE).unwrap();
            let request_frame = own.carrying(&request);
            assert_eq!(mac_at(&request_frame, 6), mac_of(&victim));
            let Some(TransportSlice::Tcp(tcp)) = SlicedPacket::from_ethernet(&request_frame).unwrap().transport else {
                panic!("no TCP")
            };
            let length = tcp.payload().len() as u32;
            let after = tcp.sequence_number().wrapping_add(length);
            let (gateway, mac) = (mac_at(&request_frame, 0), mac_at(&request_frame, 6));
            let from = (address(lab, "user", v6), tcp.source_port());
            let exact = reset((mac, gateway), from, (target, 80), after);
            let own_mac = reset((mac_of(&attacker), gateway), from, (target, 80), after);
            for (frame, reason) in [(&exact, "spoofed_mac"), (&own_mac, "spoofed_source")] {
                expect_drops(lab, &node, reason, TIMES, || (0..TIMES).for_each(|_| wrong.send(frame)));
            }
            talk.ask(&request, PATIENCE).unwrap();
            // The next request may be faster than the reset before it, which is then one of the past: hence again.
            let mut now = after;
            let ended = lab.wait("the reset to work", PATIENCE, || {
                now = now.wrapping_add(length);
                let exact = reset((mac, gateway), from, (target, 80), now);
                own.send(&exact);
                own.next(PATIENCE, |frame| frame == exact).expect("the reset leaves");
                talk.ask(&request, PATIENCE).is_err()
            });
            assert!(ended.is_ok(), "{to}: such a reset ends the connection where it belongs");
        }
    });
}

/// Addresses that no pod has: of the node, of the cluster, of the world, of nobody.
#[test]
fn a_pod_cannot_send_from_addresses_of_the_node_or_of_services() {
    in_lab(&with_attacker(), |lab| {
        let (attacker, node) = (lab.pod("attacker").unwrap(), lab.node("node-a").unwrap());
        whole_checksums(&attacker);
        let port = raw(lab, &attacker);
        for v6 in FAMILIES {
            let (place, target) = (lab.pod("web-2").unwrap(), address(lab, "web-2", v6));
            let server = listen(&place, v6);
            let flow = client(&attacker, target);
            let honest = "an honest datagram";
            heard(&server, honest, || _ = flow.send(honest.as_bytes()).unwrap());
            let real = port.carrying("an honest datagram");
            let macs = (mac_at(&real, 6), mac_at(&real, 0));
            let honest = datagram(macs, (address(lab, "attacker", v6), 7000), (target, PORT), "hand-made");
            heard(&server, "hand-made", || port.send(&honest));
            let base = ["10.244.1.0", "fd00:244:1::"];
            let remote = ["10.244.2.5", "fd00:244:2::5"];
            let world = ["198.51.100.7", "2001:db8:99::7"];
            for forged in [NODE_A, NODE_B, base, remote, WEB, world].map(|pair| of(pair, v6)) {
                let frame = datagram(macs, (forged, 7000), (target, PORT), FORGED);
                expect_drops(lab, &node, "spoofed_source", TIMES, || {
                    (0..TIMES).for_each(|_| port.send(&frame));
                });
            }
            heard(&server, LAST, || _ = flow.send(LAST.as_bytes()).unwrap());
        }
    });
}

/// node-b and node-c are plain Linux, so that the test may send tunnel packets from their addresses.
fn with_two_peers() -> Topology {
    let mut topology = two_nodes();
    topology.nodes[1].kind = NodeKind::Linux;
    let mut third = topology.nodes[1].clone();
    third.name = "node-c".into();
    third.addresses = vec!["192.0.2.13/24".parse().unwrap(), "2001:db8:2::13/64".parse().unwrap()];
    third.pod_cidrs = vec!["10.244.3.0/24".parse().unwrap(), "fd00:244:3::/64".parse().unwrap()];
    topology.nodes.push(third);
    topology
}

/// What a tunnel packet carries: VXLAN header and inner frame.
fn tunnelled(frame: &[u8]) -> Vec<u8> {
    match SlicedPacket::from_ethernet(frame).unwrap().transport {
        Some(TransportSlice::Udp(udp)) => udp.payload().to_vec(),
        other => panic!("no tunnel packet: {other:?}"),
    }
}

/// Sends a payload to a node's tunnel port in a packet of `place`'s own address.
fn to_tunnel(place: &Place<'_>, node: IpAddr, payload: &[u8]) {
    let send = || Ok(udp_socket(node.is_ipv6())?.send_to(payload, SocketAddr::new(node, 8472))?);
    assert_eq!(place.within(send).unwrap(), payload.len());
}

#[test]
fn tunnel_packets_come_from_nodes_and_carry_their_own_pods_addresses_only() {
    in_lab(&with_two_peers(), |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let (owner, peer) = (lab.place("node-b").unwrap(), lab.place("node-c").unwrap());
        let outside = lab.place("outside").unwrap();
        let wire = RawPort::open(lab, &lab.place("net").unwrap(), "n1");
        for v6 in FAMILIES {
            let server = listen(&user, v6);
            let flow = client(&lab.pod("web-2").unwrap(), address(lab, "user", v6));
            let text = format!("the real datagram, {v6}");
            for text in ["the first datagram", &text] {
                heard(&server, text, || _ = flow.send(text.as_bytes()).unwrap());
            }
            let real = tunnelled(&wire.carrying(&text));
            // The packet is good from its own node.
            heard(&server, &text, || to_tunnel(&owner, of(NODE_A, v6), &real));

            let here = of(NODE_A, v6);
            let repeat = |place: &Place<'_>, payload: &[u8]| (0..TIMES).for_each(|_| to_tunnel(place, here, payload));
            // The header in front, then the inner frame as the peer would send it.
            let macs = (mac_at(&real, 14), mac_at(&real, 8));
            let inner = |src: IpAddr| {
                let frame = datagram(macs, (src, 7000), (address(lab, "user", v6), PORT), FORGED);
                [&real[..8], &frame].concat()
            };
            let pod_of_b = address(lab, "web-2", v6);
            for payload in [&real, &inner(pod_of_b)] {
                expect_drops(lab, &node, "unknown_vtep", TIMES, || repeat(&outside, payload));
                expect_drops(lab, &node, "spoofed_source", TIMES, || repeat(&peer, payload));
            }
            let pod_of_a = address(lab, "web-1", v6);
            for src in [pod_of_a, of(NODE_A, v6), of(NODE_B, v6), of(OUTSIDE, v6), of(WEB, v6)] {
                expect_drops(lab, &node, "spoofed_source", TIMES, || repeat(&owner, &inner(src)));
            }
            // Masqueraded it would come from a node of the cluster, whatever is in it.
            for (to, v6) in FAMILIES.into_iter().flat_map(|v6| [(NODE_A, v6), (NODE_B, v6)]) {
                expect_drops(lab, &node, "tunnel_from_pod", TIMES, || {
                    (0..TIMES).for_each(|_| to_tunnel(&lab.pod("web-1").unwrap(), of(to, v6), &inner(pod_of_b)));
                });
            }
            heard(&server, LAST, || _ = flow.send(LAST.as_bytes()).unwrap());
        }
    });
}
