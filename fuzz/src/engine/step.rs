//! What happens to a node, in few bytes each, and as what frame or change.

use super::bench::{coming, wrapped};
use super::packet::{L4, Packet};
use super::world::{
    A, B, BASE, GATEWAY_MAC, HOST, HOST_MAC, NODE, NODE_PORT, OTHER_NODE, OUR_VTEP, OUTSIDE, PEER, PEER_VTEP, REMOTE,
    ROUTER, ROUTER_MAC, SERVICE, TUNNEL, TUNNEL_PORT, UPLINK, UPLINK_MAC, Who, World, app, egress, ingress, prefix,
};
use arbitrary::Arbitrary;
use sluice_snapshot::{Prefix, Route};
use sluice_wire::{Checksum, Gso, GsoKind, MacAddr, Meta, PortSlot};

const EVERYBODY: [Who; 8] = [A, B, REMOTE, NODE, BASE, OUTSIDE, SERVICE, OTHER_NODE];
const PORTS: [u16; 8] = [80, 8080, NODE_PORT, 40001, 20001, 1000, TUNNEL_PORT, 53];
const ERRORS: [(u8, u8); 8] = [(3, 4), (3, 3), (11, 0), (2, 0), (1, 4), (135, 0), (13, 0), (136, 0)];

fn pick<T: Copy, const N: usize>(from: [T; N], by: u8) -> T {
    from[usize::from(by) % N]
}

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub(super) enum Step {
    /// Time passes, in 2^24 ns.
    Wait(u16),
    /// Frames at one of the workers.
    Burst(u8, Vec<Frame>),
    /// The configuration changes.
    Change(Change),
    /// One that left is answered: at which worker, how many ago, TCP flags, and how much.
    Answer(u8, u8, u8, u8),
}

/// A change of configuration.
#[derive(Arbitrary, Debug)]
pub(super) enum Change {
    Endpoints(u8),
    Policies(u8),
    Pod(bool, bool),
    Mac(u8),
    Mtu(bool, u8),
    MoreSpecific(bool),
    HostRoute(bool),
    PeerPrefixes(bool),
    Router(u8),
    NoAdjacency(u8),
}

/// One frame and where it comes in.
#[derive(Arbitrary, Debug)]
pub(super) struct Frame {
    by: u8,
    v6: bool,
    src: u8,
    dst: u8,
    sport: u8,
    dport: u8,
    l4: u8,
    flags: u8,
    ttl: u8,
    tos: u8,
    len: u16,
    checksum: u8,
    gso: u8,
    /// Bytes changed: where, and with what.
    edits: Vec<(u16, u8)>,
    cut: u8,
}

impl Frame {
    fn packet(&self) -> Packet {
        let v4 = !self.v6;
        let (src, dst) = (pick(EVERYBODY, self.src).addr(v4), pick(EVERYBODY, self.dst).addr(v4));
        let (sport, dport) = (pick(PORTS, self.sport), pick(PORTS, self.dport));
        let mut packet = Packet::udp((src, sport), (dst, dport));
        packet.l4 = match self.l4 % 6 {
            0 | 1 => L4::Tcp {
                flags: self.flags,
                seq: 1,
                ack: 2,
            },
            2 => L4::Udp,
            3 => L4::EchoRequest,
            4 => L4::EchoReply,
            _ => {
                let (kind, code) = pick(ERRORS, self.flags);
                L4::Icmp {
                    kind,
                    code,
                    rest: [0, 0, 5, self.flags],
                }
            }
        };
        packet.ttl = self.ttl;
        packet.tos = self.tos;
        packet.dont_fragment = self.flags & 64 == 0;
        packet.mss = (self.flags & 128 != 0).then_some(1460);
        let longest = if self.len & 0x8000 == 0 { 1600 } else { 20_000 };
        packet.payload = vec![self.flags; usize::from(self.len & 0x7fff) % longest];
        if let L4::Icmp { .. } = packet.l4 {
            // Quotes the opposite packet: an error about it.
            let mut about = Packet::udp((dst, dport), (src, sport));
            if self.len & 1 == 1 {
                about.l4 = L4::Tcp {
                    flags: 2,
                    seq: 1,
                    ack: 0,
                };
            }
            packet.payload = about.frame()[14..].to_vec();
        }
        packet
    }

    fn port(&self) -> PortSlot {
        match self.by % 6 {
            0 => A.slot,
            1 => B.slot,
            2 => HOST,
            _ => UPLINK,
        }
    }

    /// Seven of eight frames of the wire are for the uplink, and most of another kind of tunnel lead somewhere.
    fn odd(&self) -> u8 {
        self.by / 6 % 8
    }

    fn tunnelled(&self) -> bool {
        self.by % 6 >= 4
    }

