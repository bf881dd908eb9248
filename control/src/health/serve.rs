//! Decides how much of a client's time and company is borne, and what happens where an address is taken.

use super::{HealthSettings, Role, Vitals};
use crate::api::Call;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Clients at one time and address.
const CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants, and in all: probes ask anew each time.
pub(super) const HEADERS: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(60);
/// Until an address that was taken is tried again.
const AGAIN: Duration = Duration::from_secs(2);

pub(super) struct Server {
    pub(super) vitals: Arc<Vitals>,
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) troubles: Arc<Mutex<Vec<(SocketAddr, String)>>>,
}

/// Serves until told to stop.
pub(super) async fn all(settings: HealthSettings, server: Arc<Server>, stopped: oneshot::Receiver<()>) {
    let each = [(settings.address, Role::Node), (settings.healthz, Role::LoadBalancers)];
    let mut tasks = tokio::task::JoinSet::new();
    for (address, role) in each {
        if let Some(address) = address {
            tasks.spawn(one(address, role, server.clone()));
        }
    }
    // The sender says nothing; it goes.
    let _ = stopped.await;
}

async fn one(address: SocketAddr, role: Role, server: Arc<Server>) {
    let listener = loop {
        match bound(address).await {
            Ok(listener) => break listener,
            Err(err) => server.trouble(address, Some(told(address, role, &err))),
        }
        tokio::time::sleep(AGAIN).await;
    };
    server.trouble(address, None);
    let mut clients = VecDeque::<AbortHandle>::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.retain(|client| !client.is_finished());
                // Whoever is here longest has had time to ask; a probe must not wait for the silent.
                if clients.len() >= CONNECTIONS {
                    clients.pop_front().inspect(AbortHandle::abort);
                }
                let task = tokio::spawn(tokio::time::timeout(CONNECTION, client(stream, role, server.clone())));
                clients.push_back(task.abort_handle());
            }
            // Out of descriptors, most likely: others are closed soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn client(stream: TcpStream, role: Role, server: Arc<Server>) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(role, request.method(), request.uri().path()).await) }
    });
    // How a client ends is its own affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// `[::]` is both families; where the kernel has only IPv4, that.
async fn bound(address: SocketAddr) -> Result<TcpListener, Error> {
    match TcpListener::bind(address).await {
        Err(err) if err.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        done => done,
    }
}

fn told(address: SocketAddr, role: Role, err: &Error) -> String {
    let (what, key) = match role {
        Role::Node => ("probes and metrics are", "health.address"),
        Role::LoadBalancers => ("health for load balancers is", "health.healthz"),
    };
    let why = match (err.kind(), role) {
        (ErrorKind::AddrInUse, Role::LoadBalancers) => {
            "another program has the address, kube-proxy perhaps; one of the two has to go".to_owned()
        }
        (ErrorKind::AddrInUse, Role::Node) => "another program has the address".to_owned(),
        _ => err.to_string(),
    };
    format!("{what} not served at {address}: {why}. It is tried again; {key} names another address, or `none`")
}

impl Server {
    fn trouble(&self, address: SocketAddr, text: Option<String>) {
        let mut all = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().any(|(at, _)| *at == address);
        all.retain(|(at, _)| *at != address);
        match text {
            Some(text) => {
                if !known {
                    tracing::warn!("{text}");
                }
                all.push((address, text));
            }
            None if known => tracing::info!(%address, "served now"),
            None => {}
        }
    }
}
