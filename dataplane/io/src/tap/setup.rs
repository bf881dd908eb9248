//! Decides how a tap is made, taken up again and removed. It never moves a frame.

use super::{TapQueue, header};
use crate::{Caps, netns};
use libc::{c_int, c_ulong, c_void, ifreq};
use sluice_wire::{MacAddr, PortSlot};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How a tap is to look.
#[derive(Clone, Debug)]
pub struct TapSpec {
    /// Name of the interface inside its namespace: 1 to 15 bytes.
    pub name: String,
    /// Path of the network namespace it lives in; the caller's own without one.
    pub netns: Option<PathBuf>,
    /// Queues, one for each worker: 1 to 256.
    pub queues: u16,
    /// Address of the interface; the kernel's choice without one.
    pub mac: Option<MacAddr>,
    /// Largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Frames that wait in each queue for the worker before the kernel drops. A tap gives senders no back-pressure, and
    /// the kernel's 500 are spent in under a millisecond at line rate; 1000 is the usual choice for Ethernet.
    pub tx_queue_len: u32,
    /// Whether to set the interface up.
    pub up: bool,
    /// What received frames carry as their ingress.
    pub port: PortSlot,
    /// Whether to ask for UDP segmentation, which kernels have from 6.2 on; false only to try what happens without.
    pub uso: bool,
}

/// A tap that exists, and the queues opened on it.
pub struct Tap {
    /// Index of the interface in its namespace.
    pub ifindex: u32,
    /// Name of the interface in its namespace.
    pub name: String,
    /// Its address.
    pub mac: MacAddr,
    /// Whether it was there before and has been taken up again.
    pub existed: bool,
    /// Offloads obtained.
    pub caps: Caps,
    /// One for each worker.
    pub queues: Vec<TapQueue>,
}

/// Why a tap could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The specification asks for what no kernel has.
    #[error("tap {name}: {what}")]
    Spec {
        /// Name asked for.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The namespace cannot be entered.
    #[error("tap {name}: {source}")]
    Namespace {
        /// Name asked for.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A step failed in the kernel.
    #[error("tap {name}: cannot {step}: {source}.{hint}")]
    Kernel {
        /// Name asked for.
        name: String,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do, with a space in front; may be empty.
        hint: &'static str,
    },
}

const MAX_FRAME: usize = 65_535 + 14;
const CSUM_AND_TSO: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const USO: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Makes the tap, or takes an existing one of that name up again, and opens all its queues.
///
/// # Errors
/// See [`TapError`]; a device that was made by this call is gone again.
pub fn create(spec: &TapSpec) -> Result<Tap, TapError> {
    let bad = |what| {
        Err(TapError::Spec {
            name: spec.name.clone(),
            what,
        })
    };
    if spec.name.is_empty() || spec.name.len() >= libc::IFNAMSIZ || spec.name.bytes().any(|b| b <= b' ' || b == b'/') {
        return bad("an interface name has 1 to 15 characters, without space or slash");
    }
    if spec.queues == 0 || spec.queues > 256 {
        return bad("a tap has 1 to 256 queues (MAX_TAP_QUEUES, drivers/net/tun.c)");
    }
    if !(68..=65_535).contains(&spec.mtu) {
        return bad("the MTU of a tap is 68 to 65535 bytes");
    }
    netns::within(spec.netns.as_deref(), || build(spec)).unwrap_or_else(|source| {
        Err(TapError::Namespace {
            name: spec.name.clone(),
            source,
        })
    })
}

/// Ends the tap's persistence: it goes as soon as the last of its queues is closed. A tap or namespace that is gone
/// already is no error.
///
/// # Errors
/// The namespace cannot be entered, or the interface of that name is no tap of ours.
pub fn remove(netns: Option<&Path>, name: &str) -> Result<(), TapError> {
    if netns.is_some_and(|path| matches!(path.try_exists(), Ok(false))) {
        return Ok(());
    }
    netns::within(netns, || {
        let kernel = Kernel { name };
        if kernel.index()?.is_none() {
            return Ok(());
        }
        let queue = kernel.attach()?;
        kernel.persist(&queue, false)
    })
    .unwrap_or_else(|source| {
        Err(TapError::Namespace {
            name: name.to_owned(),
            source,
        })
    })
}

fn build(spec: &TapSpec) -> Result<Tap, TapError> {
    let kernel = Kernel { name: &spec.name };
    let existed = kernel.index()?.is_some();
    let files = (0..spec.queues)
        .map(|_| kernel.attach())
        .collect::<Result<Vec<_>, _>>()?;
    let first = &files[0];
    let size = header::LEN as c_int;
    kernel.tun(
        first,
        "set the offload header's size",
        libc::TUNSETVNETHDRSZ as _,
        (&raw const size).cast(),
    )?;
    let one: c_int = 1;
    kernel.tun(
        first,
        "set the offload header's byte order",
        libc::TUNSETVNETLE as _,
        (&raw const one).cast(),
    )?;
    let caps = kernel.offloads(first, spec.uso)?;
    let socket = Control::open().map_err(|e| kernel.error("open a control socket", e))?;
    let mac = match spec.mac {
        Some(mac) if kernel.mac(&socket)? != mac => {
            kernel.set_mac(&socket, mac)?;
            mac
        }
        Some(mac) => mac,
        None => kernel.mac(&socket)?,
    };
    kernel.configure(&socket, spec)?;
    kernel.persist(first, true)?;
    let ifindex = kernel
        .index()?
        .ok_or_else(|| kernel.error("find it again", io::Error::from_raw_os_error(libc::ENODEV)))?;
    let queues = files
        .into_iter()
        .map(|file| TapQueue::new(OwnedFd::from(file), spec.port, caps))
        .collect();
    Ok(Tap {
        ifindex,
        name: spec.name.clone(),
        mac,
        existed,
        caps,
        queues,
    })
}

/// The kernel's interface to one tap; must be used in the tap's namespace.
struct Kernel<'n> {
    name: &'n str,
}

