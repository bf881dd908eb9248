//! Which ports of the masquerade range the host's own sockets hold: those found at start are never taken from it.

use sluice_lb::{PortRange, PortSet};
use std::io;

/// How to read the local port off a line of a table.
type Column = fn(&str) -> Option<u16>;

/// The kernel's tables of sockets. SCTP has sockets that listen in one and associations in another; one that is only bound is in neither.
const TABLES: [(&str, Column); 6] = [
    ("/proc/self/net/tcp", local_port),
    ("/proc/self/net/tcp6", local_port),
    ("/proc/self/net/udp", local_port),
    ("/proc/self/net/udp6", local_port),
    ("/proc/self/net/sctp/eps", |line| sctp_port(line, 5)),
    ("/proc/self/net/sctp/assocs", |line| sctp_port(line, 11)),
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
    for (table, column) in TABLES {
        match std::fs::read_to_string(table) {
            Ok(text) => {
                let ports = text.lines().filter_map(column);
                ports
                    .filter(|port| range.contains(*port))
                    .for_each(|port| used.insert(port));
            }
            // IPv6 and SCTP may be absent from the kernel.
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

/// Local port of a line of /proc/net/sctp/eps and assocs (`sctp_eps_seq_show` and `sctp_assocs_seq_show` in net/sctp/proc.c): decimal, in a
/// column of its own. A line of the heading has none.
fn sctp_port(line: &str, column: usize) -> Option<u16> {
    line.split_whitespace().nth(column)?.parse().ok()
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

    /// Lines as kernels with SCTP write them.
    #[test]
    fn a_port_of_sctp_is_read_off_its_column() {
        let port = |table: &str, line| TABLES.iter().find(|(name, _)| name.ends_with(table)).unwrap().1(line);
        let eps = |line| port("sctp/eps", line);
        assert_eq!(eps(" ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS"), None);
        assert_eq!(
            eps("ffff88017e0a0200 ffff880299f7fa00 2   10  29   41165     200 299689357 10.0.0.102 10.0.0.70 "),
            Some(41165)
        );
        let assocs = |line| port("sctp/assocs", line);
        let heading = " ASSOC     SOCK   STY SST ST HBKT ASSOC-ID TX_QUEUE RX_QUEUE UID INODE LPORT RPORT LADDRS <-> RADDRS HBINT INS OUTS";
        assert_eq!(assocs(heading), None);
        assert_eq!(
            assocs(
                "       0        0 2   1   3  0      60        0      496       0 188897 42345 54321  127.0.0.1 <-> *127.0.0.2 \t   30000 65535"
            ),
            Some(42345)
        );
    }
}
