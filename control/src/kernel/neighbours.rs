//! Decides which neighbours the kernel keeps resolved for us: next hops all the time, other addresses once when a
//! packet asks for them. It never answers or sends ARP or NDP itself.

use super::requests::{errno, family, text};
use crate::compile::{Underlay, Uplink};
use futures::TryStreamExt;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{Error, Handle};
use sluice_wire::{Addr, MacAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// An address is asked for at most this often.
const AGAIN: Duration = Duration::from_secs(1);
/// Addresses that are asked for within [`AGAIN`]; more are not asked for, so that a scan of a large on-link range
/// cannot flood the link or the kernel's table.
const MOST: usize = 128;

/// The neighbours that are kept resolved, and those asked for lately.
pub struct Neighbours {
    handle: Handle,
    kept: BTreeSet<(u32, Addr)>,
    /// Index, MAC and state of the uplink that they were asked for at.
    at: (u32, MacAddr, bool),
    /// The kernel does not know managed neighbours (before 5.16): they are asked for again and again instead.
    unmanaged: bool,
    asked: BTreeMap<Addr, Instant>,
}

impl Neighbours {
    /// Keeps nothing yet. `handle` belongs to the namespace of the uplink.
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            kept: BTreeSet::new(),
            at: Default::default(),
            unmanaged: false,
            asked: BTreeMap::new(),
        }
    }

    /// The same, without what only Linux 5.16 and newer can do.
    #[must_use]
    pub fn unmanaged(self, unmanaged: bool) -> Self {
        Self { unmanaged, ..self }
    }

    /// Tells what the uplink is now. When it goes down, loses its carrier or gets another MAC, the kernel forgets its
    /// neighbours (`neigh_changeaddr`, `neigh_carrier_down`): all of them are asked for anew then.
    pub fn uplink_is(&mut self, uplink: &Uplink) {
        let at = (uplink.ifindex, uplink.mac, uplink.up);
        if at != self.at {
            self.at = at;
            self.kept.clear();
            self.asked.clear();
        }
    }

    /// From now on keeps exactly these resolved (interface index, address).
    ///
    /// # Errors
    /// The kernel refuses; what could be done is done, and the next call tries the rest again.
    pub async fn keep(&mut self, wanted: &[(u32, Addr)]) -> Result<(), String> {
        let wanted: BTreeSet<_> = wanted.iter().copied().collect();
        let mut problems = Vec::new();
        for key in self.kept.difference(&wanted).copied().collect::<Vec<_>>() {
            self.kept.remove(&key);
            if let Err(err) = self.forget(key).await {
                problems.push(err);
            }
        }
        let new: Vec<_> = wanted.difference(&self.kept).copied().collect();
        if !new.is_empty() {
            // A managed entry loses its permanence, and what an administrator made permanent is not ours to change.
            let permanent = self.permanent().await?;
            for key in new.into_iter().filter(|key| !permanent.contains(key)) {
                match self.resolve(key, true).await {
                    Ok(()) => _ = self.kept.insert(key),
                    Err(err) => problems.push(format!("cannot keep next hop {} resolved: {}", key.1, text(&err))),
                }
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.join("; "))
        }
    }

    /// Starts resolving those kept ones that are not resolved; to be called every second. With `all`, every one of them is
    /// asked for again: an entry that somebody flushed may be back because the kernel itself needed it, but unmanaged, and
    /// nobody would find out when it changes. What is managed already stays as it is.
    pub async fn refresh(&mut self, underlay: &Underlay, all: bool) {
        let resolved: BTreeSet<_> = underlay.neighbours.iter().map(|n| (n.ifindex, n.addr)).collect();
        for key in self.kept.clone() {
            if (all || !resolved.contains(&key))
                && let Err(err) = self.resolve(key, true).await
            {
                tracing::debug!("cannot ask for next hop {}: {}", key.1, text(&err));
            }
        }
    }

    /// A packet waits for this address: asks the kernel to resolve it, if it is on the uplink's link and was not asked
    /// for just now. Whether it was asked for.
    pub async fn ask(&mut self, addr: Addr, underlay: &Underlay, now: Instant) -> bool {
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        if self.asked.len() >= MOST || self.asked.contains_key(&addr) || !is_on_uplink(addr, underlay) {
            return false;
        }
        self.asked.insert(addr, now);
        match self.resolve((underlay.uplink.ifindex, addr), false).await {
            Ok(()) => true,
            Err(err) => {
                tracing::debug!("cannot ask for neighbour {addr}: {}", text(&err));
                false
            }
        }
    }

    /// Lets go of all that is kept; the kernel resolves them again for itself when it needs them.
    pub async fn cleanup(&mut self) {
        for key in std::mem::take(&mut self.kept) {
            if let Err(err) = self.forget(key).await {
                tracing::warn!("{err}");
            }
        }
    }

    async fn resolve(&mut self, (ifindex, addr): (u32, Addr), keep: bool) -> Result<(), Error> {
        if keep && !self.unmanaged {
            let mut request = self
                .handle
                .neighbours()
                .add(ifindex, addr.to_ip())
                .replace()
                .state(NeighbourState::None);
            request
                .message_mut()
                .attributes
                .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
            match request.execute().await {
                Err(err) if [libc::EINVAL, libc::EOPNOTSUPP].contains(&errno(&err)) => {
                    tracing::info!(
                        "the kernel cannot manage neighbours (needs Linux 5.16); next hops are asked for every few seconds"
                    );
                    self.unmanaged = true;
                }
                other => return other,
            }
        }
        let request = self.handle.neighbours().add(ifindex, addr.to_ip()).replace();
        request
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .execute()
            .await
    }

    async fn forget(&self, (ifindex, addr): (u32, Addr)) -> Result<(), String> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(addr);
        message.header.ifindex = ifindex;
        message
            .attributes
            .push(NeighbourAttribute::Destination(match addr.to_ip() {
                std::net::IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
                std::net::IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
            }));
        match self.handle.neighbours().del(message).execute().await {
            Err(err) if ![libc::ENOENT, libc::ENODEV, libc::ENXIO].contains(&errno(&err)) => {
                Err(format!("cannot let go of next hop {addr}: {}", text(&err)))
            }
            _ => Ok(()),
        }
    }

    async fn permanent(&self) -> Result<BTreeSet<(u32, Addr)>, String> {
        let mut out = BTreeSet::new();
        let mut list = Box::pin(self.handle.neighbours().get().execute());
        while let Some(message) = list
            .try_next()
            .await
            .map_err(|err| format!("cannot list neighbours: {}", text(&err)))?
        {
            if !matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp) {
                continue;
            }
            out.extend(message.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                    Some((message.header.ifindex, (*ip).into()))
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                    Some((message.header.ifindex, (*ip).into()))
                }
                _ => None,
            }));
        }
        Ok(out)
    }
}

