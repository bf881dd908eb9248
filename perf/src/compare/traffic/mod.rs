//! The traffic: small senders and receivers with sockets of their own in the pods' namespaces. Decides what is sent and counted; it never
//! knows who carries it.

mod connections;
mod datagrams;
mod requests;
mod stream;

pub(super) use connections::connections;
pub(super) use datagrams::{Datagrams, Threads};
pub(super) use requests::requests;
pub(super) use stream::stream;

use super::scene::{SERVER_PORT, Way};
use super::settings::control_congestion;
use anyhow::{Context, Result, bail};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;
use sluice_lab::{Lab, Place};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// After which silence is a failure, and no slow answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Length of a rehearsal.
const REHEARSAL: Duration = Duration::from_millis(100);
/// Flows of one: all ports of the service are among them.
const REHEARSED_FLOWS: u32 = 64;
/// How long a server waits before it asks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(50);

/// Kinds of traffic that a peer may carry one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) tcp: bool,
    pub(super) datagrams: bool,
}

/// All these kinds of traffic, briefly: whatever is sent arrives, and at the server that is meant, or there is an error.
pub(super) fn rehearse(lab: &Lab, way: Way, kinds: Kinds) -> Result<()> {
    if kinds.tcp {
        stream(lab, way, REHEARSAL)?;
        requests(lab, way, REHEARSAL)?;
        connections(lab, way, REHEARSAL)?;
    }
    if kinds.datagrams {
        Datagrams::open(lab, way, REHEARSED_FLOWS, Threads::anywhere())?.rehearse()?;
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
            control_congestion(&listener)?;
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
        let client = self.client.within(|| dial(target))?;
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

/// A connection from the namespace of this thread. What TCP does about congestion is decided before it begins: some ways of it leave
/// traces, as BBR's pacing.
fn dial(target: SocketAddr) -> Result<TcpStream> {
    let SocketAddr::V4(address) = target else {
        bail!("{target} is not an IPv4 address, as all of the lab's are");
    };
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    control_congestion(&socket)?;
    setsockopt(&socket, sockopt::SendTimeout, &time_val(PATIENCE))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(address)).with_context(|| format!("no connection to {target}"))?;
    Ok(socket.into())
}

fn time_val(duration: Duration) -> TimeVal {
    TimeVal::new(duration.as_secs() as i64, i64::from(duration.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use super::super::settings::CONGESTION;
    use super::*;
    use nix::sys::socket::getsockopt;

    #[test]
    fn both_ends_of_a_connection_control_congestion_alike() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        control_congestion(&listener).unwrap();
        let client = dial(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        for end in [&client, &server] {
            assert_eq!(getsockopt(end, sockopt::TcpCongestion).unwrap(), CONGESTION);
        }
    }
}
