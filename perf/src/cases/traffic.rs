//! Decides the packets of a case's flows: the one that opens a flow, its reply, and what must become of each.

use super::{Case, Outer, Udp};
use crate::world::addresses::{
    Family, GATEWAY_MAC, NODE_PORT, NODE_PORTS, OUR_VTEP, POD_PORT, ROUTER_MAC, SERVICE_PORT, UPLINK, UPLINK_MAC,
    node_of, pod_mac, pod_slot, vtep_of,
};
use crate::world::{ENDPOINTS, Size};
use sluice_wire::PortSlot;

/// Flows of one client, told apart by its port.
pub(crate) const PORTS: u32 = 50_000;
const FIRST_PORT: u32 = 10_000;
/// So many flows find a free port for masquerading at one service's endpoints without much looking.
const MASQUERADED: u32 = 300_000;

/// A frame as it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arriving {
    pub(crate) port: PortSlot,
    pub(crate) bytes: Vec<u8>,
}

/// A frame as it went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) port: PortSlot,
    pub(crate) bytes: Vec<u8>,
}

/// The packets of one case in one world. Flows are numbers from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) case: Case,
    pub(crate) world: Size,
}

impl Traffic {
    /// The case among so many services and policies; more services where `flows` need them.
    pub(crate) fn new(case: Case, family: Family, flows: u32, services: u32, policies: u32) -> Self {
        let talking = flows.div_ceil(PORTS).max(1);
        let from_pods = !matches!(case, Case::VxlanIn | Case::NodePort);
        let needed = match case {
            Case::VxlanIn => talking.div_ceil(ENDPOINTS),
            Case::NodePort => flows.div_ceil(MASQUERADED),
            _ => 1,
        };
        let world = Size {
            family,
            clients: if from_pods { talking } else { 1 },
            services: services.max(needed).max(1),
            policies,
        };
        Self { case, world }
    }

    /// The packet that opens a flow.
    pub(crate) fn open(&self, flow: u32, bytes: usize) -> Arriving {
        let packet = self.opening(flow, bytes);
        match self.case {
            Case::VxlanIn => self.wrapped_by(self.client(flow), packet),
            Case::NodePort => Arriving {
                port: UPLINK,
                bytes: Udp {
                    macs: (ROUTER_MAC, UPLINK_MAC),
                    ..packet
                }
                .frame(),
            },
            _ => {
                let client = self.client(flow);
                Arriving {
                    port: pod_slot(client),
                    bytes: Udp {
                        macs: (pod_mac(client), GATEWAY_MAC),
                        ..packet
                    }
                    .frame(),
                }
            }
        }
    }

    /// What must become of it; `sent` says which endpoint and which masqueraded port were chosen. `None`: none that could be chosen.
    pub(crate) fn opened(&self, flow: u32, bytes: usize, sent: &Leaving) -> Option<Leaving> {
        let packet = Udp {
            ttl: 63,
            ..self.opening(flow, bytes)
        };
        match self.case {
            Case::PodToPod | Case::VxlanIn => Some(self.at_pod(self.server(flow), packet)),
            Case::VxlanOut => Some(self.wrapped_for(flow % ENDPOINTS, packet, sent)),
            Case::ServiceOut | Case::ServiceReply | Case::FirstPacket | Case::NodePort => {
                let endpoint = self.endpoint(flow, sent)?;
                let src = match self.case {
                    Case::NodePort => (self.world.family.base(), self.inner(sent)?.sport),
                    _ => packet.src,
                };
                let dst = (self.world.family.remote(endpoint), POD_PORT);
                Some(self.wrapped_for(endpoint, Udp { src, dst, ..packet }, sent))
            }
        }
    }

    /// The answer of the endpoint that serves the flow.
    pub(crate) fn reply(&self, flow: u32, endpoint: u32, bytes: usize) -> Arriving {
        self.wrapped_by(endpoint, self.answer(flow, endpoint, bytes))
    }

    /// What must become of it.
    pub(crate) fn replied(&self, flow: u32, endpoint: u32, bytes: usize) -> Leaving {
        let service = self.world.family.service(self.service(flow));
        let packet = Udp {
            ttl: 63,
            src: (service, SERVICE_PORT),
            ..self.answer(flow, endpoint, bytes)
        };
        self.at_pod(self.client(flow), packet)
    }

