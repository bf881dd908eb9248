//! Decides how tunnel packets reach the packet path that came in fragments: the kernel puts them together for a UDP socket, and
//! they go on as frames with the headers they would have had. It never sends, and never answers: while the socket lives, the
//! kernel does not either.

use crate::{Burst, Caps, Frame, PacketIo, Received, Recycled, Sent, Stats};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, bind,
    recvmsg, setsockopt, socket, sockopt,
};
use sluice_mem::{Buf, Pools};
use sluice_wire::{Addr, Meta, PortSlot, udp};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes that wait in the kernel: bulk transfers over a path that fragments all of it come in bursts.
const WAITING: usize = 4 << 20;

/// Datagrams to the tunnel port of one family, received by one interface.
pub struct Reassembled {
    fd: OwnedFd,
    v4: bool,
    tunnel_port: u16,
    port: PortSlot,
    control: Vec<u8>,
    stats: Stats,
}

enum Read {
    Frame,
    Invalid,
    Empty,
}

/// Where a datagram came from, and to which address.
struct Ends {
    src: (Addr, u16),
    dst: Option<Addr>,
    tos: u8,
    len: usize,
    whole: bool,
}

impl Reassembled {
    /// Listens on `interface` for one family. What it receives carries `port` as its ingress.
    ///
    /// # Errors
    /// What the kernel says; `AddrInUse` when a VXLAN device has the port.
    pub fn open(interface: &str, tunnel_port: u16, v4: bool, port: PortSlot) -> io::Result<Self> {
        let family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Datagram, flags, None)?;
        // Only from the uplink: a machine of another network of the node is nobody's peer.
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(interface))?;
        setsockopt(&fd, sockopt::RcvBufForce, &WAITING).or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &WAITING))?;
        if v4 {
            setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
            setsockopt(&fd, sockopt::IpRecvTos, &true)?;
            let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, tunnel_port);
            bind(fd.as_raw_fd(), &SockaddrIn::from(any))?;
        } else {
            setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
            setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&fd, sockopt::Ipv6RecvTClass, &true)?;
            let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, tunnel_port, 0, 0);
            bind(fd.as_raw_fd(), &SockaddrIn6::from(any))?;
        }
        Ok(Self {
            fd,
            v4,
            tunnel_port,
            port,
            control: cmsg_space!(libc::in6_pktinfo, libc::c_int),
            stats: Stats::default(),
        })
    }

    /// Reads a datagram behind the room for its headers.
    fn read(&mut self, buf: &mut Buf) -> Read {
        let front = udp::front_len(self.v4);
        let room = buf.tailroom();
        let Some(bytes) = buf.extend(room) else {
            return Read::Invalid;
        };
        let Some(payload) = bytes.get_mut(front..) else {
            return Read::Invalid;
        };
        let ends = match receive(&self.fd, payload, &mut self.control) {
            Ok(Some(ends)) => ends,
            Err(Errno::EAGAIN) => return Read::Empty,
            // An error that waited at the socket is taken by this, and one packet is not worth more.
            Ok(None) | Err(_) => return Read::Invalid,
        };
        buf.truncate(front + ends.len);
        let Some(dst) = ends.dst.filter(|_| ends.whole) else {
            return Read::Invalid;
        };
        let written = udp::write_front(buf.bytes_mut(), ends.src, (dst, self.tunnel_port), ends.tos);
        if written { Read::Frame } else { Read::Invalid }
    }
}

/// `None` for a sender without an IP address.
fn receive(fd: &OwnedFd, payload: &mut [u8], control: &mut [u8]) -> nix::Result<Option<Ends>> {
    let mut parts = [IoSliceMut::new(payload)];
    let got = recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let sender = got.address.as_ref();
    let src = match sender.map(|s| (s.as_sockaddr_in(), s.as_sockaddr_in6())) {
        Some((Some(v4), _)) => (Addr::v4(v4.ip().octets()), v4.port()),
        Some((_, Some(v6))) => (Addr::v6(v6.ip().octets()), v6.port()),
        _ => return Ok(None),
    };
    let (mut dst, mut tos) = (None, 0);
    for message in got.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => dst = Some(Addr::v4(info.ipi_addr.s_addr.to_ne_bytes())),
            ControlMessageOwned::Ipv6PacketInfo(info) => dst = Some(Addr::v6(info.ipi6_addr.s6_addr)),
            ControlMessageOwned::Ipv4Tos(value) => tos = value,
            ControlMessageOwned::Ipv6TClass(value) => tos = value as u8,
            _ => {}
        }
    }
    Ok(Some(Ends {
        src,
        dst,
        tos,
        len: got.bytes,
        whole: !got.flags.contains(MsgFlags::MSG_TRUNC),
    }))
}

