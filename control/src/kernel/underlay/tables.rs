//! The kernel's tables as last read, kept up with notifications.

use crate::compile::{FibRoute, Neighbour, Underlay, Uplink};
use crate::kernel::requests::{destination, gateway, gateway_of, local_address, preferred_source, text};
use futures::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;
use sluice_wire::{Addr, MacAddr};
use std::collections::BTreeMap;

/// Which tables have to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dirty {
    links: bool,
    addresses: bool,
    routes: bool,
    neighbours: bool,
}

impl Dirty {
    pub(super) const ALL: Self = Self {
        links: true,
        addresses: true,
        routes: true,
        neighbours: true,
    };
    pub(super) const NONE: Self = Self {
        links: false,
        addresses: false,
        routes: false,
        neighbours: false,
    };
}

#[derive(Clone, Debug, PartialEq)]
struct LinkState {
    name: String,
    mac: MacAddr,
    mtu: u32,
    up: bool,
    loopback: bool,
}

/// What was read. Neighbours are kept up message by message; other tables change seldom, and are read again as a
/// whole.
#[derive(Debug, Default)]
pub(super) struct Tables {
    links: BTreeMap<u32, LinkState>,
    addresses: Vec<(u32, Addr)>,
    routes: Vec<FibRoute>,
    neighbours: BTreeMap<(u32, Addr), MacAddr>,
}

impl Tables {
    /// Reads the tables that are dirty.
    pub(super) async fn read(&mut self, handle: &Handle, dirty: Dirty) -> Result<(), String> {
        let failed = |what: &'static str| {
            move |err: rtnetlink::Error| format!("cannot read the kernel's {what}: {}", text(&err))
        };
        if dirty.links {
            let mut links = Box::pin(handle.link().get().execute());
            self.links.clear();
            while let Some(message) = links.try_next().await.map_err(failed("links"))? {
                self.links.insert(message.header.index, link_state(&message));
            }
        }
        if dirty.addresses {
            let mut addresses = Box::pin(handle.address().get().execute());
            self.addresses.clear();
            while let Some(message) = addresses.try_next().await.map_err(failed("addresses"))? {
                self.addresses
                    .extend(usable_address(&message).map(|addr| (message.header.index, addr)));
            }
        }
        if dirty.routes {
            self.routes.clear();
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                let mut query = RouteMessage::default();
                query.header.address_family = family;
                let mut routes = Box::pin(handle.route().get(query).execute());
                while let Some(message) = routes.try_next().await.map_err(failed("routes"))? {
                    self.routes.extend(fib_route(&message));
                }
            }
        }
        if dirty.neighbours {
            let mut neighbours = Box::pin(handle.neighbours().get().execute());
            self.neighbours.clear();
            while let Some(message) = neighbours.try_next().await.map_err(failed("neighbours"))? {
                self.neighbour(&message, true);
            }
        }
        Ok(())
    }

    /// Takes a notification in; whether anything may differ now.
    pub(super) fn notice(&mut self, message: &RouteNetlinkMessage, dirty: &mut Dirty) -> bool {
        use RouteNetlinkMessage as M;
        match message {
            M::NewNeighbour(neighbour) => self.neighbour(neighbour, true),
            M::DelNeighbour(neighbour) => self.neighbour(neighbour, false),
            M::NewAddress(_) | M::DelAddress(_) => {
                // IPv4 routes come and go with addresses, not all of them announced.
                dirty.addresses = true;
                dirty.routes = true;
                true
            }
            M::NewRoute(_) | M::DelRoute(_) => {
                dirty.routes = true;
                true
            }
            M::NewLink(link) if self.links.get(&link.header.index) == Some(&link_state(link)) => false,
            other if super::is_link(other) => {
                *dirty = Dirty::ALL;
                true
            }
            _ => false,
        }
    }

    fn neighbour(&mut self, message: &NeighbourMessage, present: bool) -> bool {
        let Some((addr, mac)) = neighbour_address(message) else {
            return false;
        };
        let key = (message.header.ifindex, addr);
        use NeighbourState as S;
        let usable = matches!(
            message.header.state,
            S::Reachable | S::Stale | S::Delay | S::Probe | S::Permanent
        );
        match mac.filter(|mac| present && usable && !mac.is_group() && *mac != MacAddr::default()) {
            Some(mac) => self.neighbours.insert(key, mac) != Some(mac),
            None => self.neighbours.remove(&key).is_some(),
        }
    }

    /// The tables as the compiler takes them.
    pub(super) fn underlay(&self, uplink: &str, ignored: &[String]) -> Underlay {
        let visible = |ifindex: u32| {
            self.links
                .get(&ifindex)
                .is_some_and(|l| !l.loopback && !ignored.contains(&l.name))
        };
        // What routers announce for a node lies there often, and is reached from elsewhere like any other address.
        let loopback = |ifindex: u32| self.links.get(&ifindex).is_some_and(|link| link.loopback);
        let found = self.links.iter().find(|(_, link)| link.name == uplink);
        Underlay {
            addresses: self
                .addresses
                .iter()
                .filter(|(ifindex, addr)| visible(*ifindex) || (loopback(*ifindex) && !addr.to_ip().is_loopback()))
                .copied()
                .collect(),
            routes: self
                .routes
                .iter()
                .filter(|route| visible(route.ifindex))
                .cloned()
                .collect(),
            neighbours: self
                .neighbours
                .iter()
                .filter(|((ifindex, _), _)| visible(*ifindex))
                .map(|((ifindex, addr), mac)| Neighbour {
                    ifindex: *ifindex,
                    addr: *addr,
                    mac: *mac,
                })
                .collect(),
            uplink: match found {
                Some((ifindex, link)) => Uplink {
                    ifindex: *ifindex,
                    name: link.name.clone(),
                    mac: link.mac,
                    mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
                    up: link.up,
                },
                None => Uplink {
                    name: uplink.to_owned(),
                    ..Uplink::default()
                },
            },
        }
    }
}

