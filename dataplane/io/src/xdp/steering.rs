//! Decides what the XDP program knows, and keeps it attached over restarts. It never sees a frame.

use super::attach::{self, errno, fail, with_causes};
use super::feed::{Feed, Sockets};
use super::pin;
use super::ports::OwnedPorts;
use crate::afxdp::Attach;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, MapError};
#[cfg(test)]
use aya::programs::Xdp;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::{Ebpf, EbpfLoader};
use sluice_wire::{Addr, MacAddr, Proto};
use std::collections::BTreeSet;
use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Most addresses of the node.
pub const MAX_NODE_ADDRESSES: usize = 1024;
/// Most pod ranges.
pub const MAX_POD_RANGES: usize = 65_536;
/// Most (address, protocol, port) of services; memory is taken as they are added.
pub const MAX_FRONTENDS: usize = 262_144;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice_uplink.bpf.o"));
const PROGRAM: &str = "sluice_uplink";

/// Why frames cannot be steered.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// The kernel does not take the program or its maps.
    #[error(
        "cannot load the uplink's XDP program: {what}. It needs Linux 6.1 or newer, and CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
    )]
    Load {
        /// What the loader said, with causes.
        what: String,
    },
    /// The pin directory is not usable.
    #[error(
        "cannot keep the XDP program's link in {}: {source}. It has to lie on a BPF file system: mount one \
         (mount -t bpf bpffs /sys/fs/bpf), or run with CAP_SYS_ADMIN", directory.display()
    )]
    PinDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface does not exist.
    #[error("uplink {interface}: no such interface. `ip link` lists them; name one (uplink.interface)")]
    Interface {
        /// Its name.
        interface: String,
    },
    /// Another program is there.
    #[error(
        "uplink {interface}: an XDP program of somebody else is attached. `bpftool net` names it; detach it \
         (ip link set {interface} xdp off), or choose another uplink"
    )]
    Occupied {
        /// Interface.
        interface: String,
    },
    /// Neither way of attaching works.
    #[error(
        "uplink {interface}: cannot attach the XDP program, in the driver: {native}; in the generic path: {generic}"
    )]
    Attach {
        /// Interface.
        interface: String,
        /// Refusal of the driver.
        native: String,
        /// Refusal of the generic path.
        generic: String,
    },
    /// The link cannot be taken over or kept.
    #[error("uplink {interface}: cannot {step}: {what}")]
    Link {
        /// Interface.
        interface: String,
        /// What was tried.
        step: &'static str,
        /// What went wrong.
        what: String,
    },
    /// A map is full.
    #[error("more than {limit} {what} cannot be steered; the rest stays with the kernel, unserved")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// How many are possible.
        limit: usize,
    },
    /// A map cannot be changed.
    #[error("cannot tell the XDP program about {what}: {source}")]
    Map {
        /// What it was about.
        what: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// Neither TCP, UDP nor SCTP.
    #[error("protocol {proto} has no ports that could be steered")]
    Protocol {
        /// IP protocol number.
        proto: u8,
    },
}

/// Address, protocol, port, as `struct frontend` of the program.
type FrontendKey = [u8; 20];

struct Attached {
    attach: Attach,
    pin: PathBuf,
    // Dropping it closes our descriptor; the pin keeps the program attached.
    link: FdLink,
}

/// The program of one interface and its maps. Load, fill, then [`Self::attach`]: nothing is steered by empty maps.
///
/// Dropping the value leaves the program attached by its pin, without sockets: what is ours is dropped then, until the
/// next agent attaches. Only [`Self::detach`] gives everything back to the kernel.
pub struct Steering {
    program: Ebpf,
    sockets: Sockets,
    nodes: HashMap<MapData, [u8; 16], u8>,
    frontends: HashMap<MapData, FrontendKey, u8>,
    pod_ranges: LpmTrie<MapData, [u8; 16], u8>,
    own_mac: Array<MapData, u64>,
    ports: OwnedPorts,
    known_nodes: BTreeSet<[u8; 16]>,
    known_frontends: BTreeSet<FrontendKey>,
    known_ranges: BTreeSet<([u8; 16], u8)>,
    known_ports: BTreeSet<(u8, u16, bool)>,
    attached: Option<Attached>,
}