impl PacketIo for Reassembled {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        let mut received = Received::default();
        // Nobody knows the size before it is read.
        let mut large = None;
        // Bounded, whatever the socket says.
        while (received.frames as usize) < most && !burst.is_full() && (received.invalid as usize) < sluice_wire::BURST
        {
            large = large.or_else(|| pools.large.alloc());
            let Some(buf) = &mut large else {
                self.stats.rx_no_memory += 1;
                received.more = true;
                break;
            };
            match self.read(buf) {
                Read::Empty => break,
                Read::Invalid => {
                    received.invalid += 1;
                    buf.truncate(0);
                }
                Read::Frame => {
                    let Some(small) = copied(pools, buf) else {
                        burst.extend(large.take().map(|buf| Frame {
                            buf,
                            meta: Meta::from_port(self.port),
                        }));
                        received.frames += 1;
                        continue;
                    };
                    burst.push(Frame {
                        buf: small,
                        meta: Meta::from_port(self.port),
                    });
                    buf.truncate(0);
                    received.frames += 1;
                }
            }
        }
        received.more |= received.frames as usize >= most || burst.is_full();
        large.into_iter().for_each(|buf| pools.free(buf));
        self.stats.rx_frames += u64::from(received.frames);
        self.stats.rx_invalid += u64::from(received.invalid);
        received
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let refused = burst.len() as u32;
        burst.drain(..).for_each(|frame| pools.free(frame.buf));
        self.stats.tx_refused += u64::from(refused);
        Sent {
            refused,
            ..Sent::default()
        }
    }

    fn recycle(&mut self, _pools: &mut Pools) -> Recycled {
        Recycled::default()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn caps(&self) -> Caps {
        Caps::default()
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    fn close(self: Box<Self>, _pools: &mut Pools) {}
}

/// The same bytes in an ordinary frame, if they fit: large ones are few.
fn copied(pools: &mut Pools, from: &Buf) -> Option<Buf> {
    let mut small = pools.small.alloc()?;
    match small.extend(from.len()) {
        Some(room) => {
            room.copy_from_slice(from.bytes());
            Some(small)
        }
        None => {
            pools.free(small);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lake, Namespace, collect};
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn a_datagram_that_came_in_fragments_is_a_frame_again() {
        let (a, b) = (Namespace::new(), Namespace::new());
        a.wire("up0", &b, "peer0", 1);
        for (namespace, device) in [(&a, "up0"), (&b, "peer0")] {
            let key = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
            namespace.run(move || std::fs::write(key, "0").unwrap());
        }
        a.ip("address add 192.0.2.1/24 dev up0");
        a.ip("address add 2001:db8::1/64 dev up0 nodad");
        b.ip("address add 192.0.2.2/24 dev peer0");
        b.ip("address add 2001:db8::2/64 dev peer0 nodad");
        let lake = Lake::new();
        for (v4, from, to) in [(true, "192.0.2.2", "192.0.2.1"), (false, "2001:db8::2", "2001:db8::1")] {
            let mut io = a.run(move || Reassembled::open("up0", 8472, v4, PortSlot(5)).unwrap());
            let sender = b.run(move || UdpSocket::bind((from, 50_000)).unwrap());
            for len in [100usize, 3000, 9000] {
                let payload: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
                sender.send_to(&payload, (to, 8472)).unwrap();
                let mut pools = lake.pools();
                let frames = collect(&mut io, &mut pools, 1, |_| true);
                let (meta, bytes) = &frames[0];
                let Ok(sluice_wire::Packet::Ip(p)) = sluice_wire::parse(bytes) else {
                    panic!("no IP packet");
                };
                let addr = |text: &str| Addr::from(text.parse::<std::net::IpAddr>().unwrap());
                assert_eq!((p.tuple.src, p.tuple.dst), (addr(from), addr(to)));
                assert_eq!((p.tuple.sport, p.tuple.dport), (50_000, 8472));
                assert!(sluice_wire::checksum::verify_transport(bytes, &p));
                assert_eq!(bytes[usize::from(p.payload)..], payload);
                assert_eq!(meta.ingress, PortSlot(5));
            }
            assert_eq!((io.stats().rx_frames, io.stats().rx_invalid), (3, 0));
        }
        lake.assert_full();
    }

    #[test]
    fn only_what_comes_by_the_uplink_is_taken() {
        let (a, b, c) = (Namespace::new(), Namespace::new(), Namespace::new());
        a.wire("up0", &b, "peer0", 1);
        a.wire("other0", &c, "peer0", 1);
        a.ip("address add 198.51.100.1/24 dev other0");
        c.ip("address add 198.51.100.2/24 dev peer0");
        let lake = Lake::new();
        let mut io = a.run(|| Reassembled::open("up0", 8472, true, PortSlot(5)).unwrap());
        let answer = c.run(|| {
            let socket = UdpSocket::bind("198.51.100.2:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.connect("198.51.100.1:8472").unwrap();
            socket.send(b"x").unwrap();
            socket.recv(&mut [0; 8]).unwrap_err().kind()
        });
        assert_eq!(answer, io::ErrorKind::ConnectionRefused, "nobody listens there");
        let mut pools = lake.pools();
        let mut burst = Burst::new();
        assert_eq!(
            io.receive(&mut pools, &mut burst, sluice_wire::BURST),
            Received::default()
        );
        let taken = a.run(|| {
            Reassembled::open("up0", 8472, true, PortSlot(5))
                .err()
                .map(|err| err.kind())
        });
        assert_eq!(taken, Some(io::ErrorKind::AddrInUse));
    }
}
