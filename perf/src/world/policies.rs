//! Decides the policies: all of them select all pods, in both directions, so that each of them is asked about each connection.

use super::addresses::{POD_PORT, pod_slot};
use super::{Size, pods, remotes};
use sluice_policy::{Compiler, Identities, Model, Namespace, Peer, Pod, Policy, PortMatch, PortSpec, Rule, Selector};
use sluice_snapshot::Policies;
use sluice_wire::{Addr, Proto};
use std::sync::Arc;

const NAMESPACE: &str = "default";
/// The label of every pod that there is.
const APP: &str = "bench";

pub(super) fn policies(size: &Size) -> Policies {
    let pod = |name: String, addr: Addr| Pod {
        namespace: NAMESPACE.into(),
        name,
        labels: [("app".to_owned(), APP.to_owned())].into(),
        addrs: vec![addr],
        ..Pod::default()
    };
    let local: Vec<Arc<Pod>> = (0..pods(size))
        .map(|n| Arc::new(pod(format!("pod-{n}"), size.family.pod(n))))
        .collect();
    let remote = (0..remotes(size)).map(|n| Arc::new(pod(format!("remote-{n}"), size.family.remote(n))));
    let model = Model {
        policies: (0..size.policies).map(|n| Arc::new(policy(n))).collect(),
        namespaces: vec![Arc::new(Namespace {
            name: NAMESPACE.into(),
            labels: Default::default(),
        })],
        pods: local.iter().cloned().chain(remote).collect(),
        ..Model::default()
    };
    let identities = Identities::default().next(&model);
    let mut compiler = Compiler::default();
    let mut pass = compiler.pass(&model, &identities);
    let compiled = (0..).zip(&local).map(|(n, pod)| (pod_slot(n), pass.compile(pod)));
    Policies {
        pods: compiled
            .filter(|(_, policy)| policy.ingress.is_some() || policy.egress.is_some())
            .map(|(slot, policy)| (slot, Arc::new(policy)))
            .collect(),
        identities: identities.addresses().clone(),
        moved: None,
    }
}

/// The first one allows what the cases do; the others allow what nobody does.
fn policy(n: u32) -> Policy {
    let (app, port) = match n {
        0 => (APP.to_owned(), POD_PORT),
        _ => (format!("other-{n}"), POD_PORT + 1 + (n % 1000) as u16),
    };
    let rule = Rule {
        peers: vec![Peer::Pods {
            namespaces: None,
            pods: Some(Selector {
                match_labels: [("app".to_owned(), app)].into(),
                ..Selector::default()
            }),
        }],
        ports: vec![PortMatch {
            proto: Proto::UDP,
            port: PortSpec::Number(port, None),
        }],
    };
    Policy {
        namespace: NAMESPACE.into(),
        // By name the first one comes last: that is where a search takes longest.
        name: if n == 0 { "z".into() } else { format!("other-{n}") },
        pod_selector: Selector::default(),
        ingress: Some(vec![rule.clone()]),
        egress: Some(vec![rule]),
    }
}
