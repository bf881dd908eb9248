//! Decides which interface is the uplink where the configuration does not name one. It looks once, before anything is opened: an agent
//! keeps its uplink until the Node's annotation asks for another one (`control/src/run/other_uplink.rs`), and whoever moves the node's address to
//! another interface starts it again.

use crate::config::{Config, Find};
use anyhow::{Context, anyhow, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use sluice_control::run::{UPLINK_ANNOTATION, chosen_uplink};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

/// Where a pod is told the Node's InternalIP (`status.hostIP`).
const NODE_IP: &str = "NODE_IP";
/// Addresses that nobody has (RFC 5737, RFC 3849): only a default route leads there. Nothing is sent.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// An interface that might be it.
struct Candidate {
    name: String,
    addresses: Vec<IpAddr>,
}

/// The configuration with the uplink's interface named: what the Node's annotation asked for when it was last known, else what the
/// configuration says.
///
/// # Errors
/// None is what was asked for; the text says what there is.
pub(crate) fn settled(config: &Config, ours: &str, state_dir: &Path) -> anyhow::Result<Config> {
    let mut config = config.clone();
    if let Some(name) = chosen_uplink(state_dir) {
        if if_nametoindex(name.as_str()).is_ok() {
            tracing::info!(
                interface = name,
                "the uplink is what the Node's annotation {UPLINK_ANNOTATION} asks for"
            );
            (config.uplink.interface, config.uplink.find) = (name, None);
            return Ok(config);
        }
        tracing::warn!(
            interface = name,
            "the Node's annotation {UPLINK_ANNOTATION} asks for an interface that is not there; the configuration's is used"
        );
    }
    let Some(find) = config.uplink.find.take() else {
        return Ok(config);
    };
    let there = candidates(ours).context("cannot tell which interfaces there are")?;
    let (name, why) = match find {
        Find::Address => {
            let told = std::env::var(NODE_IP).unwrap_or_default();
            let (address, whence) =
                node_address(&told).map_err(|err| anyhow!("{err}. {}{INSTEAD}", there_are(&there)))?;
            (
                with_address(&there, address, whence)?,
                format!("it has {address}, {whence}"),
            )
        }
        Find::Like(patterns) => (
            like(&there, &patterns)?,
            format!("it is the first of {}", patterns.join(", ")),
        ),
    };
    tracing::info!(interface = name, "the uplink was found: {why}");
    config.uplink.interface = name.to_owned();
    Ok(config)
}

const INSTEAD: &str = ". Name it (uplink.interface: eth1), or give patterns ([bond*, eth*])";

/// The node's own address, and how it is known.
fn node_address(told: &str) -> anyhow::Result<(IpAddr, &'static str)> {
    if !told.is_empty() {
        return match told.parse() {
            Ok(address) => Ok((address, "which NODE_IP says is the Node's")),
            Err(_) => bail!(
                "`uplink.interface` is auto, and {NODE_IP} is `{told}`; want an address, as status.hostIP of a pod has it"
            ),
        };
    }
    let Some(address) = ANYWHERE.into_iter().find_map(source_towards) else {
        bail!(
            "`uplink.interface` is auto, but {NODE_IP} is not set and there is no default route to tell the node's address by"
        );
    };
    Ok((address, "the source of the default route, as NODE_IP is not set"))
}

/// The address that the kernel would send from.
fn source_towards(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn with_address<'c>(there: &'c [Candidate], address: IpAddr, whence: &str) -> anyhow::Result<&'c str> {
    let holder = there.iter().find(|candidate| candidate.addresses.contains(&address));
    match holder {
        Some(candidate) => Ok(&candidate.name),
        None => bail!(
            "`uplink.interface` is auto, but no interface has {address}, {whence}. {}{INSTEAD}",
            there_are(there)
        ),
    }
}

fn like<'c>(there: &'c [Candidate], patterns: &[String]) -> anyhow::Result<&'c str> {
    let usable = |candidate: &&Candidate| candidate.addresses.iter().any(is_global);
    let first = patterns.iter().find_map(|pattern| {
        let mut usable = there.iter().filter(usable);
        usable.find(|candidate| matches(pattern.as_bytes(), candidate.name.as_bytes()))
    });
    match first {
        Some(candidate) => Ok(&candidate.name),
        None => bail!(
            "`uplink.interface` is {}, but no interface of such a name has an address that other nodes can reach. {}. Name it, or \
             give other patterns",
            patterns.join(", "),
            there_are(there)
        ),
    }
}

/// `*` is any text, `?` any one byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        ([this, rest @ ..], [first, after @ ..]) => this == first && matches(rest, after),
        (_, []) => false,
    }
}

/// Whether it means the same beyond its link and its host.
fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

