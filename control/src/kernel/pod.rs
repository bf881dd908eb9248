//! Decides how a pod's interface is set up inside the pod's namespace. It never creates or removes the interface,
//! which is the packet side's.

use super::requests::{
    self, OwnRoute, add_address, add_route, del_address, del_route, link_by_name, own_routes, raise,
};
use super::{netns, sysctl};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr};
use std::path::Path;

/// Default gateway of pods, IPv4. Link-local, so that it takes nothing from the pod range; the packet path answers for
/// it.
pub const GATEWAY_V4: Addr = Addr::v4([169, 254, 1, 1]);
/// Default gateway of pods, IPv6.
pub const GATEWAY_V6: Addr = Addr::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// How a pod's interface should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// Its name.
    pub interface: String,
    /// Its addresses.
    pub addrs: Vec<Addr>,
    /// Its MTU, bytes.
    pub mtu: u16,
}

/// Sets the interface up: addresses, MTU, default routes, and the namespace's loopback. Repeating it changes nothing.
/// Returns what could not be done without being an error: a pod whose IPv6 is switched off gets IPv4 only.
///
/// # Errors
/// The namespace or the interface is not there, or the kernel refuses.
pub fn configure(path: &Path, plan: &PodPlan) -> Result<Vec<String>, String> {
    netns::with_netlink(path, |handle| async move {
        let mut warnings = Vec::new();
        let ifindex = index(&handle, &plan.interface, path).await?;
        // The packet path is the only router here, and the only neighbour.
        if sysctl::ipv6_enabled(&plan.interface)? {
            for (name, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("dad_transmits", "0")] {
                if let Err(err) = sysctl::write(&format!("ipv6/conf/{}/{name}", plan.interface), value) {
                    warnings.push(err);
                }
            }
        }
        raise(&handle, 1, None).await?;
        raise(&handle, ifindex, Some(plan.mtu)).await?;
        let mut routes = Vec::new();
        for addr in &plan.addrs {
            if !addr.is_v4() && !sysctl::ipv6_enabled(&plan.interface)? {
                warnings.push(format!(
                    "IPv6 is switched off in {}; the pod gets no {addr}",
                    path.display()
                ));
                continue;
            }
            add_address(&handle, ifindex, *addr).await.map_err(|err| {
                format!(
                    "cannot give {addr} to {} in {}: {}",
                    plan.interface,
                    path.display(),
                    requests::text(&err)
                )
            })?;
            routes.extend(routes_for(*addr));
        }
        for addr in requests::lone_addresses(&handle, ifindex).await? {
            if !plan.addrs.contains(&addr) {
                del_address(&handle, ifindex, addr).await?;
            }
        }
        for route in &routes {
            add_route(&handle, ifindex, route).await?;
        }
        for route in own_routes(&handle, ifindex).await? {
            if !routes.iter().any(|wanted| wanted.prefix == route.prefix) {
                del_route(&handle, ifindex, &route).await?;
            }
        }
        Ok(warnings)
    })
}

/// Takes the pod's addresses and routes from the interface; fine when namespace or interface are gone.
///
/// # Errors
/// The kernel refuses.
pub fn deconfigure(path: &Path, plan: &PodPlan) -> Result<(), String> {
    if netns::of(path).is_err() {
        return Ok(());
    }
    netns::with_netlink(path, |handle| async move {
        let Some(link) = link_by_name(&handle, &plan.interface).await? else {
            return Ok(());
        };
        let ifindex = link.header.index;
        for route in own_routes(&handle, ifindex).await? {
            del_route(&handle, ifindex, &route).await?;
        }
        for addr in &plan.addrs {
            del_address(&handle, ifindex, *addr).await?;
        }
        Ok(())
    })
}

/// What an interface name stands for in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No such interface.
    Nothing,
    /// A tap.
    Tap(Option<MacAddr>),
    /// Another kind of interface.
    Other,
}

/// Looks at an interface in a namespace.
///
/// # Errors
/// The namespace is not there, or the kernel refuses.
pub fn find(path: &Path, interface: &str) -> Result<Found, String> {
    netns::with_netlink(path, |handle| async move {
        let Some(link) = link_by_name(&handle, interface).await? else {
            return Ok(Found::Nothing);
        };
        let mut found = Found::Other;
        let mut mac = None;
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::LinkInfo(infos) if infos.contains(&LinkInfo::Kind(InfoKind::Tun)) => {
                    found = Found::Tap(None);
                }
                LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().ok().map(MacAddr),
                _ => {}
            }
        }
        Ok(if let Found::Tap(_) = found {
            Found::Tap(mac)
        } else {
            found
        })
    })
}

fn routes_for(addr: Addr) -> Vec<OwnRoute> {
    let (gateway, all) = if addr.is_v4() {
        (GATEWAY_V4, Prefix::new(Addr::v4([0; 4]), 0))
    } else {
        (GATEWAY_V6, Prefix::new(Addr::v6([0; 16]), 0))
    };
    let default = all.map(|prefix| OwnRoute {
        prefix,
        gateway: Some(gateway),
        source: Some(addr),
    });
    // The IPv4 gateway lies in no subnet of the pod; some programs refuse a default route whose gateway has no route.
    let link = addr.is_v4().then(|| OwnRoute {
        prefix: Prefix::host(gateway),
        gateway: None,
        source: None,
    });
    link.into_iter().chain(default).collect()
}

async fn index(handle: &rtnetlink::Handle, name: &str, path: &Path) -> Result<u32, String> {
    let link = link_by_name(handle, name).await?;
    link.map(|link| link.header.index)
        .ok_or_else(|| format!("there is no interface {name} in {}", path.display()))
}
