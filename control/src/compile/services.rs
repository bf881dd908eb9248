//! Decides which service answers at which address and node port. It never looks at a service whose objects have not changed, unless the
//! places where services are reached did.

use super::cluster::covering;
use super::result::{Report, SlotKeeper};
use super::service::{Context, Memo, Numbers, PortOut};
use crate::model::{Name, Store};
use crate::objects::proto_name;
use sluice_lb::Frontend;
use sluice_snapshot::{EndpointIndex, Prefix, Services};
use sluice_wire::{Addr, Proto};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// All services, and what is needed to compile only those that changed.
pub(super) struct ServicesMemo {
    numbers: Numbers,
    memos: BTreeMap<Name, Memo>,
    made_for: Option<(u64, Context, Vec<Prefix>)>,
    endpoints: EndpointIndex,
    pub(super) services: Arc<Services>,
    pub(super) frontends: Vec<Frontend>,
    /// Protocol, port, whether of IPv4; sorted.
    pub(super) node_ports: Vec<(Proto, u16, bool)>,
    /// Grows whenever the above two are made anew.
    pub(super) doors: u64,
    /// About services by themselves, and about those that get in each other's way.
    said: BTreeMap<Name, Vec<Report>>,
    clashes: Vec<Report>,
    /// Addresses of the other nodes, and for which revision of nodes.
    nodes: BTreeMap<Addr, String>,
    nodes_at: Option<u64>,
}

impl ServicesMemo {
    pub(super) fn new(keeper: Box<dyn SlotKeeper>) -> Self {
        Self {
            numbers: Numbers::new(keeper),
            memos: BTreeMap::new(),
            made_for: None,
            endpoints: EndpointIndex::default(),
            services: Arc::default(),
            frontends: Vec::new(),
            node_ports: Vec::new(),
            doors: 0,
            said: BTreeMap::new(),
            clashes: Vec::new(),
            nodes: BTreeMap::new(),
            nodes_at: None,
        }
    }

    /// Brings everything up to date. `cluster` are the pod ranges of all nodes.
    pub(super) fn compile(&mut self, store: &Store, context: Context, cluster: &[Prefix]) {
        self.numbers.begin_round();
        let revision = store.revisions().services;
        let made_for = self.made_for.take();
        let same_context = made_for.as_ref().is_some_and(|(_, before, _)| *before == context);
        let same_cluster = made_for.as_ref().is_some_and(|(_, _, before)| before == cluster);
        let since = made_for.map(|(revision, ..)| revision).filter(|_| same_context);
        let changed: Option<BTreeSet<Name>> =
            since.and_then(|since| Some(store.services_changed_since(since)?.cloned().collect()));
        let changed = changed.unwrap_or_else(|| {
            let all = store.services().map(|(name, _)| name);
            all.chain(self.memos.keys()).cloned().collect()
        });
        // Where a service is reached concerns others, what stands behind it does not.
        let mut moved = self.look_at_nodes(store, &context) || !same_context || !same_cluster;
        for name in &changed {
            moved |= self.one(store, name, &context, same_context);
        }
        if moved {
            self.assemble(cluster, &context.ranges);
        } else if !changed.is_empty() {
            self.exchange(&changed);
        }
        self.made_for = Some((revision, context, cluster.to_vec()));
    }

    /// Brings the addresses of other nodes up to date; whether they are others than before.
    fn look_at_nodes(&mut self, store: &Store, context: &Context) -> bool {
        let revision = Some(store.revisions().nodes);
        if std::mem::replace(&mut self.nodes_at, revision) == revision {
            return false;
        }
        let others = store.nodes().filter(|node| node.name != context.node);
        let addresses = others.flat_map(|node| node.internal_ips.iter().map(|addr| (*addr, node.name.clone())));
        let now = addresses.collect();
        std::mem::replace(&mut self.nodes, now) != self.nodes
    }

    /// Compiles one service; whether it is reached elsewhere than before.
    fn one(&mut self, store: &Store, name: &Name, context: &Context, same_context: bool) -> bool {
        let old = self.memos.remove(name);
        let Some(record) = store.service(name) else {
            let Some(gone) = old else { return false };
            self.numbers.release(&gone.ports, &[]);
            self.list(&gone.ports, &[]);
            return true;
        };
        let slices: Vec<_> = store.slices_of(name).cloned().collect();
        let (memo, moved) = match old {
            Some(memo) if same_context && memo.made_from(record, &slices) => (memo, false),
            old => {
                let (before, old_ports) = old.map(|memo| (memo.record, memo.ports)).unzip();
                let old_ports = old_ports.unwrap_or_default();
                let memo = Memo::compile(record, slices, context, &mut self.numbers, &old_ports);
                self.numbers.release(&old_ports, &memo.ports);
                self.list(&old_ports, &memo.ports);
                let same_age = before.is_some_and(|before| before.created == memo.record.created);
                let same_doors = old_ports.len() == memo.ports.len()
                    && old_ports.iter().zip(&memo.ports).all(|(old, new)| old.same_door(new));
                (memo, !same_age || !same_doors)
            }
        };
        self.memos.insert(name.clone(), memo);
        moved
    }