/// Whether the kernel would send to `addr` straight over the uplink, or by it as a gateway there.
fn is_on_uplink(addr: Addr, underlay: &Underlay) -> bool {
    let uplink = underlay.uplink.ifindex;
    if uplink == 0 || addr.is_multicast_or_broadcast() || underlay.addresses.iter().any(|(_, own)| *own == addr) {
        return false;
    }
    if underlay
        .routes
        .iter()
        .any(|route| route.ifindex == uplink && route.gateway == Some(addr))
    {
        return true;
    }
    let matching = underlay.routes.iter().filter(|route| route.prefix.contains(addr));
    let best = matching.min_by_key(|route| (std::cmp::Reverse(route.prefix.bits()), route.metric));
    best.is_some_and(|route| route.ifindex == uplink && route.gateway.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{FibRoute, Uplink};

    fn route(prefix: &str, gateway: Option<&str>, ifindex: u32, metric: u32) -> FibRoute {
        let gateway = gateway.map(|text| text.parse::<std::net::IpAddr>().unwrap().into());
        FibRoute {
            prefix: prefix.parse().unwrap(),
            gateway,
            ifindex,
            metric,
            pref_src: None,
        }
    }

    #[test]
    fn only_addresses_on_the_uplinks_link_are_asked_for() {
        let underlay = Underlay {
            addresses: vec![(2, Addr::v4([192, 0, 2, 11]))],
            routes: vec![
                route("0.0.0.0/0", Some("192.0.2.1"), 2, 0),
                route("192.0.2.0/24", None, 2, 100),
                route("192.0.2.128/25", None, 3, 0),
                route("198.51.100.0/24", None, 2, 200),
                route("198.51.100.0/24", Some("192.0.2.9"), 2, 100),
                route("::/0", Some("fe80::1"), 2, 0),
            ],
            uplink: Uplink {
                ifindex: 2,
                ..Uplink::default()
            },
            ..Underlay::default()
        };
        let on = |text: &str| is_on_uplink(text.parse::<std::net::IpAddr>().unwrap().into(), &underlay);
        assert!(on("192.0.2.12") && on("192.0.2.1") && on("fe80::1"));
        assert!(!on("192.0.2.11"), "the node's own address");
        assert!(!on("192.0.2.200"), "on another interface's link");
        assert!(!on("8.8.8.8"), "behind the gateway");
        assert!(!on("198.51.100.7"), "the route with the lower metric has a gateway");
        assert!(!on("fe80::2") && !on("224.0.0.1"));
        assert!(!is_on_uplink(
            Addr::v4([192, 0, 2, 12]),
            &Underlay {
                uplink: Uplink::default(),
                ..underlay.clone()
            }
        ));
    }
}
