//! Addresses that the API server told of itself, after a restart.

use super::cluster::{Folder, Follower, server, server_at};
use super::detour::{Detour, with_address};
use super::objects::service;
use serde_json::{Value, json};
use sluice_apiserver::{Denial, Server};
use sluice_control::source::Cluster;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// What the API server says of itself.
fn own_slice(server: &Server) -> Value {
    let at = server.address();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [at.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": at.port(), "protocol": "TCP"}],
    })
}

fn asking(server: &Server, at: SocketAddr, state: &Path) -> Follower {
    Follower::with(server, |cluster: &mut Cluster| {
        cluster.servers = vec![format!("https://{at}")];
        cluster.state = Some(state.to_owned());
    })
}

/// Follows by an address that leads nowhere once this is done.
fn learn(server: &Server, state: &Path, complete: bool) -> SocketAddr {
    let detour = Detour::to(server.address());
    server.apply(own_slice(server)).unwrap();
    let mut follower = asking(server, detour.address, state);
    if complete {
        follower.catch_up(server);
    }
    follower.until("the addresses are learned", |f| f.source.servers().learned.len() == 1);
    drop(follower);
    detour.close();
    detour.address
}

#[test]
fn a_restart_reaches_the_server_at_an_address_that_it_told_before() {
    // In a network namespace without any way to look up names.
    with_address("192.0.2.78", |address: IpAddr| {
        let (server, folder) = (server_at(address), Folder::new());
        let state = folder.path("cluster");
        let dead = learn(&server, &state, true);
        server.apply(service("after", "10.96.0.30", 80)).unwrap();
        let mut follower = asking(&server, dead, &state);
        follower.until("what was saved", |f| f.store.synced());
        let servers = follower.source.servers();
        assert_eq!(servers.configured, [format!("https://{dead}/")]);
        assert_eq!(servers.learned, [format!("https://{}/", server.address())]);
        follower.catch_up(&server);
        assert_eq!(follower.source.server(), format!("https://{}/", server.address()));
    });
}

#[test]
fn they_are_kept_also_when_not_all_was_known_yet() {
    with_address("192.0.2.79", |address: IpAddr| {
        let (server, folder) = (server_at(address), Folder::new());
        let state = folder.path("cluster");
        let denials = ["list", "watch"].map(|verb| Denial::of(verb, "networkpolicies"));
        denials.iter().for_each(|denial| server.deny(denial.clone()));
        let dead = learn(&server, &state, false);
        denials.iter().for_each(|denial| server.access().grant(denial));
        let mut follower = asking(&server, dead, &state);
        follower.catch_up(&server);
        assert_eq!(follower.source.server(), format!("https://{}/", server.address()));
    });
}

#[test]
fn nobody_of_another_cluster_is_asked_for_what_one_told() {
    with_address("192.0.2.80", |address: IpAddr| {
        let (one, other, folder) = (server_at(address), server(), Folder::new());
        let state = folder.path("cluster");
        let dead = learn(&one, &state, true);
        let asked = one.counters().requests("watch", "services");
        let mut follower = asking(&other, dead, &state);
        follower.until("it is told", |f| f.told().contains("cannot be reached"));
        assert!(follower.source.servers().learned.is_empty());
        assert!(!follower.store.synced() && follower.changes == 0);
        assert_eq!(one.counters().requests("watch", "services"), asked);
    });
}
