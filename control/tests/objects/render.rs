//! Compiled parts as text, without the numbers that depend on history.

use crate::world::World;
use sluice_control::compile::{Compiled, Report, Severity};
use sluice_control::source::Ignored;
use sluice_lb::Service;
use sluice_policy::Direction;
use sluice_snapshot::{Forwarding, Link, Parts, PortKind, Route};
use sluice_wire::{Addr, PortSlot, Proto};
use std::fmt::Write;

pub(crate) fn section(what: &str, world: &mut World) -> String {
    if what == "problems" {
        return lines(world.problems.values().flatten().map(ToString::to_string).collect());
    }
    if what == "ignored" {
        let per_file = |(file, kinds): (&String, &Ignored)| (!kinds.is_empty()).then(|| format!("{file} {kinds:?}"));
        return lines(world.ignored.iter().filter_map(per_file).collect());
    }
    let compiled = match world.compile() {
        Ok(compiled) => compiled,
        Err(reports) => return format!("nothing is served\n{}", report_lines(&reports)),
    };
    match what {
        "services" => services(&compiled.parts),
        "routes" => routes(&compiled),
        "policies" => policies(&compiled.parts),
        "reports" => report_lines(&compiled.reports),
        "node" => node(&compiled),
        other => panic!("cannot expect {other}"),
    }
}

pub(crate) fn everything(compiled: &Compiled) -> String {
    let Compiled { parts, reports, .. } = compiled;
    [
        services(parts),
        routes(compiled),
        policies(parts),
        report_lines(reports),
        node(compiled),
    ]
    .concat()
}

fn lines(mut lines: Vec<String>) -> String {
    if lines.is_empty() {
        return "none\n".to_owned();
    }
    lines.push(String::new());
    lines.join("\n")
}

fn report_lines(reports: &[Report]) -> String {
    let word = |r: &Report| {
        if r.severity == Severity::Warning {
            "warning"
        } else {
            "info"
        }
    };
    lines(reports.iter().map(|r| format!("{} {r}", word(r))).collect())
}

fn proto(proto: Proto) -> &'static str {
    if proto == Proto::TCP { "TCP" } else { "UDP" }
}

fn service(service: &Service) -> String {
    let mut out = format!("{} {}", service.name(), service.scheduler());
    if let Some(seconds) = service.affinity_s() {
        write!(out, " affinity {seconds} s").unwrap();
    }
    for e in service.endpoints() {
        let local = if e.local { " here" } else { "" };
        write!(out, "\n  {} port {} weight {}{local}", e.addr, e.port, e.weight).unwrap();
    }
    out
}

fn services(parts: &Parts) -> String {
    let services = &parts.services;
    let mut frontends: Vec<_> = services.frontends().collect();
    frontends.sort_by_key(|(f, _)| (f.addr, f.port, f.proto));
    let by_addr = frontends.iter().map(|(f, slot)| {
        let what = service(services.get(*slot).unwrap());
        format!("{f}/{}  {what}", proto(f.proto))
    });
    let mut node_ports: Vec<_> = services.node_ports().collect();
    node_ports.sort();
    let by_port = node_ports.iter().map(|(p, port, v4, slot)| {
        let what = service(services.get(*slot).unwrap());
        format!("node port {port}/{} IPv{}  {what}", proto(*p), if *v4 { 4 } else { 6 })
    });
    lines(by_addr.chain(by_port).collect())
}

fn routes(compiled: &Compiled) -> String {
    let parts = &compiled.parts;
    let forwarding = &parts.forwarding;
    let mut routes: Vec<_> = forwarding.routes().collect();
    routes.sort_by_key(|(prefix, _)| (!prefix.is_v4(), *prefix));
    let mut all: Vec<String> = routes
        .iter()
        .map(|(p, r)| format!("{p}  {}", route(parts, forwarding, *r)))
        .collect();
    let mut peers: Vec<_> = forwarding.peers().map(|(_, peer)| peer).collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    all.extend(
        peers
            .iter()
            .map(|p| format!("peer {} from {:?} carries {:?}", p.name, p.endpoints, p.prefixes)),
    );
    all.extend(
        compiled
            .wanted_neighbours
            .iter()
            .map(|(ifindex, addr)| format!("wanted {addr} on interface {ifindex}")),
    );
    lines(all)
}

