//! Decides where packets leave and where they arrive: an interface in a network namespace, with AF_XDP sockets on all its queues. It never
//! changes the interface, apart from a program that goes with the sockets.

use super::neighbour::wait_for_carrier;
use anyhow::{Context, Result, anyhow, ensure};
use sluice_io::afxdp::{self, QueueSpec, Umem};
use sluice_io::netns::within;
use sluice_io::xdp::Everything;
use sluice_io::{PacketIo, Stats};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::PortSlot;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Both of them, and what their threads do while there is nothing to do.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) tx: End,
    pub(crate) rx: End,
    pub(crate) wait: Wait,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Path of the namespace; the caller's where there is none.
    pub(crate) netns: Option<PathBuf>,
    pub(crate) interface: String,
    /// Processor of the thread.
    pub(crate) cpu: Option<usize>,
}

/// How a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It asks again and again: exact to a microsecond or two, and takes a whole processor.
    Spin,
    /// It sleeps: the generator for 50 us at least, and sends what became due meanwhile; the receiver until something comes.
    Sleep,
    /// As [`Self::Sleep`], but the generator sleeps this long at least: packets leave in bursts.
    Pause(Duration),
}

/// Where `ip netns` keeps namespaces.
const NAMES: &str = "/run/netns";
/// Bytes of a chunk of frame memory; some NICs want no less (see [`Umem::new`]).
const CHUNK: usize = 4096;
/// Entries of all rings of an end together: the receiver's hold what comes while it gets no processor.
const TX_RING: u32 = 1024;
const RX_RING: u32 = 4096;
/// Chunks beside those that rings hold.
const SPARE: usize = 1024;

impl FromStr for End {
    type Err = String;

    /// `INTERFACE` or `NETNS/INTERFACE`, where the namespace is a name of `ip netns` or a path.
    fn from_str(text: &str) -> Result<Self, String> {
        let (netns, interface) = match text.rsplit_once('/') {
            Some((netns, interface)) => (Some(netns), interface),
            None => (None, text),
        };
        // Kernel: net/core/dev.c, dev_valid_name.
        if interface.is_empty() || interface.len() > 15 || netns == Some("") {
            return Err(format!(
                "`{text}` is no end; want INTERFACE or NETNS/INTERFACE, such as eth0, blue/eth0 or /proc/1234/ns/net/eth0"
            ));
        }
        let netns = netns.map(|name| {
            if name.contains('/') {
                name.into()
            } else {
                Path::new(NAMES).join(name)
            }
        });
        Ok(Self {
            netns,
            interface: interface.to_owned(),
            cpu: None,
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.netns {
            Some(netns) => write!(
                f,
                "{}/{}",
                netns.strip_prefix(NAMES).unwrap_or(netns).display(),
                self.interface
            ),
            None => f.write_str(&self.interface),
        }
    }
}

/// One end, open.
pub(super) struct Side {
    /// What it is called, and what it is.
    pub(super) name: String,
    pub(super) mode: String,
    pub(super) ports: Vec<Box<dyn PacketIo>>,
    pub(super) pools: Pools,
    pub(super) cpu: Option<usize>,
    // Dropped last: sockets are fed by it.
    pub(super) program: Option<Everything>,
}

impl Side {
    /// Opens all queues of the interface; frames that arrive there are the receiver's, or (`receives` false) stay the kernel's.
    pub(super) fn open(end: &End, receives: bool) -> Result<Self> {
        within(end.netns.as_deref(), || Self::open_here(end, receives))
            .map_err(|err| anyhow!("{end}: {err}"))?
            .with_context(|| end.to_string())
    }

    fn open_here(end: &End, receives: bool) -> Result<Self> {
        // The product's errors name the interface and its own configuration; here the end is named by the caller.
        let told = |err: &dyn fmt::Display| {
            let text = err.to_string();
            let named = format!("uplink {}: ", end.interface);
            anyhow!("{}", text.strip_prefix(&named).unwrap_or(&text))
        };
        ensure!(
            nix::net::if_::if_nametoindex(end.interface.as_str()).is_ok(),
            "no such interface; `ip link` lists those there are"
        );
        let queues = afxdp::queue_count(&end.interface).map_err(|err| told(&err))?;
        let all = if receives { RX_RING } else { TX_RING };
        let ring = (all / queues.next_power_of_two()).max(64);
        let small = Memory::new(CHUNK, (4 * ring * queues) as usize + SPARE).map_err(|err| anyhow!("{err}"))?;
        let large = Memory::new(LARGE_CHUNK, 64).map_err(|err| anyhow!("{err}"))?;
        let mut pools = Pools::new(&small, &large);
        let mut program = Everything::attach(&end.interface, receives).map_err(|err| told(&err))?;
        let spec = QueueSpec {
            interface: end.interface.clone(),
            queues: (0..queues).collect(),
            ring_size: ring,
            copy_ring_size: ring,
            port: PortSlot(1),
            multi_buffer: true,
        };
        let umem = Umem::new(&small).map_err(|err| told(&err))?;
        let opened = afxdp::open(&spec, &umem, &mut pools, &mut program).map_err(|err| told(&err))?;
        // Some drivers reset the link when a program or frame memory comes.
        wait_for_carrier(&end.interface)?;
        Ok(Self {
            name: end.to_string(),
            mode: match queues {
                1 => opened.mode.to_string(),
                n => format!("{}, {n} queues", opened.mode),
            },
            ports: opened
                .queues
                .into_iter()
                .map(|queue| Box::new(queue) as Box<dyn PacketIo>)
                .collect(),
            pools,
            cpu: end.cpu,
            program: Some(program),
        })
    }

    /// Whether frames so long can leave here.
    pub(super) fn check(&self, longest: usize) -> Result<()> {
        let most = self.ports.iter().map(|port| port.caps().max_frame).min().unwrap_or(0);
        ensure!(
            longest <= most,
            "{}: frames of {longest} bytes (without FCS) are too long, {most} go through: send shorter ones (--size), or raise the MTU",
            self.name
        );
        Ok(())
    }

    /// Counters of all queues.
    pub(super) fn stats(&self) -> Stats {
        let mut all = Stats::default();
        self.ports.iter().for_each(|port| all += port.stats());
        all
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        for port in self.ports.drain(..) {
            port.close(&mut self.pools);
        }
        self.program = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_an_interface_in_a_namespace_by_name_or_path() {
        let end = |text: &str| text.parse::<End>().unwrap();
        assert_eq!(end("eth0").netns, None);
        assert_eq!(end("blue/eth0").netns, Some("/run/netns/blue".into()));
        assert_eq!(end("/proc/7/ns/net/eth0").netns, Some("/proc/7/ns/net".into()));
        for text in ["eth0", "blue/eth0", "/proc/7/ns/net/eth0"] {
            assert_eq!(end(text).to_string(), text);
            assert_eq!(end(text).interface, "eth0");
        }
        for text in ["", "blue/", "/eth0", "blue/interface-too-long"] {
            assert!(text.parse::<End>().unwrap_err().contains("NETNS/INTERFACE"), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let said = |text: &str| format!("{:#}", Side::open(&text.parse().unwrap(), true).err().unwrap());
        let missing = said("nowhere-at-all/eth0");
        assert!(
            missing.contains("nowhere-at-all/eth0") && missing.contains("never there"),
            "{missing}"
        );
        let missing = said("no-such-if");
        assert!(
            missing.contains("no-such-if") && missing.contains("ip link"),
            "{missing}"
        );
    }
}
