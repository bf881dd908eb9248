//! Decides which of up to 256 rules is the first to fit a flow: the rules its peer falls under, cut with the rules its
//! port falls under. It never knows where a rule comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_wire::Proto;

use crate::cidr::Cidr;
use crate::content::Content;
use crate::model::{Direction, Peer, Pod, PortMatch, PortSpec, Rule};
use crate::pod_policy::FlowView;
use crate::ranges::{NONE, Number, Piece, ROW_RULES, Ranges, Row, first_common, or, set, subtract};
use crate::sets::{PeerSets, PodPeer};

/// Rules in the order in which they are named, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    identities: Ranges<u32>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    tcp: Ranges<u16>,
    udp: Ranges<u16>,
    sctp: Ranges<u16>,
    /// Rules without ports: all that other protocols can match.
    any_port: Row,
    /// Egress by port name: the rules that match at one port of one identity, sorted.
    named: Vec<((u32, Proto, u16), Row)>,
}

impl Chunk {
    /// Compiles at most [`ROW_RULES`] rules, each with the namespace of its policy. `local` resolves ingress port names.
    pub(crate) fn new(direction: Direction, rules: &[(&str, &Rule)], local: &Pod, sets: &mut PeerSets) -> Self {
        let mut parts = Parts::default();
        for (rule, (namespace, from)) in rules.iter().enumerate().take(ROW_RULES) {
            parts.add_peers(rule, namespace, &from.peers, sets);
            parts.add_ports(rule, &from.ports, direction, local, sets.contents());
        }
        let Parts {
            any_peer,
            any_port,
            identities,
            v4,
            v6,
            ports: [tcp, udp, sctp],
            named,
            ..
        } = parts;
        Self {
            identities: Ranges::from_rows(any_peer, (0u32..).zip(identities)),
            v4: Ranges::new(any_peer, &v4),
            v6: Ranges::new(any_peer, &v6),
            tcp: Ranges::new(any_port, &tcp),
            udp: Ranges::new(any_port, &udp),
            sctp: Ranges::new(any_port, &sctp),
            any_port,
            named: named.into_iter().collect(),
        }
    }

    /// The first rule that fits the flow.
    #[inline]
    pub(crate) fn first_match(&self, flow: &FlowView) -> Option<usize> {
        first_common(&self.peers(flow), &self.ports(flow))
    }

    /// Rules that the peer falls under, whatever the port.
    #[inline]
    pub(crate) fn peers(&self, flow: &FlowView) -> Row {
        let by_address = if flow.peer_addr.is_v4() {
            self.v4.find(u32::from_be_bytes(flow.peer_addr.v4_octets()))
        } else {
            self.v6.find(flow.peer_addr.bits())
        };
        flow.peer
            .map_or(*by_address, |id| or(by_address, self.identities.find(id.0)))
    }

    /// Rules that the destination port falls under, whoever the peer.
    #[inline]
    pub(crate) fn ports(&self, flow: &FlowView) -> Row {
        let by_number = match flow.proto {
            Proto::TCP => self.tcp.find(flow.dport),
            Proto::UDP => self.udp.find(flow.dport),
            Proto::SCTP => self.sctp.find(flow.dport),
            _ => return self.any_port,
        };
        let Some(peer) = flow.peer.filter(|_| !self.named.is_empty()) else {
            return *by_number;
        };
        let key = (peer.0, flow.proto, flow.dport);
        self.named
            .binary_search_by_key(&key, |entry| entry.0)
            .map_or(*by_number, |at| or(by_number, &self.named[at].1))
    }
}

/// The place of the first rule that `first_in` finds, counted over all chunks.
#[inline]
pub(crate) fn first(chunks: &[Chunk], first_in: impl Fn(&Chunk) -> Option<usize>) -> Option<usize> {
    let mut numbered = chunks.iter().enumerate();
    numbered.find_map(|(n, chunk)| Some(n * ROW_RULES + first_in(chunk)?))
}

/// The same before it is sorted into ranges.
#[derive(Default)]
struct Parts {
    any_peer: Row,
    any_port: Row,
    /// By identity number.
    identities: Vec<Row>,
    /// Rules that match peers beyond those in `identities`.
    beyond_pods: Row,
    v4: Vec<Piece<u32>>,
    v6: Vec<Piece<u128>>,
    /// TCP, UDP, SCTP.
    ports: [Vec<Piece<u16>>; 3],
    named: BTreeMap<(u32, Proto, u16), Row>,
}

impl Parts {
    fn add_peers(&mut self, rule: usize, namespace: &str, peers: &[Peer], sets: &mut PeerSets) {
        if peers.is_empty() {
            set(&mut self.any_peer, rule);
            set(&mut self.beyond_pods, rule);
        }
        for peer in peers {
            match peer {
                Peer::Pods { namespaces, pods } => {
                    let Some(peer) = PodPeer::new(namespace, namespaces.as_ref(), pods.as_ref()) else {
                        continue;
                    };
                    for id in sets.get(peer).iter() {
                        if id >= self.identities.len() {
                            self.identities.resize(id + 1, NONE);
                        }
                        set(&mut self.identities[id], rule);
                    }
                }
                Peer::Block { cidr, except } => {
                    set(&mut self.beyond_pods, rule);
                    add_block(&mut self.v4, rule, cidr.range_v4(), except, Cidr::range_v4);
                    add_block(&mut self.v6, rule, cidr.range_v6(), except, Cidr::range_v6);
                }
            }
        }
    }

    fn add_ports(&mut self, rule: usize, ports: &[PortMatch], dir: Direction, local: &Pod, contents: &[Arc<Content>]) {
        if ports.is_empty() {
            set(&mut self.any_port, rule);
        }
        for PortMatch { proto, port } in ports {
            let table = match *proto {
                Proto::TCP => 0,
                Proto::UDP => 1,
                Proto::SCTP => 2,
                _ => continue,
            };
            let range = match port {
                PortSpec::Any => Some((0, u16::MAX)),
                PortSpec::Number(first, last) => Some((*first, last.unwrap_or(*first))),
                PortSpec::Name(name) if dir == Direction::Ingress => local.named_port(name, *proto).map(|p| (p, p)),
                PortSpec::Name(name) => {
                    self.add_named(rule, name, *proto, contents);
                    None
                }
            };
            self.ports[table].extend(range.map(|(first, last)| Piece { first, last, rule }));
        }
    }

    /// Only identities that the rule's peers may mean, so that others never show in the result.
    fn add_named(&mut self, rule: usize, name: &str, proto: Proto, contents: &[Arc<Content>]) {
        let has = |row: &Row| row[rule / 64] >> (rule % 64) & 1 == 1;
        let everyone = has(&self.beyond_pods);
        for (id, content) in (0u32..).zip(contents) {
            let meant = everyone || self.identities.get(id as usize).is_some_and(has);
            if let Some(port) = content.named_port(name, proto).filter(|_| meant) {
                set(self.named.entry((id, proto, port)).or_insert(NONE), rule);
            }
        }
    }
}

/// Adds what `range` covers without the exceptions of its own family.
fn add_block<N: Number>(
    pieces: &mut Vec<Piece<N>>,
    rule: usize,
    range: Option<(N, N)>,
    except: &[Cidr],
    bounds: fn(Cidr) -> Option<(N, N)>,
) {
    let Some(range) = range else { return };
    let mut holes: Vec<(N, N)> = except.iter().filter_map(|&cidr| bounds(cidr)).collect();
    pieces.extend(
        subtract(range, &mut holes)
            .into_iter()
            .map(|(first, last)| Piece { first, last, rule }),
    );
}
