use super::cluster::{Folder, Follower, cluster, server, server_at};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use sluice_apiserver::Server;
use sluice_control::source::{Cluster, Kubernetes};
use std::io::{Read, copy};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// An address that leads to another one, until it does not any more.
pub(super) struct Detour {
    pub(super) address: SocketAddr,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Detour {
    pub(super) fn to(target: SocketAddr) -> Self {
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

    pub(super) fn close(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // The listener ends with the next connection, which nobody serves.
        let _ = TcpStream::connect(self.address);
    }
}

#[test]
fn servers_are_tried_in_turn() {
    let server = server();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = vec![format!("https://{nobody}"), server.url()];
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.servers = servers);
    follower.catch_up(&server);
    follower.until("what failed at first is not told any more", |f| f.problems.is_empty());
    assert_eq!(follower.source.server(), format!("{}/", server.url()));
}

/// Runs in a network namespace of its own, which has this address.
pub(super) fn with_address(address: &'static str, body: fn(IpAddr)) {
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

/// What the API server says of itself.
pub(super) fn own_slice(server: &Server) -> Value {
    let at = server.address();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [at.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": at.port(), "protocol": "TCP"}],
    })
}

fn learned(address: IpAddr) {
    let server = server_at(address);
    let detour = Detour::to(server.address());
    let slice = own_slice(&server);
    let servers = vec![format!("https://{}", detour.address)];
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.servers = servers);
    follower.catch_up(&server);
    assert_eq!(follower.source.server(), format!("https://{}/", detour.address));
    server.apply(slice).unwrap();
    follower.catch_up(&server);
    detour.close();
    server
        .apply(super::objects::service("after", "10.96.0.30", 80))
        .unwrap();
    follower.catch_up(&server);
    assert_eq!(follower.source.server(), format!("https://{}/", server.address()));
}

#[test]
fn a_kubeconfig_that_cannot_be_used_says_why_in_one_line() {
    let folder = Folder::new();
    let good = server().kubeconfig(None);
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
        let text = Kubernetes::follow(cluster(&path))
            .err()
            .unwrap_or_else(|| panic!("{} is taken", path.display()));
        assert!(text.contains(want) && text.contains(path.to_str().unwrap()), "{text}");
        assert!(!text.contains('\n'), "{text:?}");
    }
    let mut nowhere = cluster(&folder.write("good", &good));
    nowhere.kubeconfig = None;
    let text = Kubernetes::follow(nowhere).err().unwrap();
    assert!(text.contains("kubernetes.kubeconfig is not set"), "{text}");
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let (server, other) = (server(), server());
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.servers = vec![other.url()]);
    follower.until("it is told", |f| f.told().contains("certificate"));
    assert!(!follower.store.synced());
    assert_eq!(other.counters().requests("watch", "services"), 0);
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
