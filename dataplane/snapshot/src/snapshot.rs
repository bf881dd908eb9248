//! One generation, and what changed from the one before.

use crate::{Forwarding, Node, PortTable, Services, Stamps, dep};
use hashbrown::HashMap;
use sluice_policy::{Addresses, PodPolicy};
use sluice_wire::{Addr, Generation, PortSlot};
use std::sync::{Arc, Weak};

/// Policies of the pods of this node, and who is who.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Compiled policy by port slot; `None` where nothing isolates the pod.
    pub pods: HashMap<PortSlot, Arc<PodPolicy>>,
    /// Identity of every pod address of the cluster.
    pub identities: Arc<Addresses>,
    /// What they differ from others by, if that is known: then not all have to be compared.
    pub moved: Option<Moved>,
}

/// Identities that differ from others at few addresses.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The others, which may be gone.
    pub from: Weak<Addresses>,
    /// The addresses.
    pub addrs: Arc<[Addr]>,
}

/// The parts a generation is made of. Unchanged parts are shared with the generation before.
#[derive(Clone, Debug)]
pub struct Parts {
    /// This node.
    pub node: Arc<Node>,
    /// Its ports.
    pub ports: Arc<PortTable>,
    /// Routes, peers, adjacencies.
    pub forwarding: Arc<Forwarding>,
    /// Services.
    pub services: Arc<Services>,
    /// Policies.
    pub policies: Arc<Policies>,
}

/// The immutable configuration of one generation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// What it holds.
    pub parts: Parts,
    /// What changed when.
    pub stamps: Stamps,
}

impl Snapshot {
    /// The first generation.
    pub fn first(parts: Parts) -> Self {
        let generation = Generation(1);
        Self {
            generation,
            parts,
            stamps: Stamps::new(generation),
        }
    }

    /// The generation after this one, with every difference stamped; `None` when there is no difference.
    pub fn successor(&self, parts: Parts) -> Option<Self> {
        let mut next = Self {
            generation: Generation(self.generation.0 + 1),
            parts,
            stamps: self.stamps.clone(),
        };
        let mut changed = next.stamp_node(&self.parts);
        changed |= next.stamp_ports(&self.parts);
        changed |= next.stamp_forwarding(&self.parts);
        changed |= next.stamp_services(&self.parts);
        changed |= next.stamp_policies(&self.parts);
        changed.then_some(next)
    }

    fn stamp_node(&mut self, old: &Parts) -> bool {
        if Arc::ptr_eq(&self.parts.node, &old.node) || self.parts.node == old.node {
            return false;
        }
        // Cluster prefixes decide only who is masqueraded to outside; other fields touch everything.
        self.stamps.touch_all(self.generation);
        true
    }

    fn stamp_ports(&mut self, old: &Parts) -> bool {
        let new = self.parts.ports.clone();
        if Arc::ptr_eq(&new, &old.ports) {
            return false;
        }
        let mut changed = false;
        for slot in (0..new.len().max(old.ports.len())).map(|i| PortSlot(i as u16)) {
            let (before, after) = (old.ports.get(slot), new.get(slot));
            if before == after {
                continue;
            }
            changed = true;
            self.stamps.touch(dep::policy(slot), self.generation);
            for addr in before.into_iter().chain(after).flat_map(|p| p.pod_addrs()) {
                self.stamps.touch(dep::address(*addr), self.generation);
            }
        }
        changed
    }

    fn stamp_forwarding(&mut self, old: &Parts) -> bool {
        let new = self.parts.forwarding.clone();
        if Arc::ptr_eq(&new, &old.forwarding) || new == old.forwarding {
            return false;
        }
        // Which sources a peer may use.
        for (slot, peer) in new.peers().chain(old.forwarding.peers()) {
            let prefixes = |of: &crate::Forwarding| of.peer(slot).map(|p| p.prefixes.clone());
            if prefixes(&new) != prefixes(&old.forwarding) {
                for prefix in &peer.prefixes {
                    self.stamps.touch(dep::route(prefix), self.generation);
                }
            }
        }
        let prefixes = new.routes().chain(old.forwarding.routes()).map(|(prefix, _)| prefix);
        for prefix in prefixes {
            if new.exact(&prefix) == old.forwarding.exact(&prefix) {
                continue;
            }
            self.stamps.touch(dep::route(&prefix), self.generation);
            if prefix.bits() == 128 {
                self.stamps.touch(dep::address(prefix.base()), self.generation);
            }
            // Flows that this prefix takes over, or leaves behind, were decided by the prefix around it.
            for parent in [new.parent(&prefix), old.forwarding.parent(&prefix)]
                .into_iter()
                .flatten()
            {
                if prefix.bits() != 128 {
                    self.stamps.touch(dep::route(&parent), self.generation);
                }
            }
        }
        true
    }

    fn stamp_services(&mut self, old: &Parts) -> bool {
        let new = self.parts.services.clone();
        if Arc::ptr_eq(&new, &old.services) {
            return false;
        }
        let mut changed = new.endpoints() != old.services.endpoints();
        for (addr, _) in new.endpoints().joined_or_left(old.services.endpoints()) {
            self.stamps.touch(dep::endpoint(addr), self.generation);
        }
        for i in 0..new.slot_count().max(old.services.slot_count()) {
            let slot = sluice_lb::ServiceSlot(i as u32);
            let same = match (new.get(slot), old.services.get(slot)) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.spec() == b.spec(),
                (None, None) => true,
                _ => false,
            };
            if !same {
                changed = true;
                self.stamps.touch(dep::service(slot), self.generation);
            }
        }
        if new.shares_doors(&old.services) {
            return changed;
        }
        for (frontend, _) in new.frontends().chain(old.services.frontends()) {
            if new.frontend_slot(frontend) != old.services.frontend_slot(frontend) {
                changed = true;
                self.stamps.touch(dep::address(frontend.addr), self.generation);
            }
        }
        for (proto, port, v4, _) in new.node_ports().chain(old.services.node_ports()) {
            if new.node_port_slot(proto, port, v4) != old.services.node_port_slot(proto, port, v4) {
                changed = true;
                self.stamps.touch(dep::node_port(port), self.generation);
            }
        }
        changed
    }

    fn stamp_policies(&mut self, old: &Parts) -> bool {
        let new = self.parts.policies.clone();
        if Arc::ptr_eq(&new, &old.policies) {
            return false;
        }
        let mut changed = false;
        for slot in new.pods.keys().chain(old.policies.pods.keys()) {
            if new.pods.get(slot) != old.policies.pods.get(slot) {
                changed = true;
                self.stamps.touch(dep::policy(*slot), self.generation);
            }
        }
        if Arc::ptr_eq(&new.identities, &old.policies.identities) {
            return changed;
        }
        let mut look = |addr: &Addr| {
            if new.identities.get(addr) != old.policies.identities.get(addr) {
                changed = true;
                self.stamps.touch(dep::address(*addr), self.generation);
            }
        };
        match &new.moved {
            Some(moved) if moved.from.as_ptr() == Arc::as_ptr(&old.policies.identities) => {
                moved.addrs.iter().for_each(&mut look);
            }
            _ => new
                .identities
                .keys()
                .chain(old.policies.identities.keys())
                .for_each(&mut look),
        }
        changed
    }
}
