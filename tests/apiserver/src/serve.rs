//! Decides how connections become requests: listening, TLS, HTTP/1.1. It never looks into a request.

use crate::counters::Counters;
use crate::lines::{Line, Lines, Watched};
use crate::route::{self, Body};
use crate::server::Inner;
use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What answers requests.
pub(crate) trait Serves: Watched {
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

impl Serves for Inner {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        route::answer(self, request).await
    }
}

impl Watched for Inner {
    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn bound(address: SocketAddr) -> Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| address.to_string())?;
    Ok(socket)
}

/// Listens from now on; says where.
pub(crate) fn listen<S: Serves>(inner: &Arc<S>, at: SocketAddr, tls: Option<TlsAcceptor>) -> Result<SocketAddr> {
    // Holds the port while connections are refused, and never listens itself.
    let holder = bound(at)?;
    let address = holder.local_addr()?;
    let listener = bound(address)?.listen(1024)?;
    let inner = inner.clone();
    tokio::spawn(async move {
        let _holder = holder;
        let mut listener = Some(listener);
        let mut refusing = inner.lines().refusing.subscribe();
        loop {
            let refuse = *refusing.borrow_and_update();
            listener = match (listener, refuse) {
                (_, true) => None,
                (Some(listener), false) => Some(listener),
                (None, false) => bound(address).and_then(|socket| Ok(socket.listen(1024)?)).ok(),
            };
            tokio::select! {
                changed = refusing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                stream = accept(listener.as_ref()) => {
                    if let Some(stream) = stream {
                        inner.counters().connections.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(connection(inner.clone(), stream, tls.clone()));
                    }
                }
            }
        }
    });
    Ok(address)
}

/// Takes connections of a socket that listens already, in whatever network namespace. While connections are refused they are closed at once.
pub(crate) fn also<S: Serves>(inner: &Arc<S>, tls: Option<TlsAcceptor>, listener: std::net::TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let inner = inner.clone();
    tokio::spawn(async move {
        loop {
            let Some(stream) = accept(Some(&listener)).await else {
                continue;
            };
            if *inner.lines().refusing.borrow() {
                continue;
            }
            inner.counters().connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(connection(inner.clone(), stream, tls.clone()));
        }
    });
    Ok(())
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection<S: Serves>(inner: Arc<S>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let mut closing = inner.lines().closing.subscribe();
    let _ = stream.set_nodelay(true);
    let line = Line::new(stream, inner.clone());
    let served = async {
        match tls {
            None => http(inner, line).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(line).await {
                    http(inner, stream).await;
                }
            }
        }
    };
    tokio::select! {
        () = served => {}
        _ = closing.changed() => {}
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(inner: Arc<impl Serves>, stream: S) {
    let service = service_fn(move |request| {
        let inner = inner.clone();
        async move { Ok::<_, Infallible>(inner.answer(request).await) }
    });
    // What ends a connection is the client's affair, or a fault that was asked for.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
