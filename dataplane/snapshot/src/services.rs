//! Service addresses and what stands behind them.

use crate::EndpointIndex;
use hashbrown::{HashMap, HashSet};
use sluice_lb::{Frontend, Service, ServiceSlot};
use sluice_wire::{Addr, Proto};
use std::sync::Arc;

/// All services of one generation, a slot for each service port. Clones share what they do not change.
#[derive(Clone, Debug, Default)]
pub struct Services {
    doors: Arc<Doors>,
    slots: Vec<Option<Arc<Service>>>,
    endpoints: EndpointIndex,
}

/// Where services are reached.
#[derive(Clone, Debug, Default)]
struct Doors {
    frontends: HashMap<Frontend, ServiceSlot>,
    /// One for each family: endpoints are of one family.
    node_ports: HashMap<(Proto, u16, bool), ServiceSlot>,
    addresses: HashSet<Addr>,
    /// The first address that each became reachable by.
    names: HashMap<ServiceSlot, Addr>,
}

impl Services {
    /// Puts a service port into its slot.
    pub fn set(&mut self, slot: ServiceSlot, service: Arc<Service>) {
        let index = slot.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        self.slots[index] = Some(service);
    }

    /// Makes a service reachable; false when the frontend is another's already, which stays.
    pub fn add_frontend(&mut self, frontend: Frontend, slot: ServiceSlot) -> bool {
        let doors = Arc::make_mut(&mut self.doors);
        doors.addresses.insert(frontend.addr);
        doors.names.entry(slot).or_insert(frontend.addr);
        *doors.frontends.entry(frontend).or_insert(slot) == slot
    }

    /// Makes a service reachable by a port of every node address of one family; false when the port is another's already,
    /// which stays.
    pub fn add_node_port(&mut self, proto: Proto, port: u16, v4: bool, slot: ServiceSlot) -> bool {
        let doors = Arc::make_mut(&mut self.doors);
        *doors.node_ports.entry((proto, port, v4)).or_insert(slot) == slot
    }

    /// Says who stands behind which TCP service, usable or not.
    pub fn set_endpoints(&mut self, endpoints: EndpointIndex) {
        self.endpoints = endpoints;
    }

    /// Who stands behind which TCP service, usable or not.
    pub fn endpoints(&self) -> &EndpointIndex {
        &self.endpoints
    }

    /// The service behind a frontend.
    pub fn lookup(&self, frontend: &Frontend) -> Option<&Arc<Service>> {
        self.get(*self.doors.frontends.get(frontend)?)
    }

    /// The service behind a node port.
    pub fn node_port(&self, proto: Proto, port: u16, v4: bool) -> Option<&Arc<Service>> {
        self.get(*self.doors.node_ports.get(&(proto, port, v4))?)
    }

    /// The address of the service in this slot.
    pub fn address_of(&self, slot: ServiceSlot) -> Option<Addr> {
        self.doors.names.get(&slot).copied()
    }

    /// Whether any service has this address.
    pub fn is_service_address(&self, addr: Addr) -> bool {
        self.doors.addresses.contains(&addr)
    }

    /// The service in this slot.
    pub fn get(&self, slot: ServiceSlot) -> Option<&Arc<Service>> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    /// All services.
    pub fn iter(&self) -> impl Iterator<Item = (ServiceSlot, &Arc<Service>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(i, s)| Some((ServiceSlot(i as u32), s.as_ref()?)))
    }

    /// All frontends, in no order.
    pub fn frontends(&self) -> impl Iterator<Item = (&Frontend, ServiceSlot)> {
        self.doors.frontends.iter().map(|(f, s)| (f, *s))
    }

    /// All node ports (protocol, port, whether for IPv4), in no order.
    pub fn node_ports(&self) -> impl Iterator<Item = (Proto, u16, bool, ServiceSlot)> {
        self.doors
            .node_ports
            .iter()
            .map(|((proto, port, v4), s)| (*proto, *port, *v4, *s))
    }

    pub(crate) fn frontend_slot(&self, frontend: &Frontend) -> Option<ServiceSlot> {
        self.doors.frontends.get(frontend).copied()
    }

    pub(crate) fn node_port_slot(&self, proto: Proto, port: u16, v4: bool) -> Option<ServiceSlot> {
        self.doors.node_ports.get(&(proto, port, v4)).copied()
    }

    /// Whether both are reached at the same places because nothing about that was changed; false says nothing.
    pub(crate) fn shares_doors(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.doors, &other.doors)
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }
}
