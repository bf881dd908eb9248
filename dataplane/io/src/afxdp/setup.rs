//! Decides how an uplink's queues are opened: which mode is obtained, and what a person is told when none is.
//! It never touches a frame.

use super::sys::{Bind, Sizes, Socket};
use super::{Attach, Copying, Mode, XskQueue, holder, jumbo};
use crate::xdp::{Feed, SteeringError};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use sluice_mem::{Memory, Pools};
use sluice_wire::PortSlot;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// How long a queue may stay busy after its last holder closed it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Frame memory that sockets of several queues and devices register with the kernel together.
///
/// The first socket registers it, further ones share that registration and with it the mode (kernel: `xp_assign_dev_shared`);
/// a device that cannot do that mode gets a registration of its own, which costs the page pinning again and nothing else.
#[derive(Clone)]
pub struct Umem {
    memory: Memory,
    bound: Arc<Mutex<Vec<Bound>>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Bound {
    fd: RawFd,
    copying: Copying,
}

/// A bound socket's place among those that others can share the frame memory by; left on drop.
pub(super) struct Member {
    bound: Arc<Mutex<Vec<Bound>>>,
    fd: RawFd,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|member| member.fd != self.fd);
    }
}

impl Umem {
    /// Frame memory for AF_XDP. Take chunks of 4096 where frames may be longer than 1024 bytes: some NICs write whole
    /// KiB only, and of 2048 bytes the headroom leaves but one (igb in zero-copy mode cuts frames there).
    ///
    /// # Errors
    /// The chunk size is not 2048 or 4096: the kernel takes powers of two from 2048 to the page size.
    pub fn new(memory: &Memory) -> Result<Self, SetupError> {
        match memory.chunk_size() {
            2048 | 4096 => Ok(Self {
                memory: memory.clone(),
                bound: Arc::default(),
            }),
            got => Err(SetupError::ChunkSize { got }),
        }
    }

    /// The memory behind.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn join(&self, fd: RawFd, copying: Copying) -> Member {
        self.bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Bound { fd, copying });
        Member {
            bound: Arc::clone(&self.bound),
            fd,
        }
    }
}

/// Entries of a ring where there is room for that many.
pub const RING_SIZE: u32 = 2048;
/// Entries of one where the kernel copies: more carry less, see docs/design/0002-af-xdp-sockets.md.
pub const COPY_RING_SIZE: u32 = 256;

/// What to open.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Name of the interface, in the caller's network namespace.
    pub interface: String,
    /// Queues to open; see [`queue_count`].
    pub queues: Vec<u32>,
    /// Entries of each receive and transmit ring, a power of two. The fill ring has twice as many, so that a full receive
    /// ring leaves the NIC chunks to write to; a queue holds up to four times this number of chunks.
    pub ring_size: u32,
    /// The same where the kernel copies frames. It takes chunks in the order of the ring, so that few entries are few chunks, which stay
    /// in the processor's caches.
    pub copy_ring_size: u32,
    /// What received frames carry as their ingress.
    pub port: PortSlot,
    /// Whether a frame may lie in several chunks, where the kernel can that (Linux 6.6).
    pub multi_buffer: bool,
}

/// An interface whose queues are open and fed by the program.
pub struct Uplink {
    /// The mode obtained, the same for all queues.
    pub mode: Mode,
    /// One socket for each queue asked for, in that order.
    pub queues: Vec<XskQueue>,
}

/// Why an uplink could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// See [`Umem::new`].
    #[error("AF_XDP takes frames in chunks of 2048 or 4096 bytes, not {got}")]
    ChunkSize {
        /// Bytes asked for.
        got: usize,
    },
    /// See [`QueueSpec::ring_size`].
    #[error("uplink {interface}: a ring of {got} entries; it must be a power of two from 64 to 16384")]
    RingSize {
        /// Interface.
        interface: String,
        /// Entries asked for.
        got: u32,
    },
    /// The interface does not exist, or cannot be asked.
    #[error("uplink {interface}: {source}. `ip link` lists the interfaces; name one of them (uplink.interface)")]
    Interface {
        /// Interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel would not pin the frame memory.
    #[error(
        "cannot lock {wanted_mib} MiB of frame memory: limit is {limit}. Run with CAP_IPC_LOCK, or raise LimitMEMLOCK in sluice.service"
    )]
    Memlock {
        /// Size of the frame memory.
        wanted_mib: usize,
        /// The process's limit.
        limit: String,
    },
    /// Another socket has the queue.
    #[error(
        "uplink {interface}: cannot bind AF_XDP socket on queue {queue}: {source}. {holder}. Stop it or name other queues (uplink.queues)"
    )]
    Busy {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
        /// Who has it.
        holder: String,
    },
    /// Any other refusal.
    #[error("uplink {interface}: cannot {step} for queue {queue}: {source}.{hint}")]
    Socket {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do, with a space in front; may be empty.
        hint: &'static str,
    },
    /// The sockets are there, the program refused them.
    #[error(transparent)]
    Steering(#[from] SteeringError),
}