/// A socket for interface requests, in the namespace of the thread that opened it.
struct Control(OwnedFd);

impl Control {
    fn open() -> io::Result<Self> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        Ok(Self(socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?))
    }
}

impl Kernel<'_> {
    fn error(&self, step: &'static str, source: io::Error) -> TapError {
        let hint = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => " Run with CAP_NET_ADMIN",
            Some(libc::ENOENT) => " Load the tun module (modprobe tun), and give the agent /dev/net/tun",
            Some(libc::EINVAL | libc::EBUSY | libc::EEXIST) if step == "attach a queue" => {
                " An interface of this name exists and is no multi-queue tap with offload header: remove it (ip link del)"
            }
            _ => "",
        };
        TapError::Kernel {
            name: self.name.to_owned(),
            step,
            source,
            hint,
        }
    }

    fn request(&self) -> ifreq {
        // SAFETY: all-zero bytes are a valid ifreq.
        let mut request: ifreq = unsafe { core::mem::zeroed() };
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .take(libc::IFNAMSIZ - 1)
            .zip(self.name.bytes())
        {
            *to = from as libc::c_char;
        }
        request
    }

    fn index(&self) -> Result<Option<u32>, TapError> {
        let Ok(name) = CString::new(self.name) else {
            return Ok(None);
        };
        // SAFETY: a string that ends with 0.
        match unsafe { libc::if_nametoindex(name.as_ptr()) } {
            0 => Ok(None),
            index => Ok(Some(index)),
        }
    }

    /// Opens one more queue, and the device with the first.
    fn attach(&self) -> Result<File, TapError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(|e| self.error("open /dev/net/tun", e))?;
        let mut request = self.request();
        request.ifr_ifru.ifru_flags =
            (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE) as libc::c_short;
        self.tun(
            &file,
            "attach a queue",
            libc::TUNSETIFF as _,
            (&raw const request).cast(),
        )?;
        Ok(file)
    }

    fn persist(&self, file: &File, on: bool) -> Result<(), TapError> {
        self.tun_value(
            file,
            "change its persistence",
            libc::TUNSETPERSIST as _,
            c_ulong::from(on),
        )
    }

    /// Asks for every offload, and without USO where the kernel is older than 6.2.
    fn offloads(&self, file: &File, uso: bool) -> Result<Caps, TapError> {
        const STEP: &str = "set offloads";
        let set = |flags: u32| self.tun_value(file, STEP, libc::TUNSETOFFLOAD as _, c_ulong::from(flags));
        let uso = match set(CSUM_AND_TSO | if uso { USO } else { 0 }) {
            Ok(()) => uso,
            Err(TapError::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                set(CSUM_AND_TSO)?;
                false
            }
            Err(other) => return Err(other),
        };
        Ok(Caps {
            tx_checksum: true,
            tso4: true,
            tso6: true,
            uso,
            chains: true,
            max_frame: MAX_FRAME,
        })
    }

    fn mac(&self, socket: &Control) -> Result<MacAddr, TapError> {
        let mut request = self.request();
        self.interface(socket, "read its address", libc::SIOCGIFHWADDR as _, &mut request)?;
        // SAFETY: the kernel filled in the address, and any bytes would be valid.
        let [a, b, c, d, e, f, ..] = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
        Ok(MacAddr([a, b, c, d, e, f].map(|byte| byte as u8)))
    }

    fn set_mac(&self, socket: &Control, mac: MacAddr) -> Result<(), TapError> {
        let mut request = self.request();
        let mut address = libc::sockaddr {
            sa_family: libc::ARPHRD_ETHER,
            sa_data: [0; 14],
        };
        for (to, from) in address.sa_data.iter_mut().zip(mac.0) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_hwaddr = address;
        self.interface(socket, "set its address", libc::SIOCSIFHWADDR as _, &mut request)
    }

    /// MTU, queue length and, if asked for, IFF_UP.
    fn configure(&self, socket: &Control, spec: &TapSpec) -> Result<(), TapError> {
        let mut request = self.request();
        request.ifr_ifru.ifru_mtu = spec.mtu as c_int;
        self.interface(socket, "set its MTU", libc::SIOCSIFMTU as _, &mut request)?;
        let mut request = self.request();
        // The queue length travels in the same integer (`ifr_qlen`, include/uapi/linux/if.h).
        request.ifr_ifru.ifru_mtu = spec.tx_queue_len as c_int;
        self.interface(socket, "set its queue length", libc::SIOCSIFTXQLEN as _, &mut request)?;
        if !spec.up {
            return Ok(());
        }
        let mut request = self.request();
        self.interface(socket, "read its flags", libc::SIOCGIFFLAGS as _, &mut request)?;
        // SAFETY: the kernel filled in the flags, and any bytes would be valid.
        unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
        self.interface(socket, "set it up", libc::SIOCSIFFLAGS as _, &mut request)
    }

    fn interface(
        &self,
        socket: &Control,
        step: &'static str,
        code: c_ulong,
        request: &mut ifreq,
    ) -> Result<(), TapError> {
        // SAFETY: the requests used here read and write one ifreq, which is borrowed exclusively.
        let done = unsafe { libc::ioctl(socket.0.as_raw_fd(), code as _, core::ptr::from_mut(request)) };
        if done < 0 {
            Err(self.error(step, io::Error::last_os_error()))
        } else {
            Ok(())
        }
    }

    fn tun(&self, file: &File, step: &'static str, code: c_ulong, argument: *const c_void) -> Result<(), TapError> {
        // SAFETY: each caller passes a pointer to the integer or ifreq that the request reads.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), code as _, argument) };
        if done < 0 {
            Err(self.error(step, io::Error::last_os_error()))
        } else {
            Ok(())
        }
    }

    fn tun_value(&self, file: &File, step: &'static str, code: c_ulong, value: c_ulong) -> Result<(), TapError> {
        // SAFETY: these requests take their argument by value.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), code as _, value) };
        if done < 0 {
            Err(self.error(step, io::Error::last_os_error()))
        } else {
            Ok(())
        }
    }
}
