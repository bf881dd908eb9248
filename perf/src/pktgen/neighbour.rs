//! Decides from and to which Ethernet address frames go where nobody says: the interface's own, and that of the next hop on the kernel's
//! way. It never guesses: without a way frames go to the receiving interface itself, without an answer nowhere.

use super::ends::End;
use super::stream::Macs;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use sluice_io::netns::within;
use sluice_wire::{Addr, MacAddr};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a neighbour has to answer, and an interface to have its carrier.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(10);

/// Source and destination for frames to `to`.
pub(crate) fn macs(tx: &End, rx: &End, to: Addr, given: Macs) -> Result<(MacAddr, MacAddr)> {
    let src = match given.src {
        Some(mac) => mac,
        None => inside(tx, || own(&tx.interface))?,
    };
    let dst = match given.dst {
        Some(mac) => Some(mac),
        None => inside(tx, || next_hop(&tx.interface, to))?,
    };
    let dst = match dst {
        Some(mac) => mac,
        None => inside(rx, || own(&rx.interface))?,
    };
    Ok((src, dst))
}

fn inside<T: Send>(end: &End, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    within(end.netns.as_deref(), work)?.with_context(|| end.to_string())
}

/// The interface's own address.
fn own(interface: &str) -> Result<MacAddr> {
    let links = ip(&["link", "show", "dev", interface])?;
    mac(&links, "address").ok_or_else(|| anyhow!("it has no Ethernet address; give one (--src-mac, --dst-mac)"))
}

/// The address of the next hop on the way; `None` without a way by this interface.
fn next_hop(interface: &str, to: Addr) -> Result<Option<MacAddr>> {
    // Asked for a way by this interface, the kernel would invent one.
    let Ok(routes) = ip(&["route", "get", &to.to_string()]) else {
        return Ok(None);
    };
    let route = &routes[0];
    if route["dev"] != interface {
        return Ok(None);
    }
    let hop = route["gateway"].as_str().or_else(|| route["via"]["host"].as_str());
    let hop = hop.map_or_else(|| to.to_string(), str::to_owned);
    let known = || ip(&["neigh", "show", "to", &hop, "dev", interface]);
    // Asked for again, a permanent entry would be forgotten.
    if let Some(mac) = mac(&known()?, "lladdr") {
        return Ok(Some(mac));
    }
    ip(&["neigh", "replace", &hop, "dev", interface, "use"])?;
    let end = Instant::now() + PATIENCE;
    loop {
        let known = known()?;
        if let Some(mac) = mac(&known, "lladdr") {
            return Ok(Some(mac));
        }
        // The kernel asks three times, a second apart.
        if known[0]["state"][0] == "FAILED" || Instant::now() > end {
            bail!("nobody answers for {hop}; is it there? Or give its address (--dst-mac)");
        }
        std::thread::sleep(AGAIN);
    }
}

fn mac(list: &Value, key: &str) -> Option<MacAddr> {
    list.as_array()?
        .iter()
        .find_map(|entry| entry[key].as_str()?.parse().ok())
}

/// Waits until the interface, of the caller's namespace, has its carrier.
pub(super) fn wait_for_carrier(interface: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let links = ip(&["link", "show", "dev", interface])?;
        let flags = links[0]["flags"].as_array().into_iter().flatten();
        let flags: Vec<&str> = flags.filter_map(Value::as_str).collect();
        ensure!(
            flags.contains(&"UP"),
            "the interface is down: set it up (ip link set {interface} up)"
        );
        if flags.contains(&"LOWER_UP") {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("no carrier: is the cable in, and the other end up?");
        }
        std::thread::sleep(AGAIN);
    }
}

/// What `ip -json` says, in the caller's namespace.
fn ip(args: &[&str]) -> Result<Value> {
    let said = Command::new("ip").arg("-json").args(args).output();
    let said = said.context("cannot run ip; it is in Debian's iproute2")?;
    ensure!(
        said.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&said.stderr).trim()
    );
    let text = if said.stdout.trim_ascii().is_empty() {
        b"[]"
    } else {
        &said.stdout[..]
    };
    serde_json::from_slice(text).with_context(|| format!("ip {}", args.join(" ")))
}
