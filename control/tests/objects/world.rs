//! A node with a fixed underlay, fed with manifests.

use sluice_control::compile::{
    AttachedPod, Compiled, Compiler, FibRoute, HostPort, Inputs, Neighbour, Report, Settings, Underlay, Uplink,
    UplinkPort,
};
use sluice_control::model::Store;
use sluice_control::source::{Claims, Event, Ignored, Limits, Problem, read_text};
use sluice_lb::SchedulerKind;
use sluice_snapshot::{Caps, Prefix};
use sluice_wire::{Addr, MacAddr, PortSlot, Scope, Vni};
use std::collections::BTreeMap;

pub(crate) fn addr(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>()
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .into()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Everything that a compilation needs, for node `node-a` at 192.0.2.11 and 2001:db8::11.
pub(crate) struct World {
    pub(crate) claims: Claims,
    pub(crate) store: Store,
    pub(crate) problems: BTreeMap<String, Vec<Problem>>,
    pub(crate) ignored: BTreeMap<String, Ignored>,
    pub(crate) settings: Settings,
    pub(crate) underlay: Underlay,
    pub(crate) pods: Vec<AttachedPod>,
    pub(crate) compiler: Compiler,
    next_slot: u16,
}

impl World {
    pub(crate) fn new() -> Self {
        let route = |to: &str, gateway: Option<&str>, ifindex| FibRoute {
            prefix: prefix(to),
            gateway: gateway.map(addr),
            ifindex,
            metric: 0,
            pref_src: None,
        };
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let neighbour = |text, last| Neighbour {
            ifindex: 2,
            addr: addr(text),
            mac: mac(last),
        };
        let underlay = Underlay {
            addresses: vec![
                (2, addr("192.0.2.11")),
                (2, addr("2001:db8::11")),
                (2, addr("fe80::11")),
                (3, addr("198.51.100.1")),
            ],
            routes: vec![
                route("0.0.0.0/0", Some("192.0.2.1"), 2),
                route("192.0.2.0/24", None, 2),
                route("::/0", Some("fe80::1"), 2),
                route("2001:db8::/64", None, 2),
                route("fe80::/64", None, 2),
                route("198.51.100.0/24", None, 3),
            ],
            neighbours: vec![
                neighbour("192.0.2.1", 1),
                neighbour("192.0.2.12", 0x12),
                neighbour("2001:db8::12", 0x12),
            ],
            uplink: Uplink {
                ifindex: 2,
                name: "eth1".into(),
                mac: mac(0x11),
                mtu: 1500,
                up: true,
            },
        };
        let settings = Settings {
            node_name: "node-a".into(),
            vni: Vni::new(1).unwrap(),
            tunnel_port: 8472,
            tunnel_mtu: None,
            default_scheduler: SchedulerKind::Random,
            service_cidrs: vec![prefix("10.96.0.0/16"), prefix("fd00:96::/112")],
            node_ports: (30_000, 32_767),
            masquerade_ports: (40_000, 65_535),
        };
        Self {
            claims: Claims::default(),
            store: Store::default(),
            problems: BTreeMap::new(),
            ignored: BTreeMap::new(),
            settings,
            underlay,
            pods: Vec::new(),
            compiler: Compiler::default(),
            next_slot: 2,
        }
    }

    pub(crate) fn write(&mut self, file: &str, text: &str) {
        let events = self.claims.update(file, read_text(file, text, Limits::default().yaml));
        self.take(events);
    }

    pub(crate) fn remove(&mut self, file: &str) {
        let events = self.claims.remove(file);
        self.take(events);
    }

    pub(crate) fn attach(&mut self, pod: &str, addrs: &[&str]) {
        let slot = PortSlot(self.next_slot);
        self.next_slot += 1;
        self.pods.push(AttachedPod {
            slot,
            scope: Scope::port(u32::from(slot.0)),
            mac: MacAddr([2, 1, 0, 0, 0, slot.0 as u8]),
            mtu: 1450,
            addrs: addrs.iter().map(|text| addr(text)).collect(),
            pod: pod.into(),
            caps: Caps::default(),
        });
    }

    pub(crate) fn neighbour(&mut self, who: &str, mac: Option<MacAddr>) {
        let who = addr(who);
        self.underlay.neighbours.retain(|n| n.addr != who);
        self.underlay.neighbours.extend(mac.map(|mac| Neighbour {
            ifindex: 2,
            addr: who,
            mac,
        }));
    }

    pub(crate) fn compile(&mut self) -> Result<Compiled, Vec<Report>> {
        let mac = |last| MacAddr([2, 2, 0, 0, 0, last]);
        let caps = Caps::default();
        let host = HostPort {
            slot: PortSlot(0),
            scope: Scope::port(0),
            mac: mac(0),
            mtu: 1450,
            caps,
        };
        let uplink = UplinkPort {
            slot: PortSlot(1),
            scope: Scope::port(1),
            caps,
        };
        let inputs = Inputs {
            settings: &self.settings,
            underlay: &self.underlay,
            pods: &self.pods,
            host: &host,
            uplink: &uplink,
        };
        self.compiler.compile(&self.store, &inputs)
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Change(change) => {
                    self.store.apply(change);
                }
                Event::Problem(problem) => self.problems.entry(problem.origin.clone()).or_default().push(problem),
                Event::Ignored { origin, kinds } => {
                    self.ignored.insert(origin, kinds);
                }
                Event::Solved { origin } => {
                    assert!(
                        self.problems.remove(&origin).is_some(),
                        "{origin} had no problem to solve"
                    );
                }
            }
        }
    }
}