fn route(parts: &Parts, forwarding: &Forwarding, route: Route) -> String {
    let adjacency = |index| match forwarding.adjacency(index).map(|a| (a.mtu, &a.link)) {
        None => "no way".to_owned(),
        Some((mtu, Link::Direct { dst, src })) => format!("{src} > {dst} mtu {mtu}"),
        Some((mtu, Link::Tunnel(template))) => {
            let mut bytes = vec![0; template.overhead() + 14];
            template.write(&mut bytes, 0, 0, 0, None).unwrap();
            let mac = |at: usize| sluice_wire::MacAddr(bytes[at..at + 6].try_into().unwrap());
            let v4 = template.overhead() == 50;
            let ip = |at: usize| {
                if v4 {
                    Addr::v4(bytes[at..at + 4].try_into().unwrap())
                } else {
                    Addr::v6(bytes[at..at + 16].try_into().unwrap())
                }
            };
            let (from, to) = if v4 { (ip(26), ip(30)) } else { (ip(22), ip(38)) };
            let inner = template.overhead();
            format!(
                "{from} > {to} by {} inner {} > {} mtu {mtu}",
                mac(0),
                mac(inner + 6),
                mac(inner)
            )
        }
    };
    match route {
        Route::Pod(slot) => format!("pod {}", pod_name(parts, slot)),
        Route::Host => "host".to_owned(),
        Route::Tunnel { peer, adjacency: index } => {
            let name = forwarding
                .peers()
                .find(|(slot, _)| *slot == peer)
                .map_or("nobody", |(_, peer)| &peer.name);
            format!("tunnel to {name}: {}", adjacency(index))
        }
        Route::Direct(index) => format!("direct {}", adjacency(index)),
        Route::OnLink => "on link".to_owned(),
        Route::Unresolved { next_hop } => format!("unresolved {next_hop}"),
        Route::NoPod => "no pod".to_owned(),
    }
}

fn pod_name(parts: &Parts, slot: PortSlot) -> String {
    match parts.ports.get(slot).map(|port| &port.kind) {
        Some(PortKind::Pod { name, .. }) => name.to_string(),
        _ => "unknown".to_owned(),
    }
}

fn policies(parts: &Parts) -> String {
    let mut pods: Vec<_> = parts.policies.pods.iter().collect();
    pods.sort_by_key(|(slot, _)| **slot);
    let mut all = Vec::new();
    for (slot, policy) in pods {
        for direction in [Direction::Ingress, Direction::Egress] {
            if policy.policies(direction).is_some_and(<[_]>::is_empty) {
                all.push(format!(
                    "{} {direction:?} isolated by no policy",
                    pod_name(parts, *slot)
                ));
            }
            for selecting in policy.policies(direction).into_iter().flatten() {
                let (pod, rules) = (pod_name(parts, *slot), &selecting.rules);
                let name = match selecting.cluster {
                    None => format!("{}/{}", selecting.namespace, selecting.name),
                    Some((tier, priority)) => format!("{tier} {priority} {}", selecting.name),
                };
                all.push(format!("{pod} {direction:?} {name} {rules:?}"));
            }
        }
    }
    let mut addrs: Vec<_> = parts.policies.identities.keys().collect();
    addrs.sort();
    all.push(format!("pods at {addrs:?}"));
    lines(all)
}

fn node(compiled: &Compiled) -> String {
    let node = &compiled.parts.node;
    let steering = &compiled.steering;
    let frontends: Vec<String> = steering
        .frontends
        .iter()
        .map(|f| format!("{f}/{}", proto(f.proto)))
        .collect();
    let node_ports: Vec<String> = steering
        .node_ports
        .iter()
        .map(|(p, n, v4)| format!("{n}/{} IPv{}", proto(*p), if *v4 { 4 } else { 6 }))
        .collect();
    format!(
        "base {:?} {:?} outside {:?} {:?}\nmac gateway {} vtep {} {}\nranges {:?} services {:?}\nsteer {frontends:?} {node_ports:?} at {:?}\npod mtu {}\n",
        node.base_v4,
        node.base_v6,
        node.outside_v4,
        node.outside_v6,
        node.gateway_mac,
        node.vtep_mac_v4,
        node.vtep_mac_v6,
        node.cluster_prefixes.to_vec(),
        node.service_prefixes.to_vec(),
        steering.node_addresses,
        compiled.pod_mtu
    )
}