    /// The frame's bytes and what its port says about it.
    pub(super) fn build(&self) -> (Meta, Vec<u8>) {
        let packet = self.packet();
        let at = |src, dst| packet.clone().between(src, dst).frame();
        let mut bytes = match self.by % 6 {
            0 => at(A.mac, GATEWAY_MAC),
            1 => at(B.mac, GATEWAY_MAC),
            2 => at(HOST_MAC, GATEWAY_MAC),
            3 => at(ROUTER_MAC, UPLINK_MAC),
            4 => wrapped(&packet),
            _ => {
                // The other family outside; seldom another network, or between MACs that no tunnel knows.
                let mut outer = coming(self.v6);
                let family = usize::from(!self.v6);
                let mut macs = (PEER_VTEP[family], OUR_VTEP[family]);
                match self.odd() {
                    5 => outer.vni = u32::from(self.flags & 3),
                    6 => macs = (A.mac, B.mac),
                    _ => (),
                }
                outer.around(&packet.clone().between(macs.0, macs.1).frame())
            }
        };
        if self.port() == UPLINK && self.odd() == 7 {
            // What a flooding switch brings.
            bytes[..6].copy_from_slice(&[self.cut, self.sport, self.dport, self.checksum, self.gso, self.ttl]);
        }
        for (place, value) in self.edits.iter().take(4) {
            let place = usize::from(*place) % bytes.len().min(160);
            bytes[place] ^= value;
        }
        bytes.truncate(bytes.len() - usize::from(self.cut % 64).min(bytes.len()));
        let l4 = if packet.is_v4() { 34 } else { 54 };
        let field = if matches!(packet.l4, L4::Udp) { 6 } else { 16 };
        let checksum = match self.checksum % 5 {
            0 | 1 => Checksum::Unverified,
            2 => Checksum::Good,
            3 => Checksum::Partial {
                start: l4,
                offset: field,
            },
            _ => Checksum::Partial {
                start: u16::from(self.checksum),
                offset: u16::from(self.gso),
            },
        };
        let gso = (self.gso % 4 == 3).then(|| Gso {
            kind: pick([GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp], self.gso / 4),
            size: u16::from(self.ttl) * 8,
            ecn: self.gso & 128 != 0,
        });
        (
            Meta {
                checksum,
                gso,
                ..Meta::from_port(self.port())
            },
            bytes,
        )
    }

    /// Whether its source belongs where it comes in, as far as this can be told without the engine: with edits it cannot.
    pub(super) fn may_leave(&self) -> bool {
        let source = pick(EVERYBODY, self.src);
        let stranger = [OUTSIDE, SERVICE, OTHER_NODE].contains(&source);
        !self.edits.is_empty()
            || match self.port() {
                port if port == A.slot => source == A,
                port if port == B.slot => source == B,
                HOST => source == NODE || source == BASE || stranger,
                _ if self.tunnelled() => source == REMOTE,
                _ => stranger,
            }
    }

    /// What is asked is answered where it was asked, whoever the asker says he is.
    pub(super) fn is_answer(&self, port: PortSlot) -> bool {
        port == self.port() && matches!(self.packet().l4, L4::Icmp { kind: 135, .. })
    }
}

impl Change {
    /// Makes the change.
    pub(super) fn apply(&self, world: &mut World) {
        let tunnel = |family: usize| Route::Tunnel {
            peer: PEER,
            adjacency: TUNNEL[family],
        };
        match *self {
            Self::Endpoints(bits) => {
                let by: Vec<Who> = [A, B, REMOTE]
                    .into_iter()
                    .enumerate()
                    .filter(|(n, _)| bits >> n & 1 == 1)
                    .map(|(_, who)| who)
                    .collect();
                world.serve(&by);
            }
            Self::Policies(bits) => {
                let all = [
                    ingress("b", vec![app("r")]),
                    ingress("a", vec![]),
                    egress("a", vec![app("b")]),
                    egress("b", vec![app("a"), app("r")]),
                ];
                world.policies = all
                    .into_iter()
                    .enumerate()
                    .filter(|(n, _)| bits >> n & 1 == 1)
                    .map(|(_, policy)| policy)
                    .collect();
            }
            Self::Pod(first, there) => {
                let pod = if first { A } else { B };
                world.remove_pod(pod);
                if there {
                    // Never an incarnation that was there before.
                    let used = world
                        .ports
                        .values()
                        .map(|port| port.scope.get())
                        .filter(|scope| *scope < 1 << 30);
                    world.add_pod(pod, used.max().unwrap_or(0) + 10);
                }
            }
            Self::Mac(last) => world.set_tunnel(last & 1 == 0, MacAddr([2, 0, 0, 0, 0, last])),
            Self::Mtu(first, units) => {
                let pod = if first { A } else { B };
                if let Some(port) = world.ports.get_mut(&pod.slot.0) {
                    port.mtu = 60 + u16::from(units) * 8;
                }
            }
            Self::MoreSpecific(there) => set(world, prefix("10.244.2.0/25"), tunnel(1), there),
            Self::HostRoute(there) => set(world, Prefix::host(REMOTE.addr(true)), Route::NoPod, there),
            Self::PeerPrefixes(there) => {
                let (route, prefixes) = if there {
                    (tunnel(0), vec![prefix("10.244.2.0/24")])
                } else {
                    (Route::Direct(ROUTER), Vec::new())
                };
                world.routes.insert(prefix("10.244.2.0/24"), route);
                if let Some(peer) = world.peers.get_mut(&PEER.0) {
                    peer.prefixes = prefixes;
                }
            }
            Self::Router(last) => world.set_router(MacAddr([2, 0, 0, 0, 0, last])),
            Self::NoAdjacency(index) => _ = world.adjacencies.remove(&u32::from(index % 3)),
        }
    }
}

fn set(world: &mut World, prefix: Prefix, route: Route, there: bool) {
    if there {
        world.routes.insert(prefix, route);
    } else {
        world.routes.remove(&prefix);
    }
}
