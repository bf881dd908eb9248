//! Which ports of the masquerade range the host's own sockets hold: those found at start are never taken from it.

use sluice_lb::{PortRange, PortSet};
use std::io;

const TABLES: [&str; 4] = [
    "/proc/self/net/tcp",
    "/proc/self/net/tcp6",
    "/proc/self/net/udp",
    "/proc/self/net/udp6",
];

/// The ports of `range` that no socket of this network namespace is bound to.
///
/// # Errors
/// The kernel's socket tables cannot be read.
pub(crate) fn not_in_use(range: PortRange) -> io::Result<PortSet> {
    let mut free = PortSet::from(range);
    in_use(range)?.iter().for_each(|port| free.remove(port));
    Ok(free)
}

/// The ports of `range` that sockets of this network namespace are bound to.
///
/// # Errors
/// The kernel's socket tables cannot be read.
pub(crate) fn in_use(range: PortRange) -> io::Result<PortSet> {
    let mut used = PortSet::new();
    for table in TABLES {
        match std::fs::read_to_string(table) {
            Ok(text) => {
                let ports = text.lines().filter_map(local_port);
                ports
                    .filter(|port| range.contains(*port))
                    .for_each(|port| used.insert(port));
            }
            // IPv6 may be absent from the kernel.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok(used)
}

/// Local port of a line of /proc/net/tcp and its like (Documentation/networking/proc_net_tcp.rst).
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_the_host_listens_on_is_left_out() {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let free = not_in_use(PortRange { first: 1, last: 65535 }).unwrap();
        assert!(!free.contains(port) && !free.is_empty());
        assert_eq!(local_port("  sl  local_address rem_address   st"), None);
        assert_eq!(local_port(" 0: 0100007F:1F90 00000000:0000 0A"), Some(8080));
    }
}