fn link_state(message: &LinkMessage) -> LinkState {
    let flags = message.header.flags;
    let mut state = LinkState {
        name: String::new(),
        mac: MacAddr::default(),
        mtu: 0,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => state.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => state.mtu = *mtu,
            LinkAttribute::Address(bytes) => state.mac = mac(bytes).unwrap_or_default(),
            _ => {}
        }
    }
    state
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

/// The address of an interface, unless it is link-local or not yet (or never) to be used.
fn usable_address(message: &AddressMessage) -> Option<Addr> {
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())));
    let waiting = flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
    if waiting || flags.contains(AddressFlags::Dadfailed) {
        return None;
    }
    local_address(message).filter(|addr| !is_link_local_v6(*addr))
}

/// A unicast route of the main table; of several next hops the first live one.
fn fib_route(message: &RouteMessage) -> Option<FibRoute> {
    let header = &message.header;
    let table = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let main = table.unwrap_or(u32::from(header.table)) == u32::from(RouteHeader::RT_TABLE_MAIN);
    if !main || header.kind != RouteType::Unicast || header.flags.intersects(RouteFlags::Cloned | RouteFlags::Dead) {
        return None;
    }
    let prefix = destination(message)?;
    if is_link_local_v6(prefix.base()) && prefix.family_len() > 0 {
        return None;
    }
    let mut hop = None;
    let mut metric = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => hop = Some((*ifindex, gateway(message))),
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::MultiPath(hops) if hop.is_none() => {
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                let live = hops.iter().find(|hop| !hop.flags.intersects(dead));
                hop = live
                    .or(hops.first())
                    .map(|hop| (hop.interface_index, gateway_of(&hop.attributes)));
            }
            _ => {}
        }
    }
    let (ifindex, gateway) = hop?;
    Some(FibRoute {
        prefix,
        gateway,
        ifindex,
        metric,
        pref_src: preferred_source(message),
    })
}

fn neighbour_address(message: &NeighbourMessage) -> Option<(Addr, Option<MacAddr>)> {
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let mut addr = None;
    let mut link = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => addr = Some(Addr::from(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => addr = Some(Addr::from(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => link = mac(bytes),
            _ => {}
        }
    }
    Some((addr.filter(|addr| !addr.is_multicast_or_broadcast())?, link))
}

/// fe80::/10.
fn is_link_local_v6(addr: Addr) -> bool {
    !addr.is_v4() && addr.octets()[0] == 0xfe && addr.octets()[1] & 0xc0 == 0x80
}
