//! UDP, from sockets of our own.

use super::uninterrupted;
use crate::cluster::PATIENCE;
use crate::faults;
use nix::errno::Errno;
use sluice_lab::Place;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Until a datagram that may be lost is sent again.
const AGAIN: Duration = Duration::from_millis(500);

/// A socket at a port that is free, for this family.
pub(crate) fn udp_socket(v6: bool) -> io::Result<UdpSocket> {
    UdpSocket::bind(if v6 { "[::]:0" } else { "0.0.0.0:0" })
}

/// The same, for talking with `to` alone.
pub(crate) fn udp_socket_to(to: (IpAddr, u16)) -> io::Result<UdpSocket> {
    let socket = udp_socket(to.0.is_ipv6())?;
    socket.connect(SocketAddr::from(to))?;
    Ok(socket)
}

/// The answer to `text`. It is sent again, of the same flow, when `lossy` and nothing came, or it was larger than the path.
fn exchange(socket: &UdpSocket, text: &[u8], patience: Duration, lossy: bool) -> io::Result<Vec<u8>> {
    let end = Instant::now() + patience;
    let mut buffer = vec![0; 65_535];
    loop {
        let left = end
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        socket.set_read_timeout(Some(if lossy { left.min(AGAIN) } else { left }))?;
        match socket
            .send(text)
            .and_then(|_| uninterrupted(|| socket.recv(&mut buffer)))
        {
            Ok(length) => return Ok(buffer[..length].to_vec()),
            Err(err) if lossy && may_be_lost(&err) && Instant::now() < end => {}
            Err(err) => return Err(err),
        }
    }
}

/// No answer, or an error that waited at the socket, from which it learns what fits.
fn may_be_lost(err: &io::Error) -> bool {
    err.kind() == ErrorKind::WouldBlock || err.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

/// The answer to one datagram.
pub(crate) fn datagram(from: &Place<'_>, to: (IpAddr, u16), text: &str, patience: Duration) -> io::Result<String> {
    let answer = from.within(|| {
        Ok(udp_socket_to(to).and_then(|socket| exchange(&socket, text.as_bytes(), patience, faults::everywhere())))
    });
    Ok(String::from_utf8_lossy(&answer.unwrap()?).into_owned())
}

/// Who answered how many of `count` datagrams, each from a port of its own: the ports stay taken until the last answer, as the
/// kernel draws by chance, and the same port again would be the same flow.
pub(crate) fn echoes(from: &Place<'_>, to: (IpAddr, u16), count: usize) -> Vec<String> {
    let mut taken = Vec::with_capacity(count);
    let mut ask = || {
        let asked = from.within(|| {
            let socket = udp_socket_to(to)?;
            Ok((exchange(&socket, b"hello", PATIENCE, faults::everywhere()), socket))
        });
        let (answer, socket) = asked.unwrap();
        taken.push(socket);
        answer
    };
    let mut one = |i| match ask().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
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
    (0..count).map(&mut one).collect()
}

/// Who answers a datagram of `size` bytes, which has to come back whole. One that is lost is sent again: senders learn what
/// fits from their losses.
pub(crate) fn large_datagram(from: &Place<'_>, to: (IpAddr, u16), size: usize) -> String {
    let text: Vec<u8> = (0..size).map(|i| b'a' + (i % 23) as u8).collect();
    let answer = from
        .within(|| Ok(exchange(&udp_socket_to(to)?, &text, PATIENCE, true)?))
        .unwrap_or_else(|e| panic!("{size} bytes from {} to {}: {e:#}", from.name(), SocketAddr::from(to)));
    let name = answer.strip_suffix(&text[..]).expect("the datagram as it was sent");
    String::from_utf8_lossy(name).trim_end().to_owned()
}
