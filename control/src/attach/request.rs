//! What an attach request must satisfy, whoever sends it.

use crate::api::AttachRequest;
use crate::kernel::netns::{self, NetnsId};
use sluice_snapshot::Prefix;
use sluice_wire::Addr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An attach request that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Path of the namespace.
    pub netns: PathBuf,
    /// Which namespace it leads to.
    pub id: NetnsId,
    /// Name of the interface.
    pub interface: String,
    /// Addresses, one or two, IPv4 first.
    pub addrs: Vec<Addr>,
    /// `namespace/name`.
    pub pod: String,
}

/// Checks everything about a request that does not depend on other attachments. `own` are the pod ranges of this node.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn check(request: &AttachRequest, own: &[Prefix]) -> Result<Wanted, String> {
    check_pod(&request.pod)?;
    check_interface(&request.interface)?;
    let addrs = addresses(&request.addresses, own)?;
    let id = check_netns(&request.netns)?;
    Ok(Wanted {
        netns: request.netns.clone(),
        id,
        interface: request.interface.clone(),
        addrs,
        pod: request.pod.clone(),
    })
}

fn check_netns(path: &Path) -> Result<NetnsId, String> {
    const LONGEST: usize = 4096;
    if !path.is_absolute() || path.as_os_str().len() > LONGEST {
        return Err(format!(
            "netns `{}` must be an absolute path of at most {LONGEST} bytes",
            shown(&path.to_string_lossy())
        ));
    }
    let id = netns::of(path)?;
    if id == NetnsId::current()? {
        return Err(format!(
            "{} is the node's own network namespace; a pod with hostNetwork is not attached",
            path.display()
        ));
    }
    Ok(id)
}

/// The kernel's rules (`dev_valid_name`), and no `%`, which the kernel takes for a pattern.
pub(super) fn check_interface(name: &str) -> Result<(), String> {
    let ok = (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
        && !matches!(name, "." | ".." | "lo" | "all" | "default");
    if ok {
        return Ok(());
    }
    Err(format!(
        "interface name `{}` cannot be used: want 1 to 15 printable ASCII characters without space, `/`, `:` and `%`, and not lo, all or default",
        shown(name)
    ))
}

/// `namespace/name`: a DNS label and a DNS subdomain (RFC 1123), as Kubernetes asks.
fn check_pod(pod: &str) -> Result<(), String> {
    let label = |text: &str, longest: usize| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let ends = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
        let bytes = text.as_bytes();
        bytes.len() <= longest && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| inner(*b))
    };
    let ok = pod.split_once('/').is_some_and(|(namespace, name)| {
        label(namespace, 63) && name.len() <= 253 && name.split('.').all(|part| label(part, 253))
    });
    if ok {
        Ok(())
    } else {
        Err(format!(
            "pod `{}` is not of the form namespace/name as Kubernetes writes it",
            shown(pod)
        ))
    }
}

fn addresses(texts: &[String], own: &[Prefix]) -> Result<Vec<Addr>, String> {
    if texts.is_empty() || texts.len() > 2 {
        return Err(format!(
            "a pod has one address, or one of each family, not {}",
            texts.len()
        ));
    }
    let mut addrs = texts
        .iter()
        .map(|text| address(text, own))
        .collect::<Result<Vec<_>, _>>()?;
    addrs.sort_by_key(|addr| !addr.is_v4());
    if let [a, b] = addrs[..]
        && a.is_v4() == b.is_v4()
    {
        return Err(format!(
            "{a} and {b} are of the same family; a pod has at most one address of each"
        ));
    }
    Ok(addrs)
}

fn address(text: &str, own: &[Prefix]) -> Result<Addr, String> {
    let wrong = || {
        format!(
            "`{}` is no address; want one like 10.244.1.5, 10.244.1.5/24 or fd00:244:1::5",
            shown(text)
        )
    };
    let (ip, len) = match text.split_once('/') {
        Some((ip, len)) => (ip, Some(len)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
    let addr = Addr::from(ip);
    if matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err(format!(
            "`{}` is an IPv4 address in IPv6 form; write it as {}",
            shown(text),
            addr.to_ip()
        ));
    }
    if let Some(len) = len {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        len.parse::<u8>().ok().filter(|len| *len <= longest).ok_or_else(wrong)?;
    }
    if own.is_empty() {
        return Err("this node has no pod range yet: its Node object with spec.podCIDR is not known. Try again when `sluice status` shows the node ready".into());
    }
    let Some(prefix) = own.iter().find(|prefix| prefix.contains(addr)) else {
        let ranges: Vec<_> = own.iter().map(Prefix::to_string).collect();
        return Err(format!(
            "{addr} lies outside this node's pod range {}; nobody could reach it here",
            ranges.join(", ")
        ));
    };
    if addr == prefix.base() {
        return Err(format!(
            "{addr} is the base address of {prefix}, which the node itself holds (sluice0)"
        ));
    }
    Ok(addr)
}

/// Hostile text, fit for an error message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
