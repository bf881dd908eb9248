//! Where a server is found, and which one is believed.

use super::cluster::{Folder, Follower, Ours, cluster, server, standard};
use super::objects::{NODE, service};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use sluice_apiserver::site::Site;
use sluice_control::source::{Cluster, Kubernetes};
use std::io::{Read, copy};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// An address that leads to another one, until it does not any more.
struct Detour {
    address: SocketAddr,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Detour {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((target.ip(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = open.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(target).unwrap());
                let Some(open) = &mut *shared.lock().unwrap() else {
                    return;
                };
                for (mut from, mut to) in [(&client, &server), (&server, &client)]
                    .map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap()))
                {
                    thread::spawn(move || copy(&mut from.by_ref(), &mut to));
                }
                open.extend([client, server]);
            }
        });
        Self { address, open }
    }

    fn close(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // The listener ends with the next connection, which nobody serves.
        let _ = TcpStream::connect(self.address);
    }
}

#[test]
fn servers_are_tried_in_turn() {
    let ours = server();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = vec![format!("https://{nobody}"), ours.front().url()];
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| cluster.servers = servers);
    follower.catch_up(&ours);
    follower.until("what failed at first is not told any more", |f| f.problems.is_empty());
    assert_eq!(follower.source.server(), format!("{}/", ours.front().url()));
}

/// Runs in a network namespace of its own, which has this address.
fn with_address(address: &'static str, body: fn(IpAddr)) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for args in [
            vec!["link", "set", "lo", "up"],
            vec!["address", "add", address, "dev", "lo"],
        ] {
            assert!(Command::new("ip").args(args).status().unwrap().success());
        }
        body(address.parse().unwrap());
    };
    thread::spawn(run).join().unwrap();
}

#[test]
fn the_addresses_of_the_api_servers_own_service_are_tried_next() {
    // Loopback addresses are no end points.
    with_address("192.0.2.77", learned);
}

fn learned(address: IpAddr) {
    let ours = standard(Ours(Site::at(address).unwrap()));
    let detour = Detour::to(ours.front().address());
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": ours.front().address().port(), "protocol": "TCP"}],
    });
    let servers = vec![format!("https://{}", detour.address)];
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| cluster.servers = servers);
    follower.catch_up(&ours);
    assert_eq!(follower.source.server(), format!("https://{}/", detour.address));
    ours.0.stand_in().apply(slice).unwrap();
    let its = ("default".to_owned(), "kubernetes".to_owned());
    follower.until("it is known", |f| f.store.slices_of(&its).count() == 1);
    detour.close();
    ours.apply(service("after", 80));
    follower.catch_up(&ours);
    assert_eq!(follower.source.server(), format!("{}/", ours.front().url()));
}

#[test]
fn a_kubeconfig_that_cannot_be_used_says_why_in_one_line() {
    let folder = Folder::new();
    let good = server().front().kubeconfig();
    let missing = folder.write("x", "").with_file_name("nothing");
    for (path, want) in [
        (missing, "No such file"),
        (folder.write("empty", ""), "cannot be used"),
        (folder.write("garbage", "{"), "cannot be used"),
        (
            folder.write("context", &good.replace("current-context: ", "current-context: other-")),
            "other-",
        ),
        (
            folder.write(
                "authority",
                &good.replace("certificate-authority-data: ", "certificate-authority-data: x%"),
            ),
            "cannot be used",
        ),
    ] {
        let text = Kubernetes::follow(cluster(&path, NODE.into()))
            .err()
            .unwrap_or_else(|| panic!("{} is taken", path.display()));
        assert!(text.contains(want) && text.contains(path.to_str().unwrap()), "{text}");
        assert!(!text.contains('\n'), "{text:?}");
    }
    let mut nowhere = cluster(&folder.write("good", &good), NODE.into());
    nowhere.kubeconfig = None;
    let text = Kubernetes::follow(nowhere).err().unwrap();
    assert!(text.contains("kubernetes.kubeconfig is not set"), "{text}");
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let (ours, other) = (server(), server());
    let mut follower = Follower::with(&ours, |cluster: &mut Cluster| {
        cluster.servers = vec![other.front().url()];
    });
    follower.until("it is told", |f| f.told().contains("certificate"));
    assert!(!follower.store.synced());
    assert_eq!(other.requests("watch", ""), 0);
}

#[test]
fn addresses_of_servers_are_told_from_other_texts() {
    for good in [
        "https://10.0.0.1:6443",
        "https://[fd00::1]:6443/",
        "http://localhost:8080",
    ] {
        assert!(Cluster::is_server(good), "{good}");
    }
    for bad in [
        "10.0.0.1:6443",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "https://a b",
        "",
    ] {
        assert!(!Cluster::is_server(bad), "{bad}");
    }
}