/// Receive queues of an interface: those that the NIC has channels for, at least one.
///
/// # Errors
/// [`SetupError::Interface`] when there is no such interface.
pub fn queue_count(interface: &str) -> Result<u32, SetupError> {
    holder::channels(interface).map_err(|source| SetupError::Interface {
        interface: interface.to_owned(),
        source,
    })
}

/// Largest IP packet that an uplink over this memory carries: one chunk's worth, or with `multi_buffer` several chunks' where the
/// kernel can.
pub fn max_packet(memory: &Memory, multi_buffer: bool) -> usize {
    let chunks = if multi_buffer && Socket::knows_jumbo() {
        jumbo::MOST
    } else {
        1
    };
    jumbo::piece(memory) * chunks - ETHERNET
}

/// Opens the queues over `umem`, fills their rings from `pools`, and makes the attached program feed them: zero-copy
/// where the program runs in the driver and the driver can, else copying. The mode is logged.
///
/// # Errors
/// See [`SetupError`]. What was opened is closed again, and its chunks are back in `pools`.
pub fn open(spec: &QueueSpec, umem: &Umem, pools: &mut Pools, feed: &mut impl Feed) -> Result<Uplink, SetupError> {
    use crate::PacketIo;
    let interface = || spec.interface.clone();
    let fits = |entries: &u32| entries.is_power_of_two() && (64..=16_384).contains(entries);
    if let Some(got) = [spec.ring_size, spec.copy_ring_size]
        .into_iter()
        .find(|entries| !fits(entries))
    {
        return Err(SetupError::RingSize {
            interface: interface(),
            got,
        });
    }
    let about = |source| SetupError::Interface {
        interface: interface(),
        source,
    };
    let ifindex = nix::net::if_::if_nametoindex(spec.interface.as_str()).map_err(|e| about(e.into()))?;
    let wanted = holder::mtu(&spec.interface).map_err(about)? as usize + ETHERNET;
    let limit = max_packet(umem.memory(), spec.multi_buffer) + ETHERNET;
    if wanted > limit {
        tracing::warn!(interface = %spec.interface, wanted, limit, "frames above {limit} bytes are lost: lower the MTU");
    }
    let max_frame = wanted.min(limit);
    raise_memlock(umem);
    let mut copying = match feed.mode() {
        Some(Attach::Native) => Copying::ZeroCopy,
        _ => Copying::Copy,
    };
    let mut queues: Vec<XskQueue> = Vec::with_capacity(spec.queues.len());
    let mut again = spec.queues.iter();
    let outcome = loop {
        let Some(&queue) = again.next() else { break Ok(()) };
        match open_queue(spec, umem, pools, (ifindex, queue), (copying, max_frame)) {
            Ok(opened) => queues.push(opened),
            // One queue without zero-copy puts all of them into copy mode, so that the uplink has one mode.
            Err(_) if copying == Copying::ZeroCopy => {
                copying = Copying::Copy;
                queues.drain(..).for_each(|queue| Box::new(queue).close(pools));
                again = spec.queues.iter();
            }
            Err(err) => break Err(err),
        }
    };
    let outcome = outcome.and_then(|()| {
        queues
            .iter()
            .try_for_each(|queue| feed.set_socket(queue.queue(), queue.socket()))
            .map_err(SetupError::from)
    });
    if let Err(err) = outcome {
        queues.drain(..).for_each(|queue| Box::new(queue).close(pools));
        return Err(err);
    }
    let mode = Mode {
        attach: feed.mode().unwrap_or(Attach::Generic),
        copying,
    };
    tracing::info!(interface = %spec.interface, queues = queues.len(), max_frame, "{mode}");
    Ok(Uplink { mode, queues })
}

