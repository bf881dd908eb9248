//! After the records are lost an endpoint may speak first: its client hears it in the name that it connected to, or not at all.

use super::bench::{Bench, Sent, expect_at_pod, expect_in_tunnel};
use super::packet::{ACK, End, FIN, L4, Packet, RST, SYN};
use super::world::{A, B, BASE, HOST, NODE, OTHER_NODE, REMOTE, ROUTER_MAC, SERVICE, UPLINK, UPLINK_MAC, Who, World};
use proptest::prelude::*;
use sluice_wire::{DropReason, tcp_flags};

fn serving(by: &[Who]) -> Bench {
    let mut world = World::new();
    world.serve(by);
    Bench::with(world, 1)
}

/// What the endpoint says, in a connection that it has.
fn data(from: End, to: End) -> Packet {
    Packet::tcp(from, to, ACK)
}

fn say(bench: &mut Bench, who: Who, packet: &Packet) -> Vec<Sent> {
    if who == REMOTE {
        bench.tunnel_sends(packet)
    } else {
        bench.pod_sends(who, packet)
    }
}

fn parsed(sent: &Sent) -> sluice_wire::Parsed {
    match sluice_wire::parse(&sent.bytes) {
        Ok(sluice_wire::Packet::Ip(parsed)) => parsed,
        other => panic!("no IP packet: {other:?}"),
    }
}

/// Names in which somebody was asked, by empty segments with ACK.
fn asked(sent: &[Sent]) -> Vec<End> {
    let name = |sent: &Sent| {
        let p = parsed(sent);
        assert_eq!(
            (p.tcp_flags, p.end),
            (tcp_flags::ACK, u32::from(p.payload)),
            "a question says nothing"
        );
        (p.tuple.src, p.tuple.sport)
    };
    sent.iter().map(name).collect()
}

fn reset(from: End, to: End) -> Packet {
    let (seq, ack) = (900, 0);
    Packet {
        l4: L4::Tcp { flags: RST, seq, ack },
        payload: Vec::new(),
        ..Packet::tcp(from, to, RST)
    }
}

#[test]
fn the_client_is_asked_and_its_answer_brings_the_connection_back() {
    for v4 in [true, false] {
        for endpoint in [B, REMOTE] {
            for through_service in [true, false] {
                let mut bench = serving(&[endpoint]);
                let (server, service) = ((endpoint.addr(v4), 8080), (SERVICE.addr(v4), 80));
                let client = (A.addr(v4), 1000);
                let told = data(server, client);
                let sent = say(&mut bench, endpoint, &told);
                assert!(sent.iter().all(|s| s.port == A.slot));
                assert_eq!(asked(&sent), [server, service]);
                assert_eq!(bench.dropped(DropReason::EndpointFirst), 1);

                let (name, other) = if through_service {
                    (service, server)
                } else {
                    (server, service)
                };
                assert_eq!(
                    bench.pod_sends(A, &reset(client, other)),
                    [],
                    "nobody is reset because we asked"
                );
                assert_eq!(bench.pod_sends(A, &Packet::tcp(client, name, ACK)).len(), 1);
                expect_at_pod(&say(&mut bench, endpoint, &told), A, told.from(name).hop());
            }
        }
    }
}

#[test]
fn the_node_is_asked_as_a_client_too() {
    let mut bench = serving(&[B]);
    let client = (BASE.addr(true), 20001);
    let sent = bench.pod_sends(B, &data((B.addr(true), 8080), client));
    assert!(sent.iter().all(|s| s.port == HOST));
    assert_eq!(asked(&sent), [(B.addr(true), 8080), (SERVICE.addr(true), 80)]);
}

#[test]
fn the_node_is_not_asked_about_connections_that_were_masqueraded() {
    // The endpoint is the host of another node; the kernel would answer it past us.
    let mut bench = serving(&[OTHER_NODE]);
    let told = data((OTHER_NODE.addr(true), 8080), (NODE.addr(true), 40001));
    let frame = told.between(ROUTER_MAC, UPLINK_MAC).frame();
    bench.refused(UPLINK, &frame, DropReason::NoConnection);
}

#[test]
fn what_cannot_have_been_translated_here_is_taken_up_as_it_is() {
    let v4 = true;
    let mut bench = serving(&[B, REMOTE]);
    // A pod elsewhere: its own node translates.
    let told = data((B.addr(v4), 8080), (REMOTE.addr(v4), 1000));
    expect_in_tunnel(&bench.pod_sends(B, &told), told.clone().hop());
    // No endpoint's port; one that opens; one that speaks to an endpoint, as clients do.
    for (n, (sport, dport, flags)) in [(9090, 1000, ACK), (8080, 1001, SYN), (1002, 8080, FIN | ACK)]
        .into_iter()
        .enumerate()
    {
        let (from, to) = if dport == 8080 { (A, B) } else { (B, A) };
        let packet = Packet::tcp((from.addr(v4), sport), (to.addr(v4), dport), flags);
        expect_at_pod(&bench.pod_sends(from, &packet), to, packet.clone().hop());
        assert_eq!(bench.shared.connections.len(), n + 2);
    }
    // Datagrams come one by one: who sends them says with each whom he means.
    let datagram = Packet::udp((B.addr(v4), 8080), (A.addr(v4), 1003));
    expect_at_pod(&bench.pod_sends(B, &datagram), A, datagram.clone().hop());
    assert_eq!(bench.dropped(DropReason::EndpointFirst), 0);
}

