//! What this crate's tests share: counted frame memory, namespaces that go with their thread, deadlines.

use crate::{Burst, Frame, PacketIo};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::{Meta, PortSlot};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Memory whose frames are counted at the end.
pub(crate) struct Lake {
    pub(crate) small: Memory,
    pub(crate) large: Memory,
}

impl Lake {
    pub(crate) fn new() -> Self {
        Self::of(4096, 2048)
    }

    pub(crate) fn of(chunk: usize, count: usize) -> Self {
        Self {
            small: Memory::new(chunk, count).unwrap(),
            large: Memory::new(LARGE_CHUNK, 256).unwrap(),
        }
    }

    pub(crate) fn pools(&self) -> Pools {
        Pools::new(&self.small, &self.large)
    }

    /// Every chunk is in its depot: all pools must be dropped by now.
    #[track_caller]
    pub(crate) fn assert_full(&self) {
        assert_eq!(
            (self.small.home(), self.large.home()),
            (self.small.count(), self.large.count()),
            "frames leaked"
        );
    }
}

pub(crate) fn frame_of(pools: &mut Pools, bytes: &[u8]) -> Frame {
    let mut buf = if bytes.len() <= 1500 {
        pools.small.alloc().unwrap()
    } else {
        pools.large.alloc().unwrap()
    };
    buf.extend(bytes.len()).unwrap().copy_from_slice(bytes);
    Frame {
        buf,
        meta: Meta::from_port(PortSlot(0)),
    }
}

/// A plain Ethernet frame with an experimental EtherType (IEEE 802 local 1), which no stack answers.
pub(crate) fn plain(len: usize, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; len];
    bytes[..14].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    bytes
}

/// Repeats `step` until it gives something; fails the test after ten seconds.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = step() {
            return value;
        }
        assert!(Instant::now() < end, "deadline passed: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Receives until `keep` frames that satisfy `want` have come; others are freed.
#[track_caller]
pub(crate) fn collect(
    io: &mut dyn PacketIo,
    pools: &mut Pools,
    count: usize,
    want: impl Fn(&Frame) -> bool,
) -> Vec<(Meta, Vec<u8>)> {
    let mut out = Vec::new();
    let mut burst = Burst::new();
    until("frames to arrive", || {
        io.recycle(pools);
        io.receive(pools, &mut burst, sluice_wire::BURST);
        for frame in burst.drain(..) {
            if want(&frame) {
                let mut bytes = frame.buf.bytes().to_vec();
                let mut next = frame.buf.next();
                while let Some(segment) = next {
                    bytes.extend_from_slice(segment.bytes());
                    next = segment.next();
                }
                out.push((frame.meta, bytes));
            }
            pools.free(frame.buf);
        }
        (out.len() >= count).then_some(())
    });
    out
}

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace of its own (and private mounts), alive as long as its thread; nothing is left behind, also not by a panic.
pub(crate) struct Namespace {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(crate) tid: i32,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (work, queue) = mpsc::channel::<Work>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            use nix::mount::{MsFlags, mount};
            use nix::sched::{CloneFlags, unshare};
            // Mounts of its own too, so that a BPF file system that a test mounts goes with the thread; and what the
            // machine has mounted there is covered, so that no two tests share their pins.
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            let made = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>))
                .and_then(|()| {
                    mount(
                        Some("tmpfs"),
                        "/sys/fs/bpf",
                        Some("tmpfs"),
                        MsFlags::empty(),
                        None::<&str>,
                    )
                });
            tell.send(made.map(|()| nix::unistd::gettid().as_raw())).unwrap();
            queue.into_iter().for_each(|work| work());
        });
        let tid = match told.recv().unwrap() {
            Ok(tid) => tid,
            Err(err) => panic!(
                "this test needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF): cannot unshare the network: {err}"
            ),
        };
        let namespace = Self {
            work: Some(work),
            thread: Some(thread),
            tid,
        };
        namespace.ip("link set lo up");
        // Interfaces made from here on send nothing of their own accord.
        namespace.run(|| std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap());
        namespace
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/task/{}/ns/net", self.tid))
    }

    /// Runs `work` inside and waits for it.
    #[track_caller]
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let work: Work = Box::new(move || {
            let _ = tell.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
        });
        self.work.as_ref().unwrap().send(work).unwrap();
        told.recv()
            .unwrap()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// `ip <args>` inside; its output.
    #[track_caller]
    pub(crate) fn ip(&self, args: &str) -> String {
        self.command("ip", args)
    }

    #[track_caller]
    pub(crate) fn command(&self, program: &'static str, args: &str) -> String {
        let words: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let out = self.run(move || Command::new(program).args(words).output());
        let out = out.unwrap_or_else(|err| panic!("cannot run {program}: {err}"));
        assert!(
            out.status.success(),
            "{program} {args}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// A veth pair to `other`, both ends up; `here` and `there` are the names.
    #[track_caller]
    pub(crate) fn wire(&self, here: &str, other: &Self, there: &str, queues: u16) {
        self.ip(&format!(
            "link add {here} numtxqueues {queues} numrxqueues {queues} type veth \
             peer name {there} numtxqueues {queues} numrxqueues {queues} netns {}",
            other.tid
        ));
        for (namespace, name) in [(self, here), (other, there)] {
            namespace.ip(&format!("link set {name} up"));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A packet socket bound to one interface, as another program of the node would have it.
pub(crate) struct Raw(std::os::fd::OwnedFd);

impl Raw {
    /// Must run inside the namespace of the interface.
    #[track_caller]
    pub(crate) fn on(name: &str) -> Self {
        use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
        use std::os::fd::AsRawFd;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .unwrap();
        let ifindex = nix::net::if_::if_nametoindex(name).unwrap();
        // SAFETY: zero is a valid sockaddr_ll, and `bind` reads just one.
        let bound = unsafe {
            let mut address: libc::sockaddr_ll = core::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            address.sll_ifindex = ifindex as i32;
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        setsockopt(&fd, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(5, 0)).unwrap();
        Self(fd)
    }

    /// Sends; frames longer than the interface takes are refused by the kernel, which is no failure here.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        use std::os::fd::AsRawFd;
        nix::sys::socket::send(self.0.as_raw_fd(), bytes, nix::sys::socket::MsgFlags::empty()).is_ok()
    }

    /// The next frame that came from outside.
    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<u8> {
        self.try_receive(5_000).expect("no frame within five seconds")
    }

    pub(crate) fn try_receive(&self, patience_ms: i32) -> Option<Vec<u8>> {
        use std::os::fd::AsRawFd;
        loop {
            let mut poll = libc::pollfd {
                fd: self.0.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd is passed.
            if unsafe { libc::poll(&raw mut poll, 1, patience_ms) } <= 0 {
                return None;
            }
            let mut bytes = vec![0; 70_000];
            // SAFETY: zero is a valid sockaddr_ll; the kernel writes at most its size and the buffer's.
            let (got, kind) = unsafe {
                let mut from: libc::sockaddr_ll = core::mem::zeroed();
                let mut size = size_of_val(&from) as u32;
                let got = libc::recvfrom(
                    self.0.as_raw_fd(),
                    bytes.as_mut_ptr().cast(),
                    bytes.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut size,
                );
                (got, from.sll_pkttype)
            };
            assert!(got >= 0, "{}", std::io::Error::last_os_error());
            if kind != libc::PACKET_OUTGOING {
                bytes.truncate(got as usize);
                return Some(bytes);
            }
        }
    }
}
