//! Decides what an interface can tell about itself and who holds a queue of it. It never changes anything.

use crate::link::{self, attribute, control, request};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_channels`, include/uapi/linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Receive queues, at least 1.
pub(super) fn channels(interface: &str) -> io::Result<u32> {
    mtu(interface)?;
    if link::bundles_others(interface) {
        let index = nix::net::if_::if_nametoindex(interface)?;
        return Ok(link::rx_queues(index).unwrap_or(1).clamp(1, crate::xdp::MAX_QUEUES));
    }
    let mut channels = Channels {
        cmd: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    let mut request = request(interface);
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    // SAFETY: the request's data points to the structure that this command fills, and both live through the call.
    let done = unsafe { libc::ioctl(control()?.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    // A driver that does not know channels has one queue.
    Ok(if done < 0 {
        1
    } else {
        (channels.rx + channels.combined).max(1)
    })
}

/// Largest packet in bytes, without the Ethernet header.
pub(super) fn mtu(interface: &str) -> io::Result<u32> {
    let mut request = request(interface);
    // SAFETY: this request writes into the ifreq only.
    let done = unsafe { libc::ioctl(control()?.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written the integer.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.max(0) as u32)
}

/// Half a sentence about who holds an AF_XDP socket on this queue.
pub(super) fn of(ifindex: u32, queue: u32) -> String {
    if let Some(inode) = inode(ifindex, queue) {
        let wanted = format!("socket:[{inode}]");
        let holds = |process: &Path| {
            let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            open.into_iter()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
        };
        if let Some((name, pid)) = processes(holds).into_iter().next() {
            return format!("Another program holds it ({name}, pid {pid})");
        }
    }
    // A kernel without XDP_SOCKETS_DIAG: whoever has a fill ring mapped, known by its offset, may be the one.
    let ring = format!("{:08x}", libc::XDP_UMEM_PGOFF_FILL_RING);
    let maps_ring = |process: &Path| {
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        maps.lines()
            .any(|line| line.contains("socket:[") && line.split(' ').nth(2) == Some(ring.as_str()))
    };
    let mut text = String::from("Another program holds it");
    for (n, (name, pid)) in processes(maps_ring).into_iter().take(5).enumerate() {
        text += if n == 0 { "; AF_XDP sockets are open in " } else { ", " };
        text += &format!("{name} (pid {pid})");
    }
    text
}

const BY_FAMILY: u16 = 20;

/// Inode of the AF_XDP socket bound to the queue, by sock_diag (include/uapi/linux/xdp_diag.h).
fn inode(ifindex: u32, queue: u32) -> Option<u64> {
    const XDP_SHOW_INFO: u32 = 1;
    const DUMP: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let kind = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        kind,
        SockProtocol::NetlinkSockDiag,
    )
    .ok()?;
    let mut ask = Vec::with_capacity(36);
    ask.extend_from_slice(&36u32.to_ne_bytes());
    ask.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    ask.extend_from_slice(&DUMP.to_ne_bytes());
    ask.extend_from_slice(&[0; 8]);
    ask.extend_from_slice(&[libc::AF_XDP as u8, 0, 0, 0]);
    ask.extend_from_slice(&[0; 4]);
    ask.extend_from_slice(&XDP_SHOW_INFO.to_ne_bytes());
    ask.extend_from_slice(&[0; 8]);
    send(netlink.as_raw_fd(), &ask, MsgFlags::empty()).ok()?;
    let mut answer = vec![0u8; 32 << 10];
    // The kernel answers a dump part by part; a bounded number is read.
    for _ in 0..64 {
        let got = nix::unistd::read(&netlink, &mut answer).ok()?;
        match search(answer.get(..got)?, ifindex, queue) {
            Search::More => {}
            Search::Found(inode) => return Some(inode),
            Search::End => return None,
        }
    }
    None
}

#[derive(Debug, PartialEq, Eq)]
enum Search {
    Found(u64),
    More,
    End,
}

/// Looks for the queue's socket in one part of the kernel's answer.
fn search(mut rest: &[u8], ifindex: u32, queue: u32) -> Search {
    const XDP_DIAG_INFO: u16 = 1;
    while let Some(len) = word(rest, 0)
        .map(|len| len as usize)
        .filter(|len| (16..=rest.len()).contains(len))
    {
        let (message, tail) = rest.split_at(len.next_multiple_of(4).min(rest.len()));
        let kind = half(message, 4).unwrap_or_default();
        if kind != BY_FAMILY {
            return Search::End;
        }
        let info = attribute(message.get(32..).unwrap_or_default(), XDP_DIAG_INFO).unwrap_or_default();
        if word(info, 0) == Some(ifindex)
            && word(info, 4) == Some(queue)
            && let Some(inode) = word(message, 20)
        {
            return Search::Found(inode.into());
        }
        rest = tail;
    }
    Search::More
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Names and ids of the processes for which `is` holds.
fn processes(is: impl Fn(&Path) -> bool) -> Vec<(String, u32)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = all.filter_map(|entry| Some((entry.path(), entry.file_name().to_str()?.parse().ok()?)));
    let found = numbered.filter(|(path, _)| is(path));
    found
        .map(|(path, pid)| {
            (
                fs::read_to_string(path.join("comm"))
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
                pid,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One message: socket `inode` bound to an interface's queue.
    fn message(inode: u32, ifindex: u32, queue: u32) -> Vec<u8> {
        let words = [
            60u32,
            u32::from(BY_FAMILY),
            0,
            0,
            libc::AF_XDP as u32,
            inode,
            0,
            0,
            4 | 9 << 16,
            12 | 1 << 16,
        ];
        let mut out: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        out.extend_from_slice(&[ifindex.to_ne_bytes(), queue.to_ne_bytes()].concat());
        out.resize(60, 0);
        out
    }

    #[test]
    fn the_queues_socket_is_found_among_others() {
        let part = [message(7, 1, 0), message(8, 2, 0), message(9, 2, 3)].concat();
        assert_eq!(search(&part, 2, 3), Search::Found(9));
        assert_eq!(search(&part, 2, 4), Search::More);
        let done = [20u32, u32::from(libc::NLMSG_DONE as u16), 0, 0, 0]
            .map(u32::to_ne_bytes)
            .concat();
        assert_eq!(search(&done, 2, 3), Search::End);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_search_panic_or_run_on(head in 0u32..80, tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = head.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&u32::from(BY_FAMILY).to_ne_bytes());
            bytes.extend_from_slice(&tail);
            search(&bytes, 1, 0);
        }
    }
}