    /// Puts what stands behind these services in the place of what did.
    fn exchange(&mut self, changed: &BTreeSet<Name>) {
        let mut services = Services::clone(&self.services);
        services.set_endpoints(self.endpoints.clone());
        for name in changed {
            let Some(memo) = self.memos.get(name) else { continue };
            for out in &memo.ports {
                services.set(out.slot, out.service.clone());
            }
            self.says(name);
        }
        self.services = Arc::new(services);
    }

    /// Notes what is to be said about a service by itself.
    fn says(&mut self, name: &Name) {
        match self.memos.get(name).map(|memo| &memo.reports) {
            Some(reports) if !reports.is_empty() => _ = self.said.insert(name.clone(), reports.clone()),
            _ => _ = self.said.remove(name),
        }
    }

    /// What a person should know.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.said.values().flatten().chain(&self.clashes)
    }

    /// Brings the index of endpoints from what a service was to what it is, by the difference.
    fn list(&mut self, before: &[PortOut], after: &[PortOut]) {
        let lacks = |ports: &[PortOut], one: &PortOut, pair: &(Addr, u16)| {
            let same = |other: &&PortOut| other.slot == one.slot && other.frontends == one.frontends;
            ports
                .iter()
                .find(same)
                .is_none_or(|other| other.listed.binary_search(pair).is_err())
        };
        let walk = |ports: &[PortOut], others: &[PortOut], mut change: Box<dyn FnMut(_, _, _) + '_>| {
            for port in ports {
                for pair in port.listed.iter().filter(|pair| lacks(others, port, pair)) {
                    port.frontends
                        .iter()
                        .for_each(|frontend| change(*pair, port.slot, *frontend));
                }
            }
        };
        let index = &mut self.endpoints;
        walk(
            before,
            after,
            Box::new(|pair, slot, _: Frontend| index.remove(pair, slot)),
        );
        walk(
            after,
            before,
            Box::new(|pair, slot, frontend| index.add(pair, slot, frontend)),
        );
    }

    fn assemble(&mut self, cluster: &[Prefix], ranges: &[Prefix]) {
        let mut services = Services::default();
        services.set_endpoints(self.endpoints.clone());
        let mut owners: HashMap<Frontend, &Name> = HashMap::new();
        let mut node_port_owners: HashMap<(Proto, u16, bool), &Name> = HashMap::new();
        self.doors += 1;
        self.clashes.clear();
        self.said.clear();
        let mut order: Vec<(&Name, &Memo)> = self.memos.iter().collect();
        order.sort_by_key(|(name, memo)| (memo.record.created.is_none(), &memo.record.created, *name));
        for (name, memo) in order {
            let object = format!("service {}/{}", name.0, name.1);
            if !memo.reports.is_empty() {
                self.said.insert(name.clone(), memo.reports.clone());
            }
            let mut clashes = BTreeSet::new();
            for out in &memo.ports {
                services.set(out.slot, out.service.clone());
                for frontend in &out.frontends {
                    let in_ranges = || ranges.iter().any(|range| range.contains(frontend.addr));
                    if let Some(node) = self.nodes.get(&frontend.addr).filter(|_| !in_ranges()) {
                        clashes.insert(format!(
                            "its address {} is node {node}'s, which keeps it; choose one from the service ranges",
                            frontend.addr
                        ));
                        continue;
                    }
                    if let Some(prefix) = covering(cluster, frontend.addr) {
                        let addr = frontend.addr;
                        let text = format!(
                            "its address {addr} lies in the pod range {prefix}; a pod with this address cannot be reached"
                        );
                        clashes.insert(text);
                    }
                    if !services.add_frontend(*frontend, out.slot) {
                        let what = format!(
                            "address {} port {}/{}",
                            frontend.addr,
                            frontend.port,
                            proto_name(frontend.proto)
                        );
                        clashes.insert(clash(&what, owners.get(frontend).copied(), name));
                    } else {
                        owners.insert(*frontend, name);
                    }
                }
                let Some((proto, port)) = out.node_port else { continue };
                if !services.add_node_port(proto, port, out.v4(), out.slot) {
                    let owner = node_port_owners.get(&(proto, port, out.v4())).copied();
                    clashes.insert(clash(&format!("node port {port}/{}", proto_name(proto)), owner, name));
                } else {
                    node_port_owners.insert((proto, port, out.v4()), name);
                }
            }
            self.clashes
                .extend(clashes.into_iter().map(|text| Report::warning(&object, text)));
        }
        self.frontends = owners.into_keys().collect();
        self.frontends.sort_by_key(|f| (f.addr, f.proto, f.port));
        self.node_ports = node_port_owners.into_keys().collect();
        self.node_ports.sort_unstable();
        self.services = Arc::new(services);
    }
}

fn clash(what: &str, owner: Option<&Name>, name: &Name) -> String {
    let Some(owner) = owner.filter(|owner| *owner != name) else {
        return format!("{what} is given twice in it");
    };
    let (owner, other) = (format!("{}/{}", owner.0, owner.1), format!("{}/{}", name.0, name.1));
    format!("{what} belongs to {owner} and {other}; the older one (or the first by name), {owner}, serves it")
}
