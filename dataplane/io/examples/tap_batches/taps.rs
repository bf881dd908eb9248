//! Decides which taps there are and what the stack behind them sends. It never reads or writes a tap.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use sluice_io::PacketIo;
use sluice_io::tap::{self, Tap, TapSpec};
use sluice_wire::PortSlot;
use sluice_wire::checksum::sum;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Offload header of a tap (virtio 1.2, section 5.1.6), and of a packet socket, which has no count of buffers.
pub(crate) const HEADER: usize = 12;
const SOCKET_HEADER: usize = 10;
/// What any frame with its header fits into.
pub(crate) const LARGEST: usize = 65_600;
const SUPER_FRAME: usize = 65_000;
const SEGMENT: u16 = 1_448;
const TRIES: u32 = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Small,
    Super,
}

impl Kind {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Small => 60,
            Self::Super => SUPER_FRAME,
        }
    }

    /// Frames that wait at each ready tap: a conversation, and a flood.
    pub(crate) fn depths(self) -> [usize; 2] {
        match self {
            Self::Small => [1, 32],
            Self::Super => [1, 8],
        }
    }

    /// Offload header and frame, to an address that the receiving stack does not have: it ends there at once, so that
    /// the calls are as much of the cost as they can be.
    fn packet(self) -> Vec<u8> {
        let len = self.bytes();
        let mut frame = vec![0; len];
        frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0]);
        frame[14..34].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
        frame[16..18].copy_from_slice(&(len as u16 - 14).to_be_bytes());
        let check = sum(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&check.to_be_bytes());
        frame[34..38].copy_from_slice(&[0x30, 0x39, 0x1f, 0x90]);
        // Header of 20 bytes, ACK.
        frame[46..48].copy_from_slice(&[0x50, 0x10]);
        let mut packet = vec![0; SOCKET_HEADER];
        if self == Self::Super {
            // Checksum to be completed, TCP over IPv4.
            packet[..2].copy_from_slice(&[1, 1]);
            packet[2..4].copy_from_slice(&54u16.to_ne_bytes());
            packet[4..6].copy_from_slice(&SEGMENT.to_ne_bytes());
            packet[6..8].copy_from_slice(&34u16.to_ne_bytes());
            packet[8..10].copy_from_slice(&16u16.to_ne_bytes());
        }
        packet.extend(frame);
        packet
    }
}

/// Taps in the namespace of the calling thread.
pub(crate) struct Taps {
    taps: Vec<Tap>,
    source: Arc<Source>,
}

/// A packet socket that sends out of taps, as the stacks behind them.
pub(crate) struct Source {
    socket: OwnedFd,
    interfaces: Vec<u32>,
    packets: [Vec<u8>; 2],
}

impl Taps {
    pub(crate) fn new(prefix: &str, count: usize) -> io::Result<Self> {
        let one = |n| {
            let spec = TapSpec {
                name: format!("{prefix}{n}"),
                netns: None,
                queues: 1,
                mac: None,
                mtu: 1500,
                tx_queue_len: 1000,
                up: true,
                port: PortSlot(1),
                uso: true,
            };
            tap::create(&spec).map_err(io::Error::other)
        };
        let taps = (0..count).map(one).collect::<io::Result<Vec<_>>>()?;
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        set(&socket, libc::PACKET_QDISC_BYPASS)?;
        set(&socket, libc::PACKET_VNET_HDR)?;
        let source = Source {
            socket,
            interfaces: taps.iter().map(|tap| tap.ifindex).collect(),
            packets: [Kind::Small.packet(), Kind::Super.packet()],
        };
        Ok(Self {
            taps,
            source: Arc::new(source),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.taps.len()
    }

    pub(crate) fn source(&self) -> Arc<Source> {
        Arc::clone(&self.source)
    }

    /// Descriptors of all taps, in order.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let queues = self.taps.iter().flat_map(|tap| &tap.queues);
        queues.filter_map(PacketIo::readiness)
    }

    pub(crate) fn raw(&self) -> Vec<RawFd> {
        self.descriptors().map(|fd| fd.as_raw_fd()).collect()
    }
}

impl Source {
    /// The stacks behind `ready` taps, beginning at `start`, send `each` frames.
    pub(crate) fn send(&self, start: usize, ready: usize, each: usize, kind: Kind) -> io::Result<()> {
        let packet = &self.packets[usize::from(kind == Kind::Super)];
        for n in 0..ready {
            let interface = self.interfaces[(start + n) % self.interfaces.len()];
            // SAFETY: zero is a valid sockaddr_ll.
            let mut to: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_protocol = (libc::ETH_P_IP as u16).to_be();
            to.sll_ifindex = interface as i32;
            to.sll_halen = 6;
            for _ in 0..each {
                self.send_one(&to, packet)?;
            }
        }
        Ok(())
    }

    /// Sends; tries again as long as the kernel has no memory for a super-frame at that moment, but not for ever.
    fn send_one(&self, to: &libc::sockaddr_ll, packet: &[u8]) -> io::Result<()> {
        let mut tries = 0;
        loop {
            // SAFETY: packet and address are borrowed for the call, with their sizes.
            let sent = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    packet.as_ptr().cast(),
                    packet.len(),
                    0,
                    core::ptr::from_ref(to).cast(),
                    size_of_val(to) as u32,
                )
            };
            if sent >= 0 {
                return Ok(());
            }
            let err = io::Error::last_os_error();
            tries += 1;
            if err.raw_os_error() != Some(libc::ENOBUFS) || tries == TRIES {
                return Err(io::Error::new(
                    err.kind(),
                    format!("cannot send out of interface {}: {err}", to.sll_ifindex),
                ));
            }
            std::thread::yield_now();
        }
    }
}

fn set(socket: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: an integer and its size are passed.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as u32,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