impl Steering {
    /// Loads the program with empty maps; nothing is attached yet. `tunnel_port` is the UDP port of the node's VTEP.
    ///
    /// # Errors
    /// [`SteeringError::Load`].
    pub fn load(tunnel_port: u16) -> Result<Self, SteeringError> {
        let load = |what: &dyn Error| SteeringError::Load {
            what: with_causes(what),
        };
        let missing = |name: &str| SteeringError::Load {
            what: format!("map {name} is missing"),
        };
        let mut program = EbpfLoader::new()
            .override_global("tunnel_port", &tunnel_port, true)
            .load(OBJECT)
            .map_err(|err| load(&err))?;
        let mut take = |name: &str| program.take_map(name).ok_or_else(|| missing(name));
        let (sockets, nodes, frontends, ports) =
            (take("xsks")?, take("node_addrs")?, take("frontends")?, take("ports")?);
        let (pod_ranges, own_mac) = (take("pod_ranges")?, take("own_mac")?);
        let aya::maps::Map::Array(ports) = ports else {
            return Err(missing("ports"));
        };
        let ports = OwnedPorts::map(ports.fd().as_fd()).map_err(|err| load(&err))?;
        attach::program(&mut program, PROGRAM)?
            .load()
            .map_err(|err| load(&err))?;
        Ok(Self {
            program,
            sockets: Sockets::new(sockets)?,
            nodes: nodes.try_into().map_err(|err: MapError| load(&err))?,
            frontends: frontends.try_into().map_err(|err: MapError| load(&err))?,
            pod_ranges: pod_ranges.try_into().map_err(|err: MapError| load(&err))?,
            own_mac: own_mac.try_into().map_err(|err: MapError| load(&err))?,
            ports,
            known_nodes: BTreeSet::new(),
            known_frontends: BTreeSet::new(),
            known_ranges: BTreeSet::new(),
            known_ports: BTreeSet::new(),
            attached: None,
        })
    }

    /// Attaches to an interface of the caller's network namespace: takes the place of the program that an earlier agent
    /// left there, without a gap, or attaches anew, in the driver if possible. The link is pinned in `pin_directory`.
    ///
    /// # Errors
    /// See [`SteeringError`]; what was attached before stays as it was.
    pub fn attach(&mut self, interface: &str, pin_directory: &Path) -> Result<Attach, SteeringError> {
        let gone = || SteeringError::Interface {
            interface: interface.to_owned(),
        };
        let ifindex = nix::net::if_::if_nametoindex(interface).map_err(|_| gone())?;
        pin::ensure_bpffs(pin_directory)?;
        pin::sweep(pin_directory);
        for attach in [Attach::Native, Attach::Generic] {
            let path = pin::path(pin_directory, ifindex, attach);
            if let Some(link) = self.take_over(interface, &path)? {
                self.attached = Some(Attached {
                    attach,
                    pin: path,
                    link,
                });
                tracing::info!(interface, ?attach, "replaced the XDP program of an earlier run");
                return Ok(attach);
            }
        }
        let (attach, link) = attach::anew(attach::program(&mut self.program, PROGRAM)?, interface, ifindex)?;
        let path = pin::path(pin_directory, ifindex, attach);
        let link = link.pin(&path).map_err(|err| fail(interface, "pin the link", &err))?;
        self.attached = Some(Attached {
            attach,
            pin: path,
            link: link.into(),
        });
        Ok(attach)
    }

