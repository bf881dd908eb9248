//! The UDP server that pods run: says who it is and repeats what it was told. It never answers with more than it got
//! plus its name.

use anyhow::{Context, Result};
use std::net::{Ipv6Addr, UdpSocket};

/// Answers each datagram on `port`, both families, with `name`, a blank and the datagram. Runs until it is ended.
///
/// # Errors
/// The port cannot be bound.
pub fn udp_echo(port: u16, name: &str) -> Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| UdpSocket::bind(("0.0.0.0", port)))
        .with_context(|| format!("cannot serve UDP port {port}"))?;
    let mut answer = format!("{name} ").into_bytes();
    let own = answer.len();
    let mut buffer = vec![0; 65_535];
    loop {
        // An ICMP error for an earlier answer shows up here; it concerns that client alone.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        answer.truncate(own);
        answer.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&answer, from);
    }
}
