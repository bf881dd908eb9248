//! A stand-in API server, somebody who follows it, and what he should know.

pub(super) use crate::folder::Folder;
pub(super) use crate::follower::Follower;
use crate::wanted::{KINDS, names_pods, wanted};

use super::objects::{NODE, node, pod, service, slice};
use sluice_apiserver::{Server, Settings};
use sluice_control::model::{Key, Object};
use sluice_control::objects::decode;
use sluice_control::source::Cluster;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// With objects of all kinds but policies.
pub(super) fn server() -> Server {
    server_at("127.0.0.1".parse().unwrap())
}

/// The same at an address.
pub(super) fn server_at(address: IpAddr) -> Server {
    let server = Server::start(Settings {
        listen: (address, 0).into(),
        history: 1000,
        ..Settings::default()
    })
    .unwrap();
    for object in [
        node(NODE, "10.244.1.0/24"),
        node("node-b", "10.244.2.0/24"),
        pod("web", NODE, "10.244.1.5"),
        pod("far", "node-b", "10.244.2.5"),
        service("web", "10.96.0.10", 80),
        slice("web", &["10.244.1.5", "10.244.2.5"]),
    ] {
        server.apply(object).unwrap();
    }
    server
}

impl Follower {
    pub(super) fn of(server: &Server) -> Self {
        Self::with(server, |_| {})
    }

    pub(super) fn with(server: &Server, change: impl FnOnce(&mut Cluster)) -> Self {
        Self::begin(&server.kubeconfig(None), NODE.to_owned(), |_| true, change)
    }

    /// Until it knows what the server has.
    #[track_caller]
    pub(super) fn catch_up(&mut self, server: &Server) {
        self.until("what is known is what there is", |f| {
            f.store.synced() && f.objects == truth(server)
        });
    }
}

/// What should be known of all that the server has.
fn truth(server: &Server) -> BTreeMap<Key, Object> {
    let others = server
        .objects("networkpolicies")
        .iter()
        .any(|policy| names_pods(policy));
    let mut all = BTreeMap::new();
    for (plural, kind) in KINDS {
        for object in server.objects(plural) {
            let wanted = wanted(kind, &object, NODE, others);
            let object = decode(kind, (*object).clone()).object.filter(|_| wanted);
            all.extend(object.map(|object| (object.key(), object)));
        }
    }
    all
}
