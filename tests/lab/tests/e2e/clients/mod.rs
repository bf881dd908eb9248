//! Clients: the usual programs where one run is enough, sockets of our own where thousands of connections are made or
//! the kind of failure counts.

mod datagrams;
mod pings;
mod stream;

pub(crate) use datagrams::{datagram, echoes, large_datagram, udp_socket, udp_socket_to};
pub(crate) use pings::{fits, fits_exactly, ping, ping_with, sized_ping};
pub(crate) use stream::stream;

use crate::cluster::{PATIENCE, address};
use crate::faults;
use sluice_lab::{Lab, Place};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// One pod reaches another in every way, and is seen under its own address.
pub(crate) fn reaches(lab: &Lab, from: &str, to: &str, v6: bool) {
    let (pod, target) = (lab.pod(from).unwrap(), address(lab, to, v6));
    ping(&pod, target);
    assert_eq!(curl(&pod, target, "/"), to);
    let seen = curl(&pod, target, "/from");
    assert_eq!(
        seen,
        address(lab, from, v6).to_string(),
        "pods see each other's addresses"
    );
    assert_eq!(echoes(&pod, (target, 7), 3), vec![to; 3]);
}

/// Fetches 64 MiB: no part of them may be lost for good. `query` makes the request longer.
pub(crate) fn bulk(from: &Place<'_>, to: (IpAddr, u16), query: &str) -> Result<(), String> {
    let url = format!("http://{}/big{query}", SocketAddr::from(to));
    let fetch = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "--max-time",
        "60",
        "-w",
        "%{size_download}",
        &url,
    ];
    let output = from.run_for(&fetch, Duration::from_secs(70)).unwrap();
    let whole = output.ok() && output.stdout == "67108864";
    whole
        .then_some(())
        .ok_or_else(|| format!("from {}: {output}", from.name()))
}

/// What curl gets from `to`, port 80 unless another is given.
pub(crate) fn curl(from: &Place<'_>, to: impl Into<Target>, path: &str) -> String {
    let url = format!("http://{}{path}", to.into().0);
    let output = from.curl(&url, PATIENCE).unwrap();
    output
        .text()
        .unwrap_or_else(|e| panic!("from {}: {e}", from.name()))
        .to_string()
}

/// Where curl goes.
pub(crate) struct Target(SocketAddr);

impl From<IpAddr> for Target {
    fn from(address: IpAddr) -> Self {
        Target((address, 80).into())
    }
}

impl From<(IpAddr, u16)> for Target {
    fn from(target: (IpAddr, u16)) -> Self {
        Target(target.into())
    }
}

/// Who answers an HTTP request on a connection of its own.
pub(crate) fn get(to: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    match reply.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.trim_end().to_string()),
        _ => Err(io::Error::other(format!("a strange answer: {reply:?}"))),
    }
}

/// Who answered how many of `count` HTTP requests, and in which order.
pub(crate) fn answers(from: &Place<'_>, to: (IpAddr, u16), count: usize) -> Vec<String> {
    from.within(|| {
        let one = |i| {
            get(to.into(), "/", PATIENCE).map_err(|e| {
                anyhow::anyhow!(
                    "request {i} of {count} from {} to {}: {e}",
                    from.name(),
                    SocketAddr::from(to)
                )
            })
        };
        (0..count).map(one).collect()
    })
    .unwrap_or_else(|e| panic!("{e:#}"))
}

/// What `wait` says when nothing interrupts it: any signal ends a wait at a socket that has a time-out (signal(7)).
pub(crate) fn uninterrupted<T>(mut wait: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match wait() {
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// What `bind` gives once the address is free: a program that another test starts at this moment has copies of all sockets until it is itself, also
/// of those that were closed meanwhile.
pub(crate) fn once_free<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match bind() {
            Err(err) if err.kind() == ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

/// How often each name occurs.
pub(crate) fn spread(names: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str()).or_insert(0) += 1;
    }
    counts
}

/// How an attempt to connect ends within `patience`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Connected,
    Refused,
    Silence,
}

/// Tries one TCP connection.
pub(crate) fn attempt(from: &Place<'_>, to: (IpAddr, u16), patience: Duration) -> Attempt {
    let once = || TcpStream::connect_timeout(&to.into(), patience).map_err(|e| e.kind());
    let heard = |outcome: &Result<TcpStream, ErrorKind>| !matches!(outcome, Err(ErrorKind::TimedOut));
    match from.within(|| Ok(faults::again(once, heard))).unwrap() {
        Ok(_) => Attempt::Connected,
        Err(ErrorKind::TimedOut) => Attempt::Silence,
        Err(ErrorKind::ConnectionRefused) => Attempt::Refused,
        Err(kind) => panic!("from {} to {}: {kind}", from.name(), SocketAddr::from(to)),
    }
}

/// A connection that stays open and asks one thing after another.
pub(crate) struct Conversation(TcpStream);

impl Conversation {
    pub(crate) fn open(from: &Place<'_>, to: (IpAddr, u16)) -> Conversation {
        let stream = from.within(|| Ok(TcpStream::connect_timeout(&to.into(), PATIENCE)?));
        Conversation(stream.unwrap_or_else(|e| panic!("from {} to {}: {e:#}", from.name(), SocketAddr::from(to))))
    }

    /// Sends `text` and returns what comes back first.
    pub(crate) fn ask(&mut self, text: &str, patience: Duration) -> io::Result<String> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.write_all(text.as_bytes())?;
        let mut buffer = [0; 4096];
        match uninterrupted(|| self.0.read(&mut buffer))? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        }
    }

    /// Asks, and does not read the answer when it is there.
    pub(crate) fn leave_unread(&mut self, patience: Duration) {
        self.0.set_read_timeout(Some(patience)).unwrap();
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert!(uninterrupted(|| self.0.peek(&mut [0])).unwrap() > 0);
    }

    /// One HTTP request; the server keeps the connection open.
    pub(crate) fn http(&mut self, patience: Duration) -> io::Result<String> {
        self.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n", patience)
    }

    /// Who answers one HTTP request on this connection: its body, however many segments it comes in.
    pub(crate) fn who(&mut self) -> io::Result<String> {
        let mut reply = self.http(PATIENCE)?;
        loop {
            if let Some((head, body)) = reply.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                let length: usize = length.and_then(|n| n.parse().ok()).unwrap_or(0);
                if body.len() >= length {
                    return Ok(body.trim_end().to_string());
                }
            }
            reply += &self.ask("", PATIENCE)?;
        }
    }
}
