//! Ways to a server that end, and addresses that only one test has.

use nix::sched::{CloneFlags, unshare};
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
