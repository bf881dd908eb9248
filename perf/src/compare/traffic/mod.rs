//! The traffic: small senders and receivers with sockets of their own in the pods' namespaces. Decides what is sent and counted; it never
//! knows who carries it.

mod connections;
mod datagrams;
mod requests;
mod stream;

pub(super) use connections::connections;
pub(super) use datagrams::Datagrams;
pub(super) use requests::requests;
pub(super) use stream::stream;

use super::scene::{SERVER_PORT, Way};
use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use sluice_lab::{Lab, Place};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// After which silence is a failure, and no slow answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Length of a rehearsal.
const REHEARSAL: Duration = Duration::from_millis(100);
/// Flows of one: all ports of the service are among them.
const REHEARSED_FLOWS: u32 = 64;
/// How long a server waits before it asks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(50);

/// All kinds of traffic, briefly: whatever is sent arrives, and at the server that is meant, or there is an error.
pub(super) fn rehearse(lab: &Lab, way: Way) -> Result<()> {
    stream(lab, way, REHEARSAL)?;
    requests(lab, way, REHEARSAL)?;
    connections(lab, way, REHEARSAL)?;
    if way != Way::Node {
        Datagrams::open(lab, way, REHEARSED_FLOWS)?.rehearse()?;
    }
    Ok(())
}

/// A server's socket in its namespace, and the two places.
struct Ends<'l> {
    client: Place<'l>,
    listener: TcpListener,
    way: Way,
}

impl<'l> Ends<'l> {
    fn of(lab: &'l Lab, way: Way) -> Result<Self> {
        let [client, server] = way.ends().map(|name| lab.place(name));
        let listen = || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, SERVER_PORT)).context("cannot listen")?;
            setsockopt(&listener, sockopt::ReceiveTimeout, &time_val(GLANCE))?;
            Ok(listener)
        };
        Ok(Self {
            client: client?,
            listener: server?.within(listen)?,
            way,
        })
    }

    /// A connection from end to end.
    fn connect(&self) -> Result<[TcpStream; 2]> {
        let target = self.way.target();
        let client = self.client.within(|| {
            TcpStream::connect_timeout(&target, PATIENCE).with_context(|| format!("no connection to {target}"))
        })?;
        let server = self.accept()?;
        let reached = server.local_addr()?;
        anyhow::ensure!(
            reached == self.way.server(),
            "{target} led to {reached}, which is not the server"
        );
        for end in [&client, &server] {
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
            end.set_nodelay(true)?;
        }
        Ok([client, server])
    }

    /// The server's end of a connection that its client has already.
    fn accept(&self) -> Result<TcpStream> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(stream),
                Err(err) if err.kind() == ErrorKind::WouldBlock && Instant::now() < end => {}
                Err(err) => return Err(err).context("a connection that its server never saw"),
            }
        }
    }
}

fn time_val(duration: Duration) -> TimeVal {
    TimeVal::new(duration.as_secs() as i64, i64::from(duration.subsec_micros()))
}
