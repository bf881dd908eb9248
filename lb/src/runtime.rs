//! Decides what picks remember from one another: cursors, connection counts, affinity. It never holds configuration, so it
//! outlives every snapshot.
//!
//! Tables are indexed by the stable slots and do not grow. A slot beyond them is no error: its service takes turns at random and
//! has no affinity, its endpoint counts no connections.

use crate::affinity::{AffinityTable, Key, Remembered};
use crate::{Choice, EndpointSlot, Service, ServiceSlot};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use sluice_wire::Addr;

/// Affinity entries kept unless told otherwise: some 20 MB when all are in use.
const AFFINITY_CAPACITY: usize = 1 << 18;
const NS_PER_S: u64 = 1_000_000_000;

#[derive(Debug, Default)]
struct ServiceState {
    cursor: AtomicU64,
    epoch: AtomicU32,
}

#[derive(Debug, Default)]
struct EndpointState {
    connections: AtomicU32,
    epoch: AtomicU32,
}

/// The load balancer's state of one node, shared by all workers. Used for the first and the last packet of a connection only.
#[derive(Debug)]
pub struct Runtime {
    services: Box<[ServiceState]>,
    endpoints: Box<[EndpointState]>,
    affinity: AffinityTable,
}

impl Runtime {
    /// Tables for this many service and endpoint slots.
    pub fn new(services: usize, endpoints: usize) -> Self {
        Self::with_affinity_capacity(services, endpoints, AFFINITY_CAPACITY)
    }

    /// As [`Self::new`], with room for about this many pairs of client and service that are remembered.
    pub fn with_affinity_capacity(services: usize, endpoints: usize, affinity: usize) -> Self {
        Self {
            services: (0..services).map(|_| ServiceState::default()).collect(),
            endpoints: (0..endpoints).map(|_| EndpointState::default()).collect(),
            affinity: AffinityTable::new(affinity),
        }
    }

    /// The pick `choice` of `service` became a connection of `client`: renews the affinity, counts the connection. To be called once for each connection created, and [`Self::release`] once when it ends.
    pub fn commit(&self, service: &Service, choice: &Choice, client: Addr, now_ns: u64) {
        let state = self.services.get(service.slot().index());
        let Some(endpoint) = self.endpoints.get(choice.endpoint.index()) else {
            return;
        };
        endpoint.connections.fetch_add(1, Relaxed);
        if let (Some(state), Some(seconds)) = (state, service.affinity_s()) {
            let key = Key {
                service: service.slot(),
                service_epoch: state.epoch.load(Relaxed),
                client,
            };
            let value = Remembered {
                endpoint: choice.endpoint,
                endpoint_epoch: endpoint.epoch.load(Relaxed),
            };
            let until_ns = now_ns.saturating_add(u64::from(seconds) * NS_PER_S);
            self.affinity.renew(key, value, now_ns, until_ns, |old| {
                self.is_current(old) && service.index_of(old.endpoint).is_some()
            });
        }
    }

    /// A committed connection to `endpoint` ended.
    pub fn release(&self, endpoint: EndpointSlot) {
        if let Some(state) = self.endpoints.get(endpoint.index()) {
            // An unmatched release must not wrap to four billion connections; the error says that it was 0 already.
            let _ = state.connections.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Connections committed to `endpoint` and not yet released; 0 outside the table.
    pub fn connections(&self, endpoint: EndpointSlot) -> u32 {
        self.endpoints
            .get(endpoint.index())
            .map_or(0, |s| s.connections.load(Relaxed))
    }

    /// The turn that `service` stands at, which nobody else gets any more; `None` outside the table.
    pub(crate) fn take_turn(&self, service: ServiceSlot) -> Option<u64> {
        self.services
            .get(service.index())
            .map(|s| s.cursor.fetch_add(1, Relaxed))
    }

    /// Number of picks that moved the cursor of `service`; `None` outside the table.
    pub fn cursor(&self, service: ServiceSlot) -> Option<u64> {
        self.services.get(service.index()).map(|s| s.cursor.load(Relaxed))
    }

    /// Makes ready to give the slot to another service: that one starts from nothing. To be called after the grace
    /// period, when no worker can use the old service any more.
    pub fn forget_service(&self, service: ServiceSlot) {
        if let Some(state) = self.services.get(service.index()) {
            state.cursor.store(0, Relaxed);
            state.epoch.fetch_add(1, Relaxed);
        }
    }

    /// Makes ready to give the slot to another endpoint, which no client is then remembered at. Does nothing and returns false
    /// while connections to the old one are counted: their release would be taken for the new one's. To be called after
    /// the grace period.
    #[must_use]
    pub fn forget_endpoint(&self, endpoint: EndpointSlot) -> bool {
        let Some(state) = self.endpoints.get(endpoint.index()) else {
            return true;
        };
        if state.connections.load(Relaxed) > 0 {
            return false;
        }
        state.epoch.fetch_add(1, Relaxed);
        true
    }

    /// Looks at up to `budget` affinity entries and drops those whose time is up; returns how many it dropped. To be called
    /// regularly: each call goes on where the last one ended.
    pub fn age(&self, now_ns: u64, budget: usize) -> usize {
        self.affinity.age(now_ns, budget)
    }

    /// Pairs of client and service that are remembered, for metrics. Locks each shard in turn.
    pub fn affinity_entries(&self) -> usize {
        self.affinity.len()
    }

    /// The endpoint that `client` had at `service`, if its time is not up and its slot was not given away.
    pub(crate) fn remembered(&self, service: ServiceSlot, client: Addr, now_ns: u64) -> Option<EndpointSlot> {
        let service_epoch = self.services.get(service.index())?.epoch.load(Relaxed);
        let found = self.affinity.get(
            &Key {
                service,
                service_epoch,
                client,
            },
            now_ns,
        )?;
        self.is_current(&found).then_some(found.endpoint)
    }

    fn is_current(&self, remembered: &Remembered) -> bool {
        let state = self.endpoints.get(remembered.endpoint.index());
        state.is_some_and(|s| s.epoch.load(Relaxed) == remembered.endpoint_epoch)
    }
}
