//! Dropped packets as rows: which of the samples to show, and what their bytes claim. Ports are known by name; addresses are shown as the
//! sender wrote them, and nothing is decided by them.

use super::dataplane::DroppedPacket;
use super::rows::{Owners, names, protocol};
use super::status::port_name;
use crate::api::{CountersReport, DropQuery, DropRow, DropsReport};
use sluice_wire::{Addr, Claim, DropGroup, DropReason, Glance, MacAddr, PortSlot, ethertype};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// The answer to `drops`. `vteps` says which node's tunnels send with which inner MAC.
///
/// # Errors
/// There is no such reason.
pub(super) fn report(
    owners: &Owners,
    vteps: &HashMap<MacAddr, String>,
    query: &DropQuery,
    counters: &CountersReport,
    samples: &[DroppedPacket],
) -> Result<DropsReport, String> {
    let reasons = reasons(query)?;
    let of_those = |label: &str| reasons.iter().any(|reason| reason.label() == label);
    let rows = samples
        .iter()
        .filter(|packet| reasons.contains(&packet.reason))
        .map(|packet| (packet.age_ns, row(owners, vteps, packet)))
        .filter(|(_, row)| query.pod.as_deref().is_none_or(|pod| concerns(row, pod)))
        .collect::<Vec<_>>();
    let matching_samples = rows.len() as u64;
    let drops = choose(rows, query.limit.min(DropQuery::MAX) as usize);
    let mut counted: Vec<_> = counters.drops.iter().filter(|count| of_those(&count.reason)).collect();
    let dropped_packets = counted.iter().map(|count| count.packets).sum();
    let expected = counters
        .drops
        .iter()
        .filter(|count| count.group == DropGroup::Expected.label());
    counted.retain(|count| drops.iter().any(|row| row.reason == count.reason));
    counted.sort_by_key(|count| DropGroup::ALL.iter().position(|group| group.label() == count.group));
    Ok(DropsReport {
        dropped_packets,
        expected_packets: expected
            .filter(|count| !of_those(&count.reason) && query.reason.is_none())
            .map(|count| count.packets)
            .sum(),
        matching_samples,
        reasons: counted.into_iter().cloned().collect(),
        drops,
    })
}

/// The reasons that are asked for: one, those of a group, or all but those that every network has.
fn reasons(query: &DropQuery) -> Result<Vec<DropReason>, String> {
    let all = DropReason::ALL.iter().copied();
    let Some(name) = query.reason.as_deref() else {
        return Ok(all
            .filter(|reason| query.all || reason.group() != DropGroup::Expected)
            .collect());
    };
    let named = |reason: &DropReason| reason.label() == name || reason.group().label() == name;
    let found: Vec<_> = all.filter(named).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let groups = DropGroup::ALL.map(DropGroup::label).join(", ");
    let name: String = name.chars().take(60).collect();
    Err(format!(
        "there is no drop reason or group `{name}`; groups are {groups}, and `sluice counters --all` names the reasons"
    ))
}

/// The newest `limit` rows, newest first; when there are more, each reason has its turn, so that a frequent one hides no other.
fn choose(mut rows: Vec<(u64, DropRow)>, limit: usize) -> Vec<DropRow> {
    rows.sort_by(|(a, x), (b, y)| {
        a.cmp(b)
            .then_with(|| (x.worker, Reverse(x.sequence)).cmp(&(y.worker, Reverse(y.sequence))))
    });
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(rows.len());
    for (at, (_, row)) in rows.iter().enumerate() {
        let turn = turns.entry(row.reason.clone()).or_default();
        ranked.push((*turn, at));
        *turn += 1;
    }
    ranked.sort_unstable();
    ranked.truncate(limit);
    let mut chosen = vec![false; rows.len()];
    ranked.iter().for_each(|(_, at)| chosen[*at] = true);
    rows.into_iter()
        .zip(chosen)
        .filter(|(_, is)| *is)
        .map(|((_, row), _)| row)
        .collect()
}

