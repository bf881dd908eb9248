//! Decides what the packet path is given for the model and the node's state at one moment. It never reads a file, a socket or a clock.

mod cluster;
mod endpoints;
mod fib;
mod forwarding;
mod ground;
mod inputs;
mod macs;
mod pods;
mod policies;
mod ports;
mod result;
mod service;
mod service_ranges;
mod services;
mod slots;
mod steering;
mod taken;

pub(crate) use forwarding::vtep_mac;
pub use inputs::{AttachedPod, FibRoute, HostPort, Inputs, Neighbour, Settings, Underlay, Uplink, UplinkPort};
pub use result::{Compiled, Reason, Report, Severity, SlotKeeper, Steering};

use crate::model::Store;
use ground::Ground;
use service::Context;
use sluice_lb::{EndpointSlot, ServiceSlot};
use sluice_snapshot::Parts;

/// Compiles again and again, keeping numbers stable and unchanged parts shared from one time to the next.
pub struct Compiler {
    ground: Option<Ground>,
    forwarding: forwarding::Memo,
    services: services::ServicesMemo,
    policies: policies::PoliciesMemo,
    /// For which ground and which places of services, and what.
    steered: ((u64, u64), (Steering, Vec<Report>)),
}

/// Nobody keeps state, so every slot can change hands.
struct NoKeeper;

impl SlotKeeper for NoKeeper {
    fn forget_service(&mut self, _: ServiceSlot) -> bool {
        true
    }

    fn forget_endpoint(&mut self, _: EndpointSlot) -> bool {
        true
    }
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new(Box::new(NoKeeper))
    }
}

impl Compiler {
    /// `keeper` is asked before a number of a service or endpoint changes hands.
    pub fn new(keeper: Box<dyn SlotKeeper>) -> Self {
        Self {
            ground: None,
            steered: Default::default(),
            forwarding: forwarding::Memo::default(),
            services: services::ServicesMemo::new(keeper),
            policies: policies::PoliciesMemo::default(),
        }
    }

    /// Everything for this moment. The caller has seen the store synced. What did not change is not looked at.
    ///
    /// # Errors
    /// This node's own record is missing or has no pod range: what was served before stays, the reports say why.
    pub fn compile(&mut self, store: &Store, inputs: &Inputs<'_>) -> Result<Compiled, Vec<Report>> {
        let same = self.ground.take_if(|ground| ground.still_holds(store, inputs));
        let ground = match same {
            Some(ground) => ground,
            None => Ground::make(self.ground.as_ref(), &mut self.forwarding, store, inputs)?,
        };
        let ground = &*self.ground.insert(ground);
        let context = Context::new(inputs.settings, &ground.service_ranges, &ground.own_prefixes);
        self.services.compile(store, context, &ground.prefixes);
        self.policies.compile(store, inputs.pods);
        if self.steered.0 != (ground.made, self.services.doors) {
            self.steered = (
                (ground.made, self.services.doors),
                steering::steering(inputs, ground, &self.services),
            );
        }
        let (steering, at_the_node) = self.steered.1.clone();
        let mut reports = ground.reports.clone();
        reports.extend(self.services.reports().chain(self.policies.reports()).cloned());
        reports.extend(at_the_node);
        reports.sort();
        reports.dedup();
        let parts = Parts {
            node: ground.node.clone(),
            ports: ground.ports.clone(),
            forwarding: ground.forwarding.clone(),
            services: self.services.services.clone(),
            policies: self.policies.policies.clone(),
        };
        Ok(Compiled {
            parts,
            steering,
            wanted_neighbours: ground.wanted.clone(),
            pod_mtu: ground.pod_mtu,
            own_ranges: ground.own_prefixes.clone(),
            reports,
        })
    }
}
