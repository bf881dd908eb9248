//! Decides how values that several kinds share are read: metadata, addresses, ports, protocols. It never accepts what the API server would refuse.

use super::fault::{Faults, FieldPath};
use crate::model::Kind;
use serde::{Deserialize, Serialize, Serializer};
use sluice_wire::{Addr, Proto};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `metadata`, as far as it is used.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(serialize_with = "used")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
    pub(crate) creation_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_timestamp: Option<String>,
}

/// What annotations that are read begin with; others may be long.
const USED: [&str; 2] = ["flannel.alpha.coreos.com/", "sluice.io/"];

fn used<S: Serializer>(annotations: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        annotations
            .iter()
            .filter(|(key, _)| USED.iter().any(|used| key.starts_with(used))),
    )
}

impl Meta {
    /// An annotation's value.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }
}

/// Path of an annotation.
pub(crate) fn annotation_path(key: &str) -> FieldPath {
    FieldPath::of(&["metadata", "annotations"]).key(key)
}

/// Name and namespace, with the default namespace filled in.
pub(crate) fn check_names(meta: &mut Meta, kind: Kind, faults: &mut Faults) {
    if !kind.namespaced() {
        meta.namespace.clear();
    } else if meta.namespace.is_empty() {
        "default".clone_into(&mut meta.namespace);
    }
    if let Err(text) = subdomain(&meta.name) {
        faults.whole(FieldPath::of(&["metadata", "name"]), text);
    }
    if kind.namespaced() && (meta.namespace.len() > 63 || subdomain(&meta.namespace).is_err()) {
        let text = format!(
            "`{}` is no namespace name: lower-case letters, digits and `-`, at most 63",
            shown(&meta.namespace)
        );
        faults.whole(FieldPath::of(&["metadata", "namespace"]), text);
    }
}

fn subdomain(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if name.is_empty() {
        return Err("the object has no name".to_owned());
    }
    if name.len() <= 253 && name.chars().all(inner) && outer(name.chars().next()) && outer(name.chars().next_back()) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no object name: lower-case letters, digits, `-` and `.`, at most 253 characters",
        shown(name)
    ))
}

/// At most the first 60 characters, for messages.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

/// An IP address of either family. A mapped IPv4 address is refused, as it would be taken for IPv4.
pub(crate) fn addr(text: &str) -> Result<Addr, String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => Err(format!(
            "`{}` is an IPv4-mapped IPv6 address; write the IPv4 address",
            shown(text)
        )),
        Ok(ip) => Ok(ip.into()),
        Err(_) => Err(format!(
            "`{}` is no IP address; want one like 10.244.1.5 or fd00:244:1::5",
            shown(text)
        )),
    }
}

/// An address that packets can be sent to: not unspecified, loopback, link-local or multicast.
pub(crate) fn host_addr(text: &str) -> Result<Addr, String> {
    let addr = addr(text)?;
    let unusable = match addr.to_ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local(),
    };
    if unusable || addr.is_multicast_or_broadcast() {
        return Err(format!(
            "{addr} cannot be reached from other hosts; want a unicast address of the cluster's network"
        ));
    }
    Ok(addr)
}

/// Address and prefix length, in whatever type holds them.
pub(crate) fn block(text: &str) -> Result<(Addr, u8), String> {
    let wrong = || {
        format!(
            "`{}` is no address block; want one like 10.244.1.0/24 or fd00:244:1::/64",
            shown(text)
        )
    };
    let (base, len) = text.split_once('/').ok_or_else(wrong)?;
    if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let base = addr(base).map_err(|_| wrong())?;
    let len: u8 = len.parse().map_err(|_| wrong())?;
    if len > if base.is_v4() { 32 } else { 128 } {
        return Err(wrong());
    }
    Ok((base, len))
}

/// A port number, 1 to 65535.
pub(crate) fn port(number: i64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("{number} is no port number; want 1 to 65535")),
    }
}

/// A transport protocol; TCP where none is given.
pub(crate) fn proto(text: Option<&str>) -> Result<Proto, String> {
    match text {
        None | Some("" | "TCP") => Ok(Proto::TCP),
        Some("UDP") => Ok(Proto::UDP),
        Some("SCTP") => Ok(Proto::SCTP),
        Some(other) => Err(format!("protocol `{}` is unknown; want TCP, UDP or SCTP", shown(other))),
    }
}

/// Name of a protocol, as in the API.
pub(crate) fn proto_name(proto: Proto) -> &'static str {
    match proto {
        Proto::TCP => "TCP",
        Proto::UDP => "UDP",
        Proto::SCTP => "SCTP",
        _ => "other",
    }
}
