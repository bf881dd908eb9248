//! Decides the fate of connections: served, closed, refused, or open and silent for ever. It never reads what they carry.

use crate::counters::Counters;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// State of all connections.
#[derive(Debug)]
pub struct Lines {
    /// Connections with a lower number are dead.
    dead_below: AtomicU64,
    half_open: AtomicBool,
    next: AtomicU64,
    /// Counts orders to close.
    pub(crate) closing: watch::Sender<u64>,
    /// Whether connections are refused.
    pub(crate) refusing: watch::Sender<bool>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            dead_below: AtomicU64::new(0),
            half_open: AtomicBool::new(false),
            next: AtomicU64::new(1),
            closing: watch::channel(0).0,
            refusing: watch::channel(false).0,
        }
    }
}

impl Lines {
    /// While on, all old and new connections are open and silent, as if the machine behind them were gone. Turned off,
    /// those stay so and only newer ones are served.
    pub fn half_open(&self, on: bool) {
        self.half_open.store(on, Ordering::SeqCst);
        self.dead_below
            .store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        self.closing.send_modify(|n| *n += 1);
    }

    /// While on, the port is closed: whoever connects is refused by the kernel. Open connections stay.
    pub fn refuse(&self, on: bool) {
        self.refusing.send_replace(on);
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    fn dead(&self, number: u64) -> bool {
        self.half_open.load(Ordering::SeqCst) || number < self.dead_below.load(Ordering::SeqCst)
    }
}

/// Lines and counters of a server, as a connection needs them.
pub(crate) trait Watched: Send + Sync + 'static {
    fn lines(&self) -> &Lines;
    fn counters(&self) -> &Counters;
}

/// A connection under observation.
pub(crate) struct Line<W> {
    stream: TcpStream,
    number: u64,
    owner: Arc<W>,
}

impl<W: Watched> Line<W> {
    pub(crate) fn new(stream: TcpStream, owner: Arc<W>) -> Self {
        Self {
            stream,
            number: owner.lines().number(),
            owner,
        }
    }
}

impl<W: Watched> AsyncRead for Line<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let read = buf.filled().len() - before;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            // What reaches a dead machine is lost; only the end of the connection is seen, so that none is kept for ever.
            if self.owner.lines().dead(self.number) {
                buf.set_filled(before);
                continue;
            }
            self.owner.counters().bytes_in.fetch_add(read as u64, Ordering::Relaxed);
            return Poll::Ready(Ok(()));
        }
    }
}

impl<W: Watched> AsyncWrite for Line<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.owner.lines().dead(self.number) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.owner
            .counters()
            .bytes_out
            .fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.owner.lines().dead(self.number) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
