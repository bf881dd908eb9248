//! Numbered datagrams at a constant rate, and which of them were answered.

use super::datagrams::udp_socket_to;
use sluice_lab::Place;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long the last answers may take.
const LAST: Duration = Duration::from_secs(2);

/// What became of them.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) datagrams: u64,
    pub(crate) unanswered: Vec<u64>,
}

/// Sends to an echo service until `enough` says so, `per_second`, each from the same socket, so that all are one flow.
pub(crate) fn stream(from: &Place<'_>, to: (IpAddr, u16), per_second: u32, enough: impl Fn() -> bool + Sync) -> Sent {
    from.within(|| {
        let socket = udp_socket_to(to)?;
        socket.set_nonblocking(true)?;
        let began = Instant::now();
        let (mut sent, mut answered) = (0u64, BTreeSet::new());
        while !enough() {
            let due = began + Duration::from_secs(1) / per_second * sent as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            socket.send(sent.to_string().as_bytes())?;
            sent += 1;
            hear(&socket, &mut answered);
        }
        let end = Instant::now() + LAST;
        while answered.len() < sent as usize && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
            hear(&socket, &mut answered);
        }
        Ok(Sent {
            datagrams: sent,
            unanswered: (0..sent).filter(|n| !answered.contains(n)).collect(),
        })
    })
    .unwrap_or_else(|err| panic!("a stream from {} to {to:?}: {err:#}", from.name()))
}

/// Takes all answers that are there: a pod's name and the number.
fn hear(socket: &UdpSocket, answered: &mut BTreeSet<u64>) {
    let mut buffer = [0; 256];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]);
                answered.extend(text.rsplit(' ').next().and_then(|word| word.trim().parse::<u64>().ok()));
            }
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            // Also a refusal that an ICMP error told of: its datagram counts as unanswered.
            Err(err) if err.kind() != ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
    }
}
