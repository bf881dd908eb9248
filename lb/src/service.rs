//! Decides who serves a client of one service port: the endpoint it had before, or the scheduler's choice. It never changes after
//! it was built, and a pick changes nothing.

use crate::{Endpoint, EndpointSlot, PickContext, Runtime, Scheduler, SchedulerKind, ServiceSlot};
use core::fmt;
use sluice_wire::Addr;

/// Most endpoints that one service port uses. With more, those with the highest addresses are left out.
pub const MAX_ENDPOINTS: usize = 1 << 16;

/// What people call a service port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// Namespace of the service.
    pub namespace: String,
    /// Name of the service.
    pub name: String,
    /// Name of the port; empty where a single port has none.
    pub port: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        if self.port.is_empty() {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

/// Everything a service is built from. Equal specs make equal services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Key of its runtime state. Services that share a slot (one port's internal and external endpoints, say) share
    /// cursor and affinity.
    pub slot: ServiceSlot,
    /// For display.
    pub name: ServiceName,
    /// How endpoints are chosen.
    pub scheduler: SchedulerKind,
    /// The usable endpoints, in any order.
    pub endpoints: Vec<Endpoint>,
    /// A client returns to its endpoint when its last connection began less than this many seconds ago; `None` for no affinity.
    pub affinity_s: Option<u32>,
}

impl ServiceSpec {
    /// The one form of all specs that mean the same: endpoints ordered by address and port, without those of weight 0, each
    /// address and port once (a local one first), at most [`MAX_ENDPOINTS`].
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.endpoints.retain(|e| e.weight > 0);
        self.endpoints.sort_by_key(|e| (e.addr, e.port, !e.local, e.slot));
        self.endpoints.dedup_by_key(|e| (e.addr, e.port));
        self.endpoints.truncate(MAX_ENDPOINTS);
        self
    }
}

/// One service port, ready to choose. Immutable; shared between snapshots by `Arc` for as long as its spec stays the same.
pub struct Service {
    spec: ServiceSpec,
    scheduler: Box<dyn Scheduler>,
    /// Slot and index of every endpoint, ordered by slot.
    by_slot: Box<[(EndpointSlot, u32)]>,
}

/// Who made a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// The client had this endpoint before.
    Affinity,
    /// The service's scheduler.
    Scheduler,
}

/// The outcome of a pick. But for the turn taken, it has no effect until [`Runtime::commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index into [`Service::endpoints`].
    pub index: usize,
    /// The endpoint's slot, for counting and for release.
    pub endpoint: EndpointSlot,
    /// Where the endpoint listens.
    pub addr: Addr,
    /// Port it listens on, host order.
    pub port: u16,
    /// It runs on this node.
    pub local: bool,
    /// Why this one.
    pub by: ChosenBy,
}

impl Service {
    /// Builds the service, with all tables that its scheduler needs, from the canonical form of `spec`.
    pub fn new(spec: ServiceSpec) -> Self {
        let spec = spec.canonical();
        let scheduler = spec.scheduler.build(&spec.endpoints);
        let mut by_slot: Box<[_]> = spec.endpoints.iter().map(|e| e.slot).zip(0..).collect();
        by_slot.sort_unstable();
        Self {
            spec,
            scheduler,
            by_slot,
        }
    }

    /// The canonical spec it was built from.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Whether building from `spec` would give this very service again.
    pub fn matches(&self, spec: &ServiceSpec) -> bool {
        self.spec == *spec || self.spec == spec.clone().canonical()
    }

    /// Key of the runtime state.
    pub fn slot(&self) -> ServiceSlot {
        self.spec.slot
    }

    /// For display.
    pub fn name(&self) -> &ServiceName {
        &self.spec.name
    }

    /// How endpoints are chosen.
    pub fn scheduler(&self) -> SchedulerKind {
        self.spec.scheduler
    }

    /// Seconds of client affinity, if any.
    pub fn affinity_s(&self) -> Option<u32> {
        self.spec.affinity_s
    }

    /// The usable endpoints, ordered by address and port.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.spec.endpoints
    }

    /// Index of the endpoint with this slot, if it is one of ours.
    pub fn index_of(&self, slot: EndpointSlot) -> Option<usize> {
        let at = self.by_slot.binary_search_by_key(&slot, |(s, _)| *s).ok()?;
        Some(self.by_slot[at].1 as usize)
    }

    /// Chooses an endpoint for a new connection, by affinity first; `None` when there is no endpoint. Free of side effects.
    /// `ctx.service` is taken to be this service.
    pub fn pick(&self, ctx: &PickContext, runtime: &Runtime) -> Option<Choice> {
        let ctx = PickContext {
            service: self.spec.slot,
            ..*ctx
        };
        if let Some(index) = self.remembered(&ctx, runtime) {
            return self.choice(index, ChosenBy::Affinity);
        }
        self.choice(
            self.scheduler.pick(&ctx, &self.spec.endpoints, runtime)?,
            ChosenBy::Scheduler,
        )
    }

    fn remembered(&self, ctx: &PickContext, runtime: &Runtime) -> Option<usize> {
        self.spec.affinity_s?;
        self.index_of(runtime.remembered(self.spec.slot, ctx.tuple.src, ctx.now_ns)?)
    }

    fn choice(&self, index: usize, by: ChosenBy) -> Option<Choice> {
        let e = self.spec.endpoints.get(index)?;
        Some(Choice {
            index,
            endpoint: e.slot,
            addr: e.addr,
            port: e.port,
            local: e.local,
            by,
        })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.spec).finish()
    }
}
