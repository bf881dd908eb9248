//! The few netlink requests that control makes, each idempotent, with errors that say what was tried.

use futures::TryStreamExt;
use netlink_packet_core::ErrorMessage;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Error, Handle};
use sluice_snapshot::Prefix;
use sluice_wire::Addr;

/// Routes that Sluice installs carry this protocol number (`ip route show proto 115`), so that they can be told from
/// others'.
pub(super) const ROUTE_PROTOCOL: u8 = 115;

/// A netlink handle for the network namespace of the calling thread; its connection runs on the current runtime.
///
/// # Errors
/// The kernel refuses a socket.
pub fn connect() -> Result<Handle, String> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|err| format!("cannot open a netlink socket: {err}"))?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The errno of a netlink error, positive; 0 for other errors.
pub(crate) fn errno(error: &Error) -> i32 {
    match error {
        Error::NetlinkError(ErrorMessage { code: Some(code), .. }) => -code.get(),
        _ => 0,
    }
}

/// A netlink error as a person reads it.
pub(crate) fn text(error: &Error) -> String {
    match errno(error) {
        0 => error.to_string(),
        libc::EPERM => "operation not permitted (needs CAP_NET_ADMIN)".into(),
        code => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
    }
}

fn failed<'a>(what: impl FnOnce() -> String + 'a) -> impl FnOnce(Error) -> String + 'a {
    move |err| format!("cannot {}: {}", what(), text(&err))
}

/// `Ok` also where the error says that the thing was gone already.
fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(err) if [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL].contains(&errno(&err)) => Ok(()),
        other => other,
    }
}

/// The interface with this name; `None` when there is none.
pub(crate) async fn link_by_name(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, String> {
    match handle.link().get().match_name(name).execute().try_next().await {
        Ok(link) => Ok(link),
        Err(err) if errno(&err) == libc::ENODEV => Ok(None),
        Err(err) => Err(failed(|| format!("look up interface {name}"))(err)),
    }
}

/// The index of the interface with this name.
///
/// # Errors
/// There is none, or the kernel refuses.
pub async fn index_of(handle: &Handle, name: &str) -> Result<u32, String> {
    let link = link_by_name(handle, name).await?;
    link.map(|link| link.header.index)
        .ok_or_else(|| format!("there is no interface {name}"))
}

/// Sets the MTU (where one is given) and raises the interface.
pub(crate) async fn raise(handle: &Handle, ifindex: u32, mtu: Option<u16>) -> Result<(), String> {
    let mut link = rtnetlink::LinkUnspec::new_with_index(ifindex).up();
    if let Some(mtu) = mtu {
        link = link.mtu(mtu.into());
    }
    let what = || {
        format!(
            "raise interface {ifindex}{}",
            mtu.map_or(String::new(), |mtu| format!(" with MTU {mtu}"))
        )
    };
    handle.link().set(link.build()).execute().await.map_err(failed(what))
}

/// Gives the interface this address alone (/32 or /128), usable at once: nobody else may have it, so nobody is asked.
pub(crate) async fn add_address(handle: &Handle, ifindex: u32, addr: Addr) -> Result<(), Error> {
    let len = if addr.is_v4() { 32 } else { 128 };
    let mut request = handle.address().add(ifindex, addr.to_ip(), len).replace();
    if !addr.is_v4() {
        let message = request.message_mut();
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(
            AddressFlags::Nodad | AddressFlags::Noprefixroute,
        ));
    }
    request.execute().await
}

/// Takes an address away; fine when it is not there.
pub(crate) async fn del_address(handle: &Handle, ifindex: u32, addr: Addr) -> Result<(), String> {
    let mut message = AddressMessage::default();
    message.header.family = family(addr);
    message.header.prefix_len = if addr.is_v4() { 32 } else { 128 };
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::Local(addr.to_ip()));
    message.attributes.push(AddressAttribute::Address(addr.to_ip()));
    gone_is_fine(handle.address().del(message).execute().await)
        .map_err(failed(|| format!("remove address {addr} from interface {ifindex}")))
}

/// All addresses of an interface that are held alone (/32 or /128).
pub(crate) async fn lone_addresses(handle: &Handle, ifindex: u32) -> Result<Vec<Addr>, String> {
    let mut out = Vec::new();
    let mut list = Box::pin(handle.address().get().set_link_index_filter(ifindex).execute());
    while let Some(message) = list
        .try_next()
        .await
        .map_err(failed(|| format!("list addresses of interface {ifindex}")))?
    {
        if let Some(addr) = local_address(&message)
            && message.header.prefix_len == if addr.is_v4() { 32 } else { 128 }
        {
            out.push(addr);
        }
    }
    Ok(out)
}