#[test]
fn the_handshake_and_resets_of_an_endpoint_ask_nobody_and_reach_nobody() {
    let mut bench = serving(&[B]);
    for flags in [SYN | ACK, RST | ACK] {
        let packet = Packet::tcp((B.addr(true), 8080), (A.addr(true), 1000), flags);
        assert_eq!(bench.pod_sends(B, &packet), []);
    }
    assert_eq!(bench.dropped(DropReason::EndpointFirst), 2);
    assert!(bench.shared.connections.is_empty());
}

#[test]
fn who_may_not_connect_is_not_asked() {
    let mut bench = serving(&[B]);
    bench.change(|w| w.policies.push(super::world::egress("a", Vec::new())));
    assert_eq!(
        bench.pod_sends(B, &data((B.addr(true), 8080), (A.addr(true), 1000))),
        []
    );
    assert_eq!(bench.dropped(DropReason::EndpointFirst), 1);
}

#[test]
fn questions_are_limited_as_all_that_we_say_ourselves() {
    let mut bench = serving(&[B]);
    let asked: usize = (0..200u16)
        .map(|n| {
            bench
                .pod_sends(B, &data((B.addr(true), 8080), (A.addr(true), 1000 + n)))
                .len()
        })
        .sum();
    assert_eq!(asked, 128);
}

/// One client's connections: of each port, the name that it connected to and who serves it.
#[derive(Clone, Copy, Debug)]
struct Open {
    port: u16,
    name: End,
    by: Who,
}

#[derive(Clone, Debug)]
enum Step {
    /// Connects port and target: the service, or one of the endpoints itself.
    Connect(u16, u8),
    Client(prop::sample::Index),
    Endpoint(prop::sample::Index),
    /// All records and caches are lost.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1000u16..1006, 0u8..3).prop_map(|(port, to)| Step::Connect(port, to)),
        2 => any::<prop::sample::Index>().prop_map(Step::Client),
        4 => any::<prop::sample::Index>().prop_map(Step::Endpoint),
        2 => Just(Step::Restart),
    ]
}

/// What the client's stack does with a frame: takes data in, answers a question or a stray.
fn client_hears(bench: &mut Bench, open: &[Open], sent: Vec<Sent>) -> Vec<End> {
    let mut heard = Vec::new();
    for frame in sent {
        assert_eq!(frame.port, A.slot);
        let p = parsed(&frame);
        let (name, me) = ((p.tuple.src, p.tuple.sport), (p.tuple.dst, p.tuple.dport));
        let mine = open.iter().any(|o| (o.port, o.name) == (me.1, name));
        let empty = p.end == u32::from(p.payload);
        assert!(
            mine || empty,
            "{me:?} hears something of {name:?} that it has no connection with"
        );
        if !empty {
            heard.push(name);
            continue;
        }
        let answer = if mine {
            Packet::tcp(me, name, ACK)
        } else {
            reset(me, name)
        };
        let forwarded = bench.pod_sends(A, &answer);
        assert_eq!(forwarded.len(), usize::from(mine), "resets reach nobody");
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn data_arrives_in_the_name_that_its_client_connected_to_whatever_was_lost(
        v4 in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut bench = serving(&[B, REMOTE]);
        let service = (SERVICE.addr(v4), 80);
        let mut open: Vec<Open> = Vec::new();
        for step in steps {
            match step {
                Step::Connect(port, to) => {
                    if open.iter().any(|o| o.port == port) {
                        continue;
                    }
                    let name = [service, (B.addr(v4), 8080), (REMOTE.addr(v4), 8080)][usize::from(to)];
                    let sent = bench.pod_sends(A, &Packet::tcp((A.addr(v4), port), name, SYN));
                    prop_assert_eq!(sent.len(), 1);
                    let by = if sent[0].port == UPLINK { REMOTE } else { B };
                    open.push(Open { port, name, by });
                }
                Step::Client(at) if !open.is_empty() => {
                    let o = open[at.index(open.len())];
                    let sent = bench.pod_sends(A, &data((A.addr(v4), o.port), o.name));
                    prop_assert_eq!(sent.iter().map(|s| s.port).collect::<Vec<_>>(), [o.by.slot], "to the same endpoint");
                }
                Step::Endpoint(at) if !open.is_empty() => {
                    let o = open[at.index(open.len())];
                    let told = data((o.by.addr(v4), 8080), (A.addr(v4), o.port));
                    // Again, as a stack that hears no acknowledgement does.
                    let sent = say(&mut bench, o.by, &told);
                    let mut heard = client_hears(&mut bench, &open, sent);
                    if heard.is_empty() {
                        let sent = say(&mut bench, o.by, &told);
                        heard = client_hears(&mut bench, &open, sent);
                    }
                    prop_assert_eq!(heard, [o.name]);
                    // Questions are few per tick.
                    bench.now_ns += super::bench::SECOND;
                }
                Step::Restart => {
                    let world = bench.world.clone();
                    bench = Bench::with(world, 1);
                }
                Step::Client(_) | Step::Endpoint(_) => {}
            }
        }
    }
}
