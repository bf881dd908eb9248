//! Decides which endpoints of a service port get new connections. It never looks at where a client is: that is a later choice.

use crate::model::{SliceEndpoint, SliceRecord};
use sluice_wire::{Addr, Proto};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An endpoint, as all slices together describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate<'a> {
    pub(super) addr: Addr,
    pub(super) port: u16,
    pub(super) node: Option<&'a str>,
    ready: bool,
    lingering: bool,
}

/// The usable endpoints of one port and family, by address and port: the ready ones, or when there is none those that still
/// serve while they terminate. Endpoints move between slices, so one that is in two counts once, with the better state.
pub(super) fn usable<'a>(slices: &'a [Arc<SliceRecord>], name: &str, proto: Proto, v4: bool) -> Vec<Candidate<'a>> {
    let mut all: BTreeMap<(Addr, u16), Candidate<'a>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.v4 == v4) {
        for port in slice
            .ports
            .iter()
            .filter(|port| port.name == name && port.proto == proto)
        {
            for endpoint in &slice.endpoints {
                let seen = candidate(endpoint, port.port);
                let merged = all.entry((seen.addr, seen.port)).or_insert(seen);
                merged.ready |= seen.ready;
                merged.lingering |= seen.lingering;
                merged.node = merged.node.max(seen.node);
            }
        }
    }
    let any_ready = all.values().any(|candidate| candidate.ready);
    all.into_values()
        .filter(|candidate| {
            if any_ready {
                candidate.ready
            } else {
                candidate.lingering
            }
        })
        .collect()
}

/// Address and port of everything that the slices list for one port and family, in whatever state: who no longer gets new
/// connections may still have old ones. In order, each once.
pub(super) fn listed(slices: &[Arc<SliceRecord>], name: &str, proto: Proto, v4: bool) -> Vec<(Addr, u16)> {
    let fitting = slices.iter().filter(|slice| slice.v4 == v4).flat_map(|slice| {
        let ports = slice.ports.iter().filter(|p| p.name == name && p.proto == proto);
        ports.flat_map(|port| slice.endpoints.iter().map(|endpoint| (endpoint.addr, port.port)))
    });
    let mut all: Vec<_> = fitting.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn candidate(endpoint: &SliceEndpoint, port: u16) -> Candidate<'_> {
    Candidate {
        addr: endpoint.addr,
        port,
        node: endpoint.node.as_deref(),
        ready: endpoint.ready,
        lingering: endpoint.serving && endpoint.terminating,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SlicePort;

    fn slice(port: u16, endpoints: &[(u8, [bool; 3])]) -> Arc<SliceRecord> {
        let endpoints = endpoints
            .iter()
            .map(|(last, [ready, serving, terminating])| SliceEndpoint {
                addr: Addr::v4([10, 0, 0, *last]),
                ready: *ready,
                serving: *serving,
                terminating: *terminating,
                node: None,
            });
        Arc::new(SliceRecord {
            v4: true,
            endpoints: endpoints.collect(),
            ports: vec![SlicePort {
                name: "http".into(),
                proto: Proto::TCP,
                port,
            }],
            ..SliceRecord::default()
        })
    }

    fn chosen(slices: &[Arc<SliceRecord>]) -> Vec<(u8, u16)> {
        let usable = usable(slices, "http", Proto::TCP, true);
        usable.iter().map(|c| (c.addr.v4_octets()[3], c.port)).collect()
    }

    const READY: [bool; 3] = [true, true, false];
    const LINGERING: [bool; 3] = [false, true, true];
    const STARTING: [bool; 3] = [false, false, false];
    const DYING: [bool; 3] = [false, false, true];

    #[test]
    fn ready_ones_and_only_without_any_the_lingering_ones() {
        let mixed = [slice(80, &[(1, READY), (2, LINGERING), (3, STARTING)])];
        assert_eq!(chosen(&mixed), [(1, 80)]);
        let going = [slice(80, &[(2, LINGERING), (3, STARTING), (4, DYING)])];
        assert_eq!(chosen(&going), [(2, 80)]);
        assert_eq!(chosen(&[slice(80, &[(3, STARTING)])]), []);
        let everybody = listed(&mixed, "http", Proto::TCP, true);
        assert_eq!(everybody, [1, 2, 3].map(|last| (Addr::v4([10, 0, 0, last]), 80)));
    }

    #[test]
    fn the_union_over_slices_holds_each_address_and_port_once() {
        let slices = [
            slice(80, &[(1, STARTING), (2, READY)]),
            slice(80, &[(1, READY)]),
            slice(81, &[(1, READY)]),
        ];
        assert_eq!(chosen(&slices), [(1, 80), (1, 81), (2, 80)]);
        assert!(usable(&slices, "https", Proto::TCP, true).is_empty(), "joined by name");
        assert!(usable(&slices, "http", Proto::UDP, true).is_empty(), "and protocol");
        assert!(usable(&slices, "http", Proto::TCP, false).is_empty(), "and family");
    }
}
