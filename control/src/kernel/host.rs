//! Decides how `sluice0`, the interface to the host's own stack, is set up: addresses, routes, parameters. It never
//! creates or removes it, and changes no parameter of another interface.
//!
//! Parameters that are set, and why: `rp_filter` 2 on `sluice0` (packets of pods come from sources that the host may
//! route otherwise; 2 also overrides a strict `all`); `accept_ra`, `accept_dad`, `dad_transmits` 0 on `sluice0`
//! (nobody else is there). Forwarding is left as it is: where pods must reach networks behind other interfaces of the
//! node, the administrator switches it on.

use super::pod::{GATEWAY_V4, GATEWAY_V6};
use super::requests::{self, OwnRoute, add_address, add_route, del_address, del_route, own_routes, raise};
use super::sysctl;
use netlink_packet_route::neighbour::NeighbourState;
use rtnetlink::Handle;
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr};
use std::collections::BTreeSet;

/// What `sluice0` should look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPlan {
    /// Base addresses of the own pod ranges: the source towards pods and services.
    pub bases: Vec<Addr>,
    /// Ranges that lie behind `sluice0`: pods of all nodes, and services.
    pub ranges: Vec<Prefix>,
    /// MAC that frames to pods and services are addressed to.
    pub gateway_mac: MacAddr,
    /// MTU, bytes.
    pub mtu: u16,
}

/// `sluice0`, as it was last set up.
pub struct Host {
    handle: Handle,
    name: String,
    ifindex: u32,
    applied: Option<HostPlan>,
    /// Something may have to be done again.
    stale: bool,
}

impl Host {
    /// For the interface of this name and index in the namespace that `handle` belongs to.
    pub fn new(handle: Handle, name: String, ifindex: u32) -> Self {
        Self {
            handle,
            name,
            ifindex,
            applied: None,
            stale: true,
        }
    }

    /// Brings the interface from whatever it is to the plan. Does nothing when the plan is the last one applied.
    ///
    /// # Errors
    /// The kernel refuses something. The next call does all of it again.
    pub async fn apply(&mut self, plan: &HostPlan) -> Result<(), String> {
        if self.applied.as_ref() == Some(plan) && !self.stale {
            return Ok(());
        }
        let about = |err: String| format!("{}: {err}", self.name);
        self.stale = true;
        self.parameters().map_err(about)?;
        raise(&self.handle, self.ifindex, Some(plan.mtu)).await.map_err(about)?;
        self.addresses(plan).await.map_err(about)?;
        self.gateways(plan).await.map_err(about)?;
        self.routes(plan).await.map_err(about)?;
        self.applied = Some(plan.clone());
        self.stale = false;
        Ok(())
    }

    /// The next [`Self::apply`] looks at everything again, in case somebody changed it.
    pub fn recheck(&mut self) {
        self.stale = true;
    }

    /// The last plan that came into force as a whole.
    pub fn applied(&self) -> Option<&HostPlan> {
        self.applied.as_ref()
    }

    /// Takes away routes and addresses; fine when the interface is gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn cleanup(&mut self) -> Result<(), String> {
        self.applied = None;
        let bare = HostPlan::default();
        self.routes(&bare).await?;
        self.addresses(&bare).await
    }

    fn parameters(&self) -> Result<(), String> {
        sysctl::write(&format!("ipv4/conf/{}/rp_filter", self.name), "2")?;
        if sysctl::ipv6_enabled(&self.name)? {
            for name in ["accept_ra", "accept_dad", "dad_transmits"] {
                sysctl::write(&format!("ipv6/conf/{}/{name}", self.name), "0")?;
            }
        }
        Ok(())
    }

    async fn addresses(&self, plan: &HostPlan) -> Result<(), String> {
        // Additions first: with the last address the kernel would take all routes of the interface.
        for addr in &plan.bases {
            add_address(&self.handle, self.ifindex, *addr)
                .await
                .map_err(|err| format!("cannot take the base address {addr}: {}", requests::text(&err)))?;
        }
        for addr in requests::lone_addresses(&self.handle, self.ifindex).await? {
            if !plan.bases.contains(&addr) {
                del_address(&self.handle, self.ifindex, addr).await?;
            }
        }
        Ok(())
    }

    /// One permanent neighbour per family stands for all pods and services, so that the host's neighbour table does
    /// not grow with the cluster.
    async fn gateways(&self, plan: &HostPlan) -> Result<(), String> {
        for base in &plan.bases {
            let gateway = gateway_for(*base);
            self.handle
                .neighbours()
                .add(self.ifindex, gateway.to_ip())
                .replace()
                .state(NeighbourState::Permanent)
                .link_layer_address(&plan.gateway_mac.0)
                .execute()
                .await
                .map_err(|err| format!("cannot set neighbour {gateway}: {}", requests::text(&err)))?;
        }
        Ok(())
    }

    async fn routes(&self, plan: &HostPlan) -> Result<(), String> {
        let wanted: BTreeSet<OwnRoute> = plan
            .ranges
            .iter()
            .filter_map(|range| route_for(range, &plan.bases))
            .collect();
        let there: BTreeSet<OwnRoute> = own_routes(&self.handle, self.ifindex).await?.into_iter().collect();
        // Additions first: a replaced route is one request, and a moved range is never without one.
        for route in wanted.difference(&there) {
            add_route(&self.handle, self.ifindex, route).await?;
        }
        let kept: BTreeSet<Prefix> = wanted.iter().map(|route| route.prefix).collect();
        for route in there.difference(&wanted).filter(|route| !kept.contains(&route.prefix)) {
            del_route(&self.handle, self.ifindex, route).await?;
        }
        Ok(())
    }
}

fn gateway_for(addr: Addr) -> Addr {
    if addr.is_v4() { GATEWAY_V4 } else { GATEWAY_V6 }
}

/// A range gets a route only where the node has a base address of its family to speak from.
fn route_for(range: &Prefix, bases: &[Addr]) -> Option<OwnRoute> {
    let source = *bases.iter().find(|base| base.is_v4() == range.is_v4())?;
    Some(OwnRoute {
        prefix: *range,
        gateway: Some(gateway_for(source)),
        source: Some(source),
    })
}
