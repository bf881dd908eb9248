//! The questions that the slow path asks of a snapshot: each notes what its answer depends on.

use crate::action::Way;
use crate::classify::{Ingress, Item};
use crate::engine::Context;
use sluice_lb::{Frontend, FrontendKind, Masquerade, MasqueradeInput, Service, TrafficPolicy};
use sluice_policy::{Direction, FlowView};
use sluice_snapshot::{Deps, Link, PeerSlot, Route, dep};
use sluice_wire::{Addr, DropReason, IcmpError, PortSlot, Proto, Tuple};
use std::sync::Arc;

/// Why a packet does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Silently.
    Drop(DropReason),
    /// TCP is reset, others get port unreachable.
    Reject(DropReason),
    /// The sender is told this.
    Tell(DropReason, IcmpError),
    /// It waits until this neighbour is known.
    Hold(Addr),
    /// An endpoint speaks in no known connection: its client is asked.
    AskClient,
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// What a packet was addressed to.
pub(crate) enum Target<'a> {
    Service(&'a Arc<Service>, FrontendKind),
    /// No service: the destination itself.
    Plain,
}

impl Context<'_> {
    /// Anti-spoofing: may this source come in here?
    pub(crate) fn admit(&self, item: &Item, deps: &mut Deps) -> Result<(), DropReason> {
        self.admit_source(item, item.parsed.tuple.src, deps)
    }

    /// May packets from `src` come in where this one did?
    pub(crate) fn admit_source(&self, item: &Item, src: Addr, deps: &mut Deps) -> Result<(), DropReason> {
        let parts = &self.snapshot.parts;
        deps.add(dep::address(src));
        let honest = match item.ingress {
            Ingress::Pod => parts
                .ports
                .get(item.frame.meta.ingress)
                .is_some_and(|port| port.pod_addrs().contains(&src)),
            Ingress::Tunnel(peer) => self.belongs_to(peer, src, deps),
            Ingress::Host => parts.node.is_local(src) || !parts.node.in_cluster(src),
            Ingress::Outside => !parts.node.is_local(src) && !parts.node.in_cluster(src),
        };
        if honest { Ok(()) } else { Err(DropReason::SpoofedSource) }
    }

    fn belongs_to(&self, peer: PeerSlot, src: Addr, deps: &mut Deps) -> bool {
        let forwarding = &self.snapshot.parts.forwarding;
        let found = forwarding.lookup(src);
        if let Some((prefix, _)) = &found {
            deps.add(dep::route(prefix));
        }
        match found {
            Some((_, Route::Tunnel { peer: owner, .. })) => owner == peer,
            // What is ours comes from nobody else.
            Some((_, Route::Pod(_) | Route::Host | Route::NoPod)) => false,
            // A route that waits for its next hop: ask the peer itself.
            Some((_, Route::Direct(_) | Route::OnLink | Route::Unresolved { .. })) | None => {
                let prefixes = forwarding.peer(peer).map_or(&[][..], |p| &p.prefixes);
                let own = prefixes.iter().find(|x| x.contains(src));
                own.inspect(|prefix| deps.add(dep::route(prefix))).is_some()
            }
        }
    }

    /// Service lookup, by service address and by node port.
    pub(crate) fn target(&self, tuple: &Tuple, deps: &mut Deps) -> Result<Target<'_>, Refusal> {
        let parts = &self.snapshot.parts;
        deps.add(dep::address(tuple.dst));
        let node = &parts.node;
        let own = node.addresses.contains(&tuple.dst);
        // Who gives the node the address of a service wants its pods to meet what listens there on the node.
        if own && node.in_services(tuple.dst) {
            return Ok(Target::Plain);
        }
        if let Some(service) = parts.services.lookup(&Frontend::of(tuple)) {
            deps.add(dep::service(service.slot()));
            return Ok(Target::Service(service, FrontendKind::ClusterIp));
        }
        // An external address may be the node's own, with all its other ports.
        if !own && (parts.services.is_service_address(tuple.dst) || node.in_services(tuple.dst)) {
            return Err(Refusal::Drop(DropReason::NoServicePort));
        }
        if own && matches!(tuple.proto, Proto::TCP | Proto::UDP | Proto::SCTP) {
            deps.add(dep::node_port(tuple.dport));
            if let Some(service) = parts.services.node_port(tuple.proto, tuple.dport, tuple.dst.is_v4()) {
                deps.add(dep::service(service.slot()));
                return Ok(Target::Service(service, FrontendKind::NodePort));
            }
        }
        Ok(Target::Plain)
    }

    /// Where this destination lies.
    pub(crate) fn route(&self, dst: Addr, deps: &mut Deps) -> Result<Way, Refusal> {
        let parts = &self.snapshot.parts;
        deps.add(dep::address(dst));
        let Some((prefix, route)) = parts.forwarding.lookup(dst) else {
            return Err(Refusal::Tell(DropReason::NoRoute, IcmpError::NetUnreachable));
        };
        deps.add(dep::route(&prefix));
        match route {
            Route::Pod(slot) => Ok(Way::Port(slot)),
            Route::Host => Ok(Way::Port(parts.node.host_port)),
            Route::Direct(at) | Route::Tunnel { adjacency: at, .. } => match parts.forwarding.adjacency(at) {
                Some(_) => Ok(Way::Adjacency(at)),
                None => Err(Refusal::Hold(dst)),
            },
            Route::OnLink => Err(Refusal::Hold(dst)),
            Route::Unresolved { next_hop } => Err(Refusal::Hold(next_hop)),
            Route::NoPod => Err(Refusal::Tell(DropReason::NoPod, IcmpError::HostUnreachable)),
        }
    }

    /// Largest IP packet that may leave this way, bytes.
    pub(crate) fn mtu(&self, way: Way) -> u16 {
        let parts = &self.snapshot.parts;
        match way {
            Way::Port(slot) => parts.ports.get(slot).map_or(u16::MAX, |p| p.mtu),
            Way::Adjacency(at) => parts.forwarding.adjacency(at).map_or(u16::MAX, |a| a.mtu),
            Way::Drop(_) => u16::MAX,
        }
    }

    /// Whether it leads to another node's pods.
    pub(crate) fn is_tunnel(&self, way: Way) -> bool {
        let Way::Adjacency(at) = way else { return false };
        let adjacency = self.snapshot.parts.forwarding.adjacency(at);
        adjacency.is_some_and(|a| matches!(a.link, Link::Tunnel(_)))
    }

    /// Whether frames can leave this way now, as far as the next hop is concerned.
    pub(crate) fn is_resolved(&self, way: Way) -> bool {
        match way {
            Way::Adjacency(at) => self.snapshot.parts.forwarding.adjacency(at).is_some(),
            Way::Port(_) | Way::Drop(_) => true,
        }
    }

    /// Whether a packet to this address leaves the cluster.
    pub(crate) fn leaves_cluster(&self, dst: Addr) -> bool {
        let route = self.snapshot.parts.forwarding.lookup(dst);
        matches!(
            route,
            Some((_, Route::Direct(_) | Route::OnLink | Route::Unresolved { .. }))
        ) && !self.snapshot.parts.node.in_cluster(dst)
    }

    /// NetworkPolicy at both ends, as far as they are pods of this node. `tuple` is what the client sent, `backend` where
    /// it goes after the service's rewrite.
    pub(crate) fn policy(&self, tuple: &Tuple, backend: (Addr, u16), deps: &mut Deps) -> Result<(), DropReason> {
        let (client, (server, dport)) = (tuple.src, backend);
        // A pod may always talk to itself by its own address; through a service it may not.
        if client == server && tuple.dst == server {
            return Ok(());
        }
        deps.add(dep::address(client));
        deps.add(dep::address(server));
        let policies = &self.snapshot.parts.policies;
        let judge = |pod: PortSlot, direction, peer_addr: Addr| {
            let peer = policies.identities.get(&peer_addr).copied();
            let flow = FlowView {
                peer,
                peer_addr,
                proto: tuple.proto,
                dport,
            };
            policies
                .pods
                .get(&pod)
                .is_none_or(|policy| policy.verdict(direction, &flow).is_allowed())
        };
        if let Some(pod) = self.local_pod(client) {
            deps.add(dep::policy(pod));
            if !judge(pod, Direction::Egress, server) {
                return Err(DropReason::PolicyEgress);
            }
        }
        if let Some(pod) = self.local_pod(server) {
            deps.add(dep::policy(pod));
            let from_own_node = self.snapshot.parts.node.is_local(client);
            if !from_own_node && !judge(pod, Direction::Ingress, client) {
                return Err(DropReason::PolicyIngress);
            }
        }
        Ok(())
    }

    fn local_pod(&self, addr: Addr) -> Option<PortSlot> {
        match self.snapshot.parts.forwarding.lookup(addr) {
            Some((_, Route::Pod(slot))) => Some(slot),
            _ => None,
        }
    }

    /// Our own address as a connection's source towards this backend, and whether it is the outside one.
    pub(crate) fn own_source(&self, backend: Addr) -> Option<(Addr, bool)> {
        let node = &self.snapshot.parts.node;
        if self.leaves_cluster(backend) {
            return node.outside_for(backend).map(|addr| (addr, true));
        }
        node.base_for(backend).map(|addr| (addr, false))
    }

    /// Whether replies of the node's own processes to this client come back by `sluice0`.
    pub(crate) fn is_answered_here(&self, client: Addr) -> bool {
        let node = &self.snapshot.parts.node;
        node.in_cluster(client) && !node.is_local(client)
    }

    /// The source of others' connections to a service that the node itself serves: the service's own address, which the node
    /// routes to `sluice0`. One of the node's own would be dropped by its kernel, and answers to others go past us.
    pub(crate) fn source_to_host(&self, service: &Service) -> Option<(Addr, bool)> {
        let node = &self.snapshot.parts.node;
        let addr = self.snapshot.parts.services.address_of(service.slot())?;
        (node.in_services(addr) && !node.is_local(addr)).then_some((addr, false))
    }

    /// The address that the connection's source becomes, if it may not keep its own; and whether that is the outside one.
    pub(crate) fn masquerade(
        &self,
        tuple: &Tuple,
        backend: Addr,
        via: Option<FrontendKind>,
        way: Way,
    ) -> Option<(Addr, bool)> {
        let node = &self.snapshot.parts.node;
        let client = tuple.src;
        if self.leaves_cluster(backend) {
            // Nobody outside knows the way back to a pod; nor to the base address.
            let ours = Some(client) == node.outside_for(client);
            return (!ours).then(|| self.own_source(backend)).flatten();
        }
        let asked = via.is_some_and(|via| {
            Masquerade::decide(&MasqueradeInput {
                client,
                endpoint: backend,
                via,
                external_policy: TrafficPolicy::Cluster,
                client_in_cluster: node.in_cluster(client),
                client_is_node: node.is_local(client),
                masquerade_all: false,
            })
            .is_needed()
        });
        // Pods answer to the base address; other addresses of the node are known to the underlay only.
        let from_node = node.addresses.contains(&client) && way != Way::Port(node.host_port);
        (asked || from_node).then(|| self.own_source(backend)).flatten()
    }
}