/// One queue, bound in exactly the mode asked for. Its fill ring is full before the bind: that is when a zero-copy driver
/// takes chunks to receive into, and igb, which found none, was never seen to take any later.
fn open_queue(
    spec: &QueueSpec,
    umem: &Umem,
    pools: &mut Pools,
    (ifindex, queue): (u32, u32),
    (copying, max_frame): (Copying, usize),
) -> Result<XskQueue, SetupError> {
    use crate::PacketIo;
    let fail = |step, source: io::Error, hint| SetupError::Socket {
        interface: spec.interface.clone(),
        queue,
        step,
        source,
        hint,
    };
    let entries = match copying {
        Copying::ZeroCopy => spec.ring_size,
        Copying::Copy => spec.copy_ring_size,
    };
    let sizes = Sizes {
        fill: entries * 2,
        completion: entries * 2,
        rx: entries,
        tx: entries,
    };
    let own = if copying == Copying::ZeroCopy {
        Bind::ZeroCopy
    } else {
        Bind::Copy
    };
    // Held until the bind is done, so that the socket whose registration is shared is not closed meanwhile.
    let bound = umem.bound.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = bound
        .iter()
        .find(|member| member.copying == copying)
        .map(|member| Bind::Shared(member.fd));
    let mut how = shared.unwrap_or(own);
    let end = Instant::now() + PATIENCE;
    loop {
        let socket = Socket::new().map_err(|e| fail("make an AF_XDP socket", e, KERNEL_HINT))?;
        if how == own {
            socket.register(&umem.memory).map_err(|e| match e.raw_os_error() {
                Some(libc::ENOBUFS | libc::ENOMEM) => memlock(umem),
                _ => fail("register the frame memory", e, ""),
            })?;
        }
        let rings = socket.rings(sizes).map_err(|e| fail("make rings", e, ""))?;
        // Copies count against the buffer until the device is done with them, and its usual size is that of a hundred frames.
        // Without it the ring is only worked off more slowly.
        if copying == Copying::Copy
            && let Err(err) = socket.send_buffer(sizes.tx as usize * umem.memory.chunk_size())
        {
            tracing::debug!(interface = %spec.interface, queue, %err, "the send buffer keeps its size");
        }
        let mut opened = XskQueue::new(socket, rings, umem, spec, queue, (copying, max_frame));
        opened.fill(pools, sizes.fill);
        let err = match opened.bind(ifindex, how) {
            Ok(got) if got == copying => {
                drop(bound);
                opened.join(umem);
                return Ok(opened);
            }
            Ok(_) => io::Error::from_raw_os_error(libc::EOPNOTSUPP),
            Err(err) => err,
        };
        Box::new(opened).close(pools);
        match err.raw_os_error() {
            Some(libc::EBUSY) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Some(libc::EBUSY) => {
                let holder = holder::of(ifindex, queue);
                return Err(SetupError::Busy {
                    interface: spec.interface.clone(),
                    queue,
                    source: err,
                    holder,
                });
            }
            _ if how != own => how = own,
            Some(libc::EINVAL) => return Err(fail("bind an AF_XDP socket", err, QUEUE_HINT)),
            Some(libc::ENETDOWN) => {
                return Err(fail(
                    "bind an AF_XDP socket",
                    err,
                    " Set the interface up (ip link set .. up)",
                ));
            }
            Some(libc::EPERM) => return Err(fail("bind an AF_XDP socket", err, KERNEL_HINT)),
            _ => return Err(fail("bind an AF_XDP socket", err, "")),
        }
    }
}

const KERNEL_HINT: &str = " It needs CAP_NET_RAW, and a kernel with CONFIG_XDP_SOCKETS";
const QUEUE_HINT: &str = " The interface has no such queue (ethtool -l), or its driver takes no AF_XDP";

/// Pinned frame memory counts against RLIMIT_MEMLOCK where CAP_IPC_LOCK is missing. A refusal here shows again, with a
/// remedy, when the memory is registered.
fn raise_memlock(umem: &Umem) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else {
        return;
    };
    let wanted = umem.memory.region().1 as u64;
    if soft >= wanted.saturating_mul(2) {
        return;
    }
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err() {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard);
    }
}

fn memlock(umem: &Umem) -> SetupError {
    let limit = match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => "none, so the machine is out of memory".to_owned(),
        Ok((soft, _)) => format!("{} MiB", soft >> 20),
        Err(_) => "unknown".to_owned(),
    };
    SetupError::Memlock {
        wanted_mib: umem.memory.region().1 >> 20,
        limit,
    }
}
