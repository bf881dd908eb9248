//! Decides what kind of interface an uplink is, as far as it matters to how frames are taken from it. It never changes one.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const ETHTOOL_GDRVINFO: u32 = 3;
/// Longest answer about one link that is read.
const ANSWER: usize = 32 << 10;

/// `struct ethtool_drvinfo`, include/uapi/linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// Whether the interface bundles others: its frames come in by them and leave by one of its own choice. A program in the
/// driver would run at the others, which sockets bound to this one do not hear of, so it belongs into the generic path.
pub(crate) fn bundles_others(interface: &str) -> bool {
    driver(interface).is_ok_and(|name| name == "bonding" || name == "team")
}

fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    let mut request = request(interface);
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request's data points to the structure that this command fills, of its size, and both live through the
    // call.
    let done = unsafe { libc::ioctl(control()?.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let name = info.driver.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// Receive queues as the kernel numbers them (`IFLA_NUM_RX_QUEUES`): a bond has no channels, but more than one queue.
pub(crate) fn rx_queues(ifindex: u32) -> Option<u32> {
    const NUM_RX_QUEUES: u16 = 32;
    let value = ask(ifindex, NUM_RX_QUEUES)?;
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

/// The value of a netlink attribute of the link, in the namespace of the calling thread.
pub(crate) fn ask(ifindex: u32, kind: u16) -> Option<Vec<u8>> {
    const HEADERS: usize = 32;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .ok()?;
    let mut ask = Vec::with_capacity(HEADERS);
    ask.extend_from_slice(&(HEADERS as u32).to_ne_bytes());
    ask.extend_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    ask.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    ask.extend_from_slice(&[0; 12]);
    ask.extend_from_slice(&ifindex.to_ne_bytes());
    ask.extend_from_slice(&[0; 8]);
    send(netlink.as_raw_fd(), &ask, MsgFlags::empty()).ok()?;
    let mut answer = vec![0u8; ANSWER];
    let got = nix::unistd::read(&netlink, &mut answer).ok()?;
    attribute(answer.get(HEADERS..got)?, kind).map(<[u8]>::to_vec)
}

/// The value of a netlink attribute.
pub(crate) fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    let half = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    loop {
        let len = usize::from(half(bytes, 0)?);
        let value = bytes.get(4..len)?;
        if half(bytes, 2)? == kind {
            return Some(value);
        }
        bytes = bytes.get(len.next_multiple_of(4)..)?;
    }
}

/// A socket that may be asked about interfaces.
pub(crate) fn control() -> io::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

/// A request about an interface.
pub(crate) fn request(interface: &str) -> libc::ifreq {
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .take(libc::IFNAMSIZ - 1)
        .zip(interface.bytes())
    {
        *to = from as libc::c_char;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Namespace;

    #[test]
    fn the_kernel_tells_driver_and_queues() {
        let (here, there) = (Namespace::new(), Namespace::new());
        here.wire("up0", &there, "peer0", 3);
        here.run(|| {
            assert_eq!(driver("up0").unwrap(), "veth");
            assert!(!bundles_others("up0"));
            let index = nix::net::if_::if_nametoindex("up0").unwrap();
            assert_eq!(rx_queues(index), Some(3));
            assert_eq!(rx_queues(index + 100), None);
            assert!(driver("none").is_err() && !bundles_others("none"));
        });
    }
}
