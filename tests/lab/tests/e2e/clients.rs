//! Clients: the usual programs where one run is enough, sockets of our own where thousands of connections are made or
//! the kind of failure counts.

use crate::cluster::PATIENCE;
use sluice_lab::Place;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Three pings, all answered. One by one: after a first answer, ping waits for later ones only twice as long as that took,
/// which on a busy machine is too short.
pub(crate) fn ping(from: &Place<'_>, to: IpAddr) {
    for _ in 0..3 {
        let output = from
            .run(&["ping", "-n", "-c", "1", "-W", "3", &to.to_string()])
            .unwrap();
        assert!(output.ok(), "from {}: {output}", from.name());
    }
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

/// Who answered how many of `count` datagrams, each from a port of its own.
pub(crate) fn echoes(from: &Place<'_>, to: (IpAddr, u16), count: usize) -> Vec<String> {
    let one = |i| match datagram(from, to, "hello", PATIENCE) {
        Ok(text) => text
            .strip_suffix(" hello")
            .unwrap_or_else(|| panic!("a strange answer: {text}"))
            .to_string(),
        Err(e) => panic!(
            "datagram {i} of {count} from {} to {}: {e}",
            from.name(),
            SocketAddr::from(to)
        ),
    };
    (0..count).map(one).collect()
}

/// The answer to one datagram.
pub(crate) fn datagram(from: &Place<'_>, to: (IpAddr, u16), text: &str, patience: Duration) -> io::Result<String> {
    let exchange = || {
        let any: IpAddr = if to.0.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(patience))?;
        socket.connect(SocketAddr::from(to))?;
        socket.send(text.as_bytes())?;
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    from.within(|| Ok(exchange())).unwrap()
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
    let outcome = from
        .within(|| Ok(TcpStream::connect_timeout(&to.into(), patience).map_err(|e| e.kind())))
        .unwrap();
    match outcome {
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
        match self.0.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        }
    }

    /// Asks, and does not read the answer when it is there.
    pub(crate) fn leave_unread(&mut self, patience: Duration) {
        self.0.set_read_timeout(Some(patience)).unwrap();
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert!(self.0.peek(&mut [0]).unwrap() > 0);
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

/// Who answers a datagram of `size` bytes, which has to come back whole. One that is lost is sent again: senders learn what
/// fits from their losses.
pub(crate) fn large_datagram(from: &Place<'_>, to: (IpAddr, u16), size: usize) -> String {
    let text: Vec<u8> = (0..size).map(|i| b'a' + (i % 23) as u8).collect();
    let exchange = || {
        let any: IpAddr = if to.0.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.connect(SocketAddr::from(to))?;
        let end = std::time::Instant::now() + PATIENCE;
        let mut buffer = vec![0; 65_535];
        loop {
            // An error that waits at the socket is one of those from which it learns.
            let sent = socket.send(&text);
            match sent.and_then(|_| socket.recv(&mut buffer)) {
                Ok(length) => return Ok(buffer[..length].to_vec()),
                Err(err) if std::time::Instant::now() > end => {
                    return Err(anyhow::anyhow!("{size} bytes to {}: {err}", SocketAddr::from(to)));
                }
                Err(_) => {}
            }
        }
    };
    let answer = from
        .within(exchange)
        .unwrap_or_else(|e| panic!("from {}: {e:#}", from.name()));
    let name = answer.strip_suffix(&text[..]).expect("the datagram as it was sent");
    String::from_utf8_lossy(name).trim_end().to_owned()
}
