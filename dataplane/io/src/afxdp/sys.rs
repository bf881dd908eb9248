//! Decides how an AF_XDP socket is asked for what it has: the system calls, typed. It never retries or explains.

use super::ring::{Consumer, Parts, Producer};
use core::ptr::NonNull;
use libc::{c_int, c_void, socklen_t, xdp_desc, xdp_mmap_offsets, xdp_ring_offset};
use sluice_mem::Memory;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A socket, and what may be asked of it.
pub(super) struct Socket(OwnedFd);

/// The four rings of one socket.
pub(super) struct Rings {
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) rx: Consumer<xdp_desc>,
    pub(super) tx: Producer<xdp_desc>,
}

/// Sizes of a socket's rings in entries; powers of two.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) fill: u32,
    pub(super) completion: u32,
    pub(super) rx: u32,
    pub(super) tx: u32,
}

/// How to bind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bind {
    ZeroCopy,
    Copy,
    /// With the frame memory, and in the mode, of a socket that is bound already.
    Shared(c_int),
}

struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping of shared memory belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `Socket::map`, and only the ring that drops us pointed into it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl Socket {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn register(&self, memory: &Memory) -> io::Result<()> {
        let (base, len) = memory.region();
        let region = libc::xdp_umem_reg {
            addr: base.as_ptr() as u64,
            len: len as u64,
            chunk_size: memory.chunk_size() as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        self.set(libc::XDP_UMEM_REG, &region)
    }

    pub(super) fn rings(&self, sizes: Sizes) -> io::Result<Rings> {
        self.set(libc::XDP_UMEM_FILL_RING, &sizes.fill)?;
        self.set(libc::XDP_UMEM_COMPLETION_RING, &sizes.completion)?;
        self.set(libc::XDP_RX_RING, &sizes.rx)?;
        self.set(libc::XDP_TX_RING, &sizes.tx)?;
        let at: xdp_mmap_offsets = self.get(libc::XDP_MMAP_OFFSETS)?;
        let fill = self.map::<u64>(&at.fr, sizes.fill, libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t)?;
        let completion = self.map::<u64>(
            &at.cr,
            sizes.completion,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
        )?;
        let rx = self.map::<xdp_desc>(&at.rx, sizes.rx, libc::XDP_PGOFF_RX_RING)?;
        let tx = self.map::<xdp_desc>(&at.tx, sizes.tx, libc::XDP_PGOFF_TX_RING)?;
        // SAFETY: the kernel told where the parts of each mapping lie, the mapping travels along as backing, each ring
        // of this socket is mapped once, and the kernel zeroes the entries.
        unsafe {
            Ok(Rings {
                fill: Producer::new(fill),
                completion: Consumer::new(completion),
                rx: Consumer::new(rx),
                tx: Producer::new(tx),
            })
        }
    }

    /// Binds; `jumbo` also takes frames of several descriptors. Who shares frame memory shares that as well.
    pub(super) fn bind(&self, ifindex: u32, queue: u32, how: Bind, jumbo: bool) -> io::Result<()> {
        let own = libc::XDP_USE_NEED_WAKEUP | if jumbo { libc::XDP_USE_SG } else { 0 };
        let (flags, shared) = match how {
            Bind::ZeroCopy => (libc::XDP_ZEROCOPY | own, 0),
            Bind::Copy => (libc::XDP_COPY | own, 0),
            Bind::Shared(fd) => (libc::XDP_SHARED_UMEM, fd as u32),
        };
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: flags,
            sxdp_ifindex: ifindex,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: shared,
        };
        let len = size_of_val(&address) as socklen_t;
        // SAFETY: `address` is a sockaddr of that length, borrowed for the call.
        check(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), len) })
    }

    /// Whether this kernel (6.6 or newer) knows frames of several descriptors: an older one refuses the flag before it
    /// looks for the interface, of which there is none by this index.
    pub(super) fn knows_jumbo() -> bool {
        let refusal = Self::new().and_then(|socket| socket.bind(0, 0, Bind::Copy, true)).err();
        refusal.and_then(|err| err.raw_os_error()) == Some(libc::ENODEV)
    }

    /// Whether zero-copy was obtained.
    pub(super) fn zero_copy(&self) -> io::Result<bool> {
        let options: libc::xdp_options = self.get(libc::XDP_OPTIONS)?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    pub(super) fn statistics(&self) -> io::Result<libc::xdp_statistics> {
        self.get(libc::XDP_STATISTICS)
    }

    /// The pending error of the socket: set when its interface was deleted.
    pub(super) fn error(&self) -> Option<io::Error> {
        nix::sys::socket::getsockopt(&self.0, nix::sys::socket::sockopt::SocketError).map_or_else(
            |errno| Some(errno.into()),
            |code| (code != 0).then(|| io::Error::from_raw_os_error(code)),
        )
    }

    /// Lets the kernel have so many bytes of frames of ours under way, its own accounting included.
    pub(super) fn send_buffer(&self, bytes: usize) -> io::Result<()> {
        Ok(nix::sys::socket::setsockopt(
            &self.0,
            nix::sys::socket::sockopt::SndBufForce,
            &bytes,
        )?)
    }

    /// Asks the kernel to look at the transmit ring.
    pub(super) fn kick_tx(&self) -> io::Result<()> {
        // SAFETY: an empty message without address; nothing is read.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                core::ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                core::ptr::null(),
                0,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Asks the kernel to look at the fill ring.
    pub(super) fn kick_fill(&self) {
        // SAFETY: an empty buffer and no address; nothing is written. An error means that there was nothing to wake.
        unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                core::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                core::ptr::null_mut(),
                core::ptr::null_mut(),
            )
        };
    }

    fn set<T>(&self, option: c_int, value: &T) -> io::Result<()> {
        let len = size_of::<T>() as socklen_t;
        // SAFETY: `value` is readable for its size, borrowed for the call.
        check(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_XDP,
                option,
                core::ptr::from_ref(value).cast(),
                len,
            )
        })
    }

    fn get<T>(&self, option: c_int) -> io::Result<T> {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        let mut len = size_of::<T>() as socklen_t;
        // SAFETY: the kernel writes at most `len` bytes.
        check(unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_XDP,
                option,
                value.as_mut_ptr().cast(),
                &raw mut len,
            )
        })?;
        // SAFETY: the types asked for here are structures of integers, for which zero bytes are valid too.
        Ok(unsafe { value.assume_init() })
    }

    fn map<T>(&self, at: &xdp_ring_offset, size: u32, offset: libc::off_t) -> io::Result<Parts<T>> {
        let len = at.desc as usize + size as usize * size_of::<T>();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                core::ptr::null_mut::<c_void>(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                self.0.as_raw_fd(),
                offset,
            )
        };
        let Some(base) = NonNull::new(base.cast::<u8>()).filter(|_| base != libc::MAP_FAILED) else {
            return Err(io::Error::last_os_error());
        };
        let mapping = Mapping { base, len };
        // SAFETY: the kernel's offsets lie within the mapping that it asked for.
        unsafe {
            Ok(Parts {
                producer: base.add(at.producer as usize).cast(),
                consumer: base.add(at.consumer as usize).cast(),
                flags: base.add(at.flags as usize).cast(),
                entries: base.add(at.desc as usize).cast(),
                size,
                _backing: Box::new(mapping),
            })
        }
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