/// The interface's own address in an address message.
pub(crate) fn local_address(message: &AddressMessage) -> Option<Addr> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => return Some((*ip).into()),
            AddressAttribute::Address(ip) => found = Some(Addr::from(*ip)),
            _ => {}
        }
    }
    found
}

/// A route that Sluice installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OwnRoute {
    /// Destinations.
    pub prefix: Prefix,
    /// Next hop, taken to be on the link.
    pub gateway: Option<Addr>,
    /// Preferred source.
    pub source: Option<Addr>,
}

impl OwnRoute {
    fn message(&self, ifindex: u32) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(self.prefix.base());
        message.header.destination_prefix_length = self.prefix.family_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
        message.header.kind = RouteType::Unicast;
        message.header.scope = if self.gateway.is_none() && self.prefix.is_v4() {
            RouteScope::Link
        } else {
            RouteScope::Universe
        };
        let attributes = &mut message.attributes;
        if self.prefix.family_len() > 0 {
            attributes.push(RouteAttribute::Destination(self.prefix.base().to_ip().into()));
        }
        attributes.push(RouteAttribute::Oif(ifindex));
        if let Some(gateway) = self.gateway {
            attributes.push(RouteAttribute::Gateway(gateway.to_ip().into()));
            message.header.flags |= RouteFlags::Onlink;
        }
        if let Some(source) = self.source {
            attributes.push(RouteAttribute::PrefSource(source.to_ip().into()));
        }
        message
    }
}

/// Installs a route, or replaces the one for the same destinations.
pub(crate) async fn add_route(handle: &Handle, ifindex: u32, route: &OwnRoute) -> Result<(), String> {
    let what = || format!("route {} by interface {ifindex}", route.prefix);
    handle
        .route()
        .add(route.message(ifindex))
        .replace()
        .execute()
        .await
        .map_err(failed(what))
}

/// Removes a route; fine when it is not there.
pub(crate) async fn del_route(handle: &Handle, ifindex: u32, route: &OwnRoute) -> Result<(), String> {
    gone_is_fine(handle.route().del(route.message(ifindex)).execute().await).map_err(failed(|| {
        format!("remove the route to {} by interface {ifindex}", route.prefix)
    }))
}

/// Routes by this interface that Sluice installed, in this run or an earlier one.
pub(crate) async fn own_routes(handle: &Handle, ifindex: u32) -> Result<Vec<OwnRoute>, String> {
    let mut out = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut query = RouteMessage::default();
        query.header.address_family = family;
        let mut list = Box::pin(handle.route().get(query).execute());
        while let Some(message) = list.try_next().await.map_err(failed(|| "list routes".into()))? {
            if message.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL)
                && message.attributes.contains(&RouteAttribute::Oif(ifindex))
                && let Some(prefix) = destination(&message)
            {
                out.push(OwnRoute {
                    prefix,
                    gateway: gateway(&message),
                    source: preferred_source(&message),
                });
            }
        }
    }
    Ok(out)
}

/// Destinations of a route; a default route names none.
pub(crate) fn destination(message: &RouteMessage) -> Option<Prefix> {
    let addr = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(addr) => Some(ip(addr)),
        _ => None,
    });
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => Addr::v4([0; 4]),
        AddressFamily::Inet6 => Addr::v6([0; 16]),
        _ => return None,
    };
    Prefix::new(
        addr.unwrap_or(Some(unspecified))?,
        message.header.destination_prefix_length,
    )
}

/// Next hop of a route that has one only.
pub(crate) fn gateway(message: &RouteMessage) -> Option<Addr> {
    gateway_of(&message.attributes)
}

pub(crate) fn gateway_of(attributes: &[RouteAttribute]) -> Option<Addr> {
    use netlink_packet_route::route::RouteVia;
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(addr) => ip(addr),
        RouteAttribute::Via(RouteVia::Inet(addr)) => Some((*addr).into()),
        RouteAttribute::Via(RouteVia::Inet6(addr)) => Some((*addr).into()),
        _ => None,
    })
}

/// Preferred source of a route.
pub(crate) fn preferred_source(message: &RouteMessage) -> Option<Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(addr) => ip(addr),
        _ => None,
    })
}

fn ip(addr: &RouteAddress) -> Option<Addr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

/// The netlink family of an address.
pub(crate) fn family(addr: Addr) -> AddressFamily {
    if addr.is_v4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}