fn there_are(there: &[Candidate]) -> String {
    let one = |candidate: &Candidate| {
        let addresses: Vec<String> = candidate.addresses.iter().map(IpAddr::to_string).collect();
        match addresses.as_slice() {
            [] => format!("{} (no address)", candidate.name),
            some => format!("{} ({})", candidate.name, some.join(", ")),
        }
    };
    match there {
        [] => "There is no interface but loopback".to_owned(),
        some => format!("There are {}", some.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// Interfaces of this network namespace in the kernel's order, without loopback and the agent's own, `ours`.
fn candidates(ours: &str) -> nix::Result<Vec<Candidate>> {
    let mut there: Vec<Candidate> = Vec::new();
    for entry in getifaddrs()? {
        if entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) || entry.interface_name == ours {
            continue;
        }
        let address = entry.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        let at = there
            .iter()
            .position(|candidate| candidate.name == entry.interface_name);
        let at = at.unwrap_or_else(|| {
            there.push(Candidate {
                name: entry.interface_name,
                addresses: Vec::new(),
            });
            there.len() - 1
        });
        there[at].addresses.extend(address);
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there() -> Vec<Candidate> {
        [
            ("eth0", vec!["169.254.3.1", "fe80::1"]),
            ("docker0", vec!["172.17.0.1"]),
            ("bond0", vec!["192.0.2.11", "2001:db8:2::11", "fe80::2"]),
            ("eth2", vec![]),
        ]
        .into_iter()
        .map(|(name, addresses)| Candidate {
            name: name.to_owned(),
            addresses: addresses.into_iter().map(|text| text.parse().unwrap()).collect(),
        })
        .collect()
    }

    fn patterns(list: &[&str]) -> Vec<String> {
        list.iter().map(|pattern| (*pattern).to_owned()).collect()
    }

    #[test]
    fn the_uplink_is_who_has_the_nodes_address() {
        let there = there();
        for address in ["192.0.2.11", "2001:db8:2::11"] {
            let (address, whence) = node_address(address).unwrap();
            assert_eq!(with_address(&there, address, whence).unwrap(), "bond0");
        }
        let (address, whence) = node_address("192.0.2.12").unwrap();
        assert_eq!(
            with_address(&there, address, whence).unwrap_err().to_string(),
            "`uplink.interface` is auto, but no interface has 192.0.2.12, which NODE_IP says is the Node's. There are eth0 \
             (169.254.3.1, fe80::1), docker0 (172.17.0.1), bond0 (192.0.2.11, 2001:db8:2::11, fe80::2), eth2 (no address). Name it \
             (uplink.interface: eth1), or give patterns ([bond*, eth*])"
        );
        assert_eq!(
            node_address("node-a").unwrap_err().to_string(),
            "`uplink.interface` is auto, and NODE_IP is `node-a`; want an address, as status.hostIP of a pod has it"
        );
    }

    #[test]
    fn the_uplink_is_the_first_pattern_that_fits_an_interface_with_an_address_of_its_own() {
        let there = there();
        let found = |list: &[&str]| like(&there, &patterns(list)).map(str::to_owned);
        assert_eq!(
            found(&["eth*", "bond?", "d*"]).unwrap(),
            "bond0",
            "eth0 has only an address of its link"
        );
        assert_eq!(found(&["d*", "bond*"]).unwrap(), "docker0");
        assert_eq!(found(&["bond0"]).unwrap(), "bond0");
        let text = found(&["eth*", "bond"]).unwrap_err().to_string();
        assert!(
            text.starts_with("`uplink.interface` is eth*, bond, but no interface of such a name has"),
            "{text}"
        );
        assert!(
            text.contains("There are eth0 (169.254.3.1, fe80::1), docker0"),
            "{text}"
        );
    }

    #[test]
    fn patterns_match_whole_names() {
        let fits = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
        assert!(
            fits("*", "")
                && fits("e*0", "eth0")
                && fits("e*0", "e0")
                && fits("?th*", "eth0.7")
                && fits("a*b*c", "abbc")
        );
        assert!(
            !fits("eth", "eth0")
                && !fits("th*", "eth0")
                && !fits("eth?", "eth")
                && !fits("", "e")
                && !fits("a*b*c", "acb")
        );
    }

    #[test]
    fn this_machines_interfaces_are_seen_once_each_without_loopback() {
        let there = candidates("nobody").unwrap();
        let mut names: Vec<&str> = there.iter().map(|candidate| candidate.name.as_str()).collect();
        assert!(!names.contains(&"lo"), "{names:?}");
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        if let Some(first) = there.first() {
            assert!(
                candidates(&first.name)
                    .unwrap()
                    .iter()
                    .all(|other| other.name != first.name)
            );
        }
    }
}