    /// Puts our program in the place of the one behind a pin; `None` when there is no pin, or only a dead one.
    fn take_over(&mut self, interface: &str, path: &Path) -> Result<Option<FdLink>, SteeringError> {
        if !path.exists() {
            return Ok(None);
        }
        let link = PinnedLink::from_pin(path).map_err(|err| fail(interface, "open the pinned link", &err))?;
        let link = XdpLink::try_from(FdLink::from(link)).map_err(|err| fail(interface, "use the pinned link", &err))?;
        let program = attach::program(&mut self.program, PROGRAM)?;
        match program.attach_to_link(link) {
            Ok(id) => attach::take_link(program, interface, id).map(Some),
            // The interface was deleted since (ENOLINK): nothing is attached by this link any more.
            Err(err) if errno(&err) == Some(libc::ENOLINK) => {
                fs::remove_file(path).map_err(|err| fail(interface, "remove a dead pin", &err))?;
                Ok(None)
            }
            Err(err) => Err(fail(interface, "replace the earlier program", &err)),
        }
    }

    /// Where the program runs; `None` before it is attached.
    pub fn mode(&self) -> Option<Attach> {
        self.attached.as_ref().map(|attached| attached.attach)
    }

    /// Kernel's ids of the link and of the program; `None` before it is attached.
    pub fn ids(&self) -> Option<(u32, u32)> {
        let info = self.attached.as_ref()?.link.info().ok()?;
        Some((info.id(), info.program_id()))
    }

    /// Takes only frames for this MAC, the uplink's own; none before it is told. Others' reach a NIC that takes everything, or by a
    /// switch that does not know yet where they belong.
    ///
    /// # Errors
    /// [`SteeringError::Map`].
    pub fn set_mac(&mut self, mac: MacAddr) -> Result<(), SteeringError> {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&mac.0);
        let what = "the uplink's MAC";
        self.own_mac
            .set(0, u64::from_ne_bytes(bytes), 0)
            .map_err(|source| SteeringError::Map { what, source })
    }

    /// Steers the traffic of exactly these addresses of the node. Additions come before removals.
    ///
    /// # Errors
    /// [`SteeringError::Full`] or [`SteeringError::Map`]; the change is made in part then.
    pub fn set_node_addresses(&mut self, addresses: &[Addr]) -> Result<(), SteeringError> {
        let wanted = addresses.iter().map(|a| a.octets()).collect();
        let limit = (MAX_NODE_ADDRESSES, "node addresses");
        apply(&mut self.nodes, &mut self.known_nodes, &wanted, limit)
    }

    /// Takes what is addressed to exactly these ranges of pods: first address and length, in bits of 128 (IPv4 begins at 96).
    /// Additions come before removals.
    ///
    /// # Errors
    /// [`SteeringError::Full`] or [`SteeringError::Map`]; the change is made in part then.
    pub fn set_pod_ranges(&mut self, ranges: &[(Addr, u8)]) -> Result<(), SteeringError> {
        let wanted = ranges.iter().map(|(addr, bits)| (addr.octets(), *bits)).collect();
        let limit = (MAX_POD_RANGES, "pod ranges");
        apply(&mut self.pod_ranges, &mut self.known_ranges, &wanted, limit)
    }

    /// Steers traffic to exactly these service addresses and ports (host order). Additions come before removals.
    ///
    /// # Errors
    /// [`SteeringError::Full`] or [`SteeringError::Map`]; the change is made in part then.
    pub fn set_frontends(&mut self, frontends: &[(Addr, Proto, u16)]) -> Result<(), SteeringError> {
        let wanted = frontends
            .iter()
            .map(|(addr, proto, port)| frontend_key(*addr, *proto, *port))
            .collect();
        let limit = (MAX_FRONTENDS, "service addresses and ports");
        apply(&mut self.frontends, &mut self.known_frontends, &wanted, limit)
    }

    /// Steers exactly these node ports (protocol, port in host order, whether of IPv4) of all the node's addresses of that family.
    /// Additions come before removals.
    ///
    /// # Errors
    /// [`SteeringError::Protocol`] for others than TCP, UDP and SCTP; nothing is changed then.
    pub fn set_node_ports(&mut self, ports: &[(Proto, u16, bool)]) -> Result<(), SteeringError> {
        let wanted: BTreeSet<_> = ports.iter().map(|(proto, port, v4)| (proto.0, *port, *v4)).collect();
        if let Some((proto, ..)) = wanted.iter().find(|(proto, ..)| ![6, 17, 132].contains(proto)) {
            return Err(SteeringError::Protocol { proto: *proto });
        }
        for &(proto, port, v4) in wanted.difference(&self.known_ports) {
            self.ports.node_port((Proto(proto), port, v4), true)?;
        }
        for &(proto, port, v4) in self.known_ports.difference(&wanted) {
            self.ports.node_port((Proto(proto), port, v4), false)?;
        }
        self.known_ports = wanted;
        Ok(())
    }

    /// The ports owned for masquerading, to change without a system call from any thread.
    pub fn owned_ports(&self) -> OwnedPorts {
        self.ports.clone()
    }

    /// Takes the program off the interface for good: link, pin, program and maps go, the kernel has everything back.
    ///
    /// # Errors
    /// The pin cannot be removed; the program stays attached then.
    pub fn detach(self) -> Result<(), SteeringError> {
        let Some(attached) = self.attached else { return Ok(()) };
        fs::remove_file(&attached.pin).map_err(|err| {
            let directory = attached.pin.clone();
            SteeringError::PinDirectory { directory, source: err }
        })
    }

    #[cfg(test)]
    pub(super) fn program(&mut self) -> &mut Xdp {
        attach::program(&mut self.program, PROGRAM).unwrap()
    }
}