/// Whether a pod has to do with it: by its port, or by an address.
fn concerns(row: &DropRow, pod: &str) -> bool {
    let fields = [&row.port, &row.to_port, &row.source_pod, &row.destination_pod];
    fields
        .into_iter()
        .flatten()
        .filter_map(|name| name.split_once('/'))
        .any(|(namespace, name)| names(Some(pod), namespace, name))
}

fn row(owners: &Owners, vteps: &HashMap<MacAddr, String>, packet: &DroppedPacket) -> DropRow {
    let parts = &owners.snapshot.parts;
    let port = |slot: Option<PortSlot>| slot.and_then(|slot| port_name(&parts.ports, slot));
    let outer = Glance::new(&packet.bytes);
    let through = tunnel(owners, vteps, packet, &outer);
    let inner = through.as_ref().and_then(|(_, inside)| inside.map(Glance::new));
    let shown = inner.filter(|inner| inner.ip.is_some()).unwrap_or(outer);
    let ip = shown.ip;
    let text = |addr: fn(Claim) -> Addr| ip.map(|ip| addr(ip).to_string());
    let pod = |addr: fn(Claim) -> Addr| ip.and_then(|ip| owners.pods.get(&addr(ip)).cloned());
    let ports = ip.and_then(|ip| ip.ports);
    DropRow {
        age_ms: packet.age_ns / 1_000_000,
        reason: packet.reason.label().to_owned(),
        port: port(packet.ingress),
        to_port: port(packet.egress),
        tunnel: through.map(|(far, _)| far),
        protocol: protocol_of(&shown),
        source: text(|ip| ip.src),
        source_port: ports.map(|(port, _)| port),
        destination: text(|ip| ip.dst),
        destination_port: ports.map(|(_, port)| port),
        source_mac: shown.macs.map(|(src, _)| src.to_string()),
        destination_mac: shown.macs.map(|(_, dst)| dst.to_string()),
        source_pod: pod(|ip| ip.src),
        destination_pod: pod(|ip| ip.dst),
        length: packet.length,
        bytes: hex(&packet.bytes),
        worker: packet.worker,
        sequence: packet.sequence,
    }
}

/// The far end of the tunnel, and the frame inside where the tunnel's headers are still there.
fn tunnel<'a>(
    owners: &Owners,
    vteps: &HashMap<MacAddr, String>,
    packet: &'a DroppedPacket,
    outer: &Glance,
) -> Option<(String, Option<&'a [u8]>)> {
    let parts = &owners.snapshot.parts;
    let uplink = Some(parts.node.uplink_port);
    let ip = outer.ip?;
    let far = |addr: Addr| {
        let peer = parts.forwarding.tunnel_source(addr);
        peer.map_or_else(|| addr.to_string(), |(_, peer)| peer.name.clone())
    };
    if let Some(inside) = outer.inside(&packet.bytes, parts.node.tunnel_port) {
        if packet.egress == uplink && parts.node.addresses.contains(&ip.src) {
            return Some((far(ip.dst), Some(inside)));
        }
        if packet.ingress == uplink && parts.node.addresses.contains(&ip.dst) {
            return Some((far(ip.src), Some(inside)));
        }
    }
    // The headers are off, and the inner MACs tell.
    let (src, dst) = outer.macs?;
    let ours = [parts.node.vtep_mac_v4, parts.node.vtep_mac_v6].contains(&dst);
    (packet.ingress == uplink && ours).then(|| (vteps.get(&src).cloned().unwrap_or_else(|| src.to_string()), None))
}

fn protocol_of(shown: &Glance) -> Option<String> {
    let kind = shown.ethertype?;
    Some(match (shown.ip.and_then(|ip| ip.proto), kind) {
        (Some(proto), _) => protocol(proto),
        (None, ethertype::ARP) => "arp".to_owned(),
        (None, ethertype::IPV4) => "ipv4".to_owned(),
        (None, ethertype::IPV6) => "ipv6".to_owned(),
        (None, other) => format!("0x{other:04x}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests;
