//! Decides which addresses are a pod's where others claim them, too. Where several do, which happens for a moment while one ends and another
//! begins, one keeps it: who is attached here with it; else one whose node owns the range that it is in, then the newest, then the first by name.

use super::claims::Claims;
use super::here::Here;
use crate::compile::result::{Reason, Report};
use crate::model::{Name, PodRecord, Store};
use sluice_policy::Pod;
use sluice_wire::Addr;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a pod is whose object is there.
pub(super) fn with_object(store: &Store, record: &PodRecord, here: &Here, claims: &Claims) -> Arc<Pod> {
    let pod = &record.identity;
    let name = name_of(pod);
    let attached = here.addrs_of.get(&name);
    if attached.is_none() && pod.host_network {
        return Arc::clone(pod);
    }
    let mut addrs = attached.unwrap_or(&pod.addrs).clone();
    addrs.retain(|addr| attached.is_some() || !here.has(addr));
    addrs.retain(|addr| {
        let claimants = claimants(store, addr, here, claims);
        claimants.len() < 2 || winner(store, addr, &claimants) == Some(&name)
    });
    if addrs == pod.addrs && !pod.host_network {
        Arc::clone(pod)
    } else {
        Arc::new(at_port(pod, &addrs))
    }
}

/// Whose an address may be, in order.
fn claimants(store: &Store, addr: &Addr, here: &Here, claims: &Claims) -> BTreeSet<Name> {
    match here.at.get(addr) {
        Some(names) => names.iter().filter(|name| store.pod(name).is_some()).cloned().collect(),
        None => {
            let names = claims.of(addr).map(|record| name_of(&record.identity));
            names.filter(|name| !here.addrs_of.contains_key(name)).collect()
        }
    }
}

fn winner<'n>(store: &Store, addr: &Addr, claimants: &'n BTreeSet<Name>) -> Option<&'n Name> {
    let rank = |name: &Name| {
        let record = store.pod(name);
        let node = record.and_then(|pod| store.node(pod.node.as_deref()?));
        let at_home = node.is_some_and(|node| node.prefixes.iter().any(|prefix| prefix.contains(*addr)));
        (at_home, record.and_then(|pod| pod.created.as_deref()))
    };
    // Names are in order, and of equals the first is kept.
    claimants.iter().reduce(|a, b| if rank(b) > rank(a) { b } else { a })
}

/// Addresses of a pod that is not here, but which are.
pub(super) fn report_taken(record: &PodRecord, here: &Here, reports: &mut Vec<Report>) {
    let pod = &record.identity;
    if pod.host_network || here.is(pod) {
        return;
    }
    for addr in &pod.addrs {
        let Some(owner) = here.owner(addr).map(full_name) else {
            continue;
        };
        let other = full_name(&name_of(pod));
        let text = format!(
            "its address {addr}, with which it is attached here, is also claimed by {other}; policies take it for this pod's"
        );
        reports.push(Report::warning(format!("pod {owner}"), text).because(Reason::AddressConflict));
    }
}

/// An address that several claim.
pub(super) fn report_contested(store: &Store, addr: Addr, here: &Here, claims: &Claims, reports: &mut Vec<Report>) {
    let claimants = claimants(store, &addr, here, claims);
    let Some(winner) = winner(store, &addr, &claimants).filter(|_| claimants.len() > 1) else {
        return;
    };
    let others: Vec<String> = claimants.iter().filter(|name| *name != winner).map(full_name).collect();
    let text = format!(
        "its address {addr} is also claimed by {}; policies take it for this pod's",
        others.join(", ")
    );
    reports.push(Report::warning(format!("pod {}", full_name(winner)), text).because(Reason::AddressConflict));
}

pub(super) fn name_of(pod: &Pod) -> Name {
    (pod.namespace.clone(), pod.name.clone())
}

pub(super) fn full_name(name: &Name) -> String {
    format!("{}/{}", name.0, name.1)
}

pub(super) fn at_port(pod: &Pod, addrs: &[Addr]) -> Pod {
    Pod {
        addrs: addrs.to_vec(),
        host_network: false,
        ..pod.clone()
    }
}