fn frontend_key(addr: Addr, proto: Proto, port: u16) -> FrontendKey {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&addr.octets());
    key[16..18].copy_from_slice(&port.to_be_bytes());
    key[18] = proto.0;
    key
}

impl Feed for Steering {
    fn mode(&self) -> Option<Attach> {
        self.mode()
    }

    fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), SteeringError> {
        self.sockets.set(queue, socket)
    }
}

/// A map used as a set.
trait Set<K> {
    fn add(&mut self, key: &K) -> Result<(), MapError>;
    fn delete(&mut self, key: &K) -> Result<(), MapError>;
}

impl<K: aya::Pod> Set<K> for HashMap<MapData, K, u8> {
    fn add(&mut self, key: &K) -> Result<(), MapError> {
        self.insert(key, 1, 0)
    }

    fn delete(&mut self, key: &K) -> Result<(), MapError> {
        self.remove(key)
    }
}

impl Set<([u8; 16], u8)> for LpmTrie<MapData, [u8; 16], u8> {
    fn add(&mut self, (addr, bits): &([u8; 16], u8)) -> Result<(), MapError> {
        self.insert(&Key::new(u32::from(*bits), *addr), 1, 0)
    }

    fn delete(&mut self, (addr, bits): &([u8; 16], u8)) -> Result<(), MapError> {
        self.remove(&Key::new(u32::from(*bits), *addr))
    }
}

/// Makes the map hold exactly `wanted`, of which `known` is there already, and keeps `known` true also on an error.
fn apply<K: Copy + Ord>(
    map: &mut impl Set<K>,
    known: &mut BTreeSet<K>,
    wanted: &BTreeSet<K>,
    (limit, what): (usize, &'static str),
) -> Result<(), SteeringError> {
    if wanted.len() > limit {
        return Err(SteeringError::Full { what, limit });
    }
    let (add, remove): (Vec<K>, Vec<K>) = (
        wanted.difference(known).copied().collect(),
        known.difference(wanted).copied().collect(),
    );
    // Where both do not fit at once, room has to be made first.
    let mut remove = remove.into_iter();
    for key in add {
        if known.len() == limit
            && let Some(old) = remove.next()
        {
            map.delete(&old).map_err(|source| SteeringError::Map { what, source })?;
            known.remove(&old);
        }
        map.add(&key).map_err(|source| SteeringError::Map { what, source })?;
        known.insert(key);
    }
    for old in remove {
        map.delete(&old).map_err(|source| SteeringError::Map { what, source })?;
        known.remove(&old);
    }
    Ok(())
}