    /// The endpoint to which the flow's packet was sent, if it is one of the service's.
    pub(crate) fn endpoint(&self, flow: u32, sent: &Leaving) -> Option<u32> {
        let to = self.inner(sent)?.dst;
        let first = self.service(flow) * ENDPOINTS;
        (first..first + ENDPOINTS).find(|e| self.world.family.remote(*e) == to)
    }

    fn opening(&self, flow: u32, bytes: usize) -> Udp {
        let family = self.world.family;
        let client = self.client(flow);
        let port = (FIRST_PORT + flow % PORTS) as u16;
        let (src, dst) = match self.case {
            Case::PodToPod => (family.pod(client), (family.pod(self.server(flow)), POD_PORT)),
            Case::VxlanOut => (family.pod(client), (family.remote(flow % ENDPOINTS), POD_PORT)),
            Case::VxlanIn => (family.remote(client), (family.pod(self.server(flow)), POD_PORT)),
            Case::ServiceOut | Case::ServiceReply | Case::FirstPacket => {
                (family.pod(client), (family.service(self.service(flow)), SERVICE_PORT))
            }
            Case::NodePort => (
                family.outside(client),
                (family.this_node(), NODE_PORT + self.service(flow) as u16),
            ),
        };
        Udp {
            macs: Default::default(),
            src: (src, port),
            dst,
            ttl: 64,
            bytes,
        }
    }

    fn answer(&self, flow: u32, endpoint: u32, bytes: usize) -> Udp {
        let opening = self.opening(flow, bytes);
        Udp {
            src: (self.world.family.remote(endpoint), POD_PORT),
            dst: opening.src,
            ..opening
        }
    }

    fn client(&self, flow: u32) -> u32 {
        flow / PORTS
    }

    /// A pod of this node that listens.
    fn server(&self, flow: u32) -> u32 {
        self.world.clients + flow % ENDPOINTS
    }

    fn service(&self, flow: u32) -> u32 {
        match self.case {
            Case::NodePort => flow % self.world.services.min(NODE_PORTS),
            _ => flow % self.world.services,
        }
    }

    fn at_pod(&self, pod: u32, packet: Udp) -> Leaving {
        let macs = (GATEWAY_MAC, pod_mac(pod));
        Leaving {
            port: pod_slot(pod),
            bytes: Udp { macs, ..packet }.frame(),
        }
    }

    /// As the node of this remote pod sends it.
    fn wrapped_by(&self, remote: u32, packet: Udp) -> Arriving {
        let (family, node) = (self.world.family, node_of(remote));
        let outer = Outer {
            macs: (ROUTER_MAC, UPLINK_MAC),
            src: family.node(node),
            dst: family.this_node(),
            source_port: sluice_vxlan::source_port(packet.tuple().stable_hash()),
            id: 0,
        };
        let macs = (vtep_of(node), OUR_VTEP);
        Arriving {
            port: UPLINK,
            bytes: outer.around(&Udp { macs, ..packet }),
        }
    }

    /// As this node sends it to the node of this remote pod; `like` has the identification of the outer header.
    fn wrapped_for(&self, remote: u32, packet: Udp, like: &Leaving) -> Leaving {
        let (family, node) = (self.world.family, node_of(remote));
        let id = like.bytes.get(18..20).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        let outer = Outer {
            macs: (UPLINK_MAC, ROUTER_MAC),
            src: family.this_node(),
            dst: family.node(node),
            source_port: sluice_vxlan::source_port(packet.tuple().stable_hash()),
            id,
        };
        let macs = (OUR_VTEP, vtep_of(node));
        Leaving {
            port: UPLINK,
            bytes: outer.around(&Udp { macs, ..packet }),
        }
    }

    /// The tuple inside of a tunnel packet.
    fn inner(&self, sent: &Leaving) -> Option<sluice_wire::Tuple> {
        let overhead = match self.world.family {
            Family::V4 => sluice_vxlan::OVERHEAD_V4,
            Family::V6 => sluice_vxlan::OVERHEAD_V6,
        };
        match sluice_wire::parse(sent.bytes.get(overhead..)?) {
            Ok(sluice_wire::Packet::Ip(parsed)) => Some(parsed.tuple),
            _ => None,
        }
    }
}
