//! Opens a node's devices as an agent does: as much memory, rings and queues as long. It never decides where a frame goes.

use super::Forward;
use anyhow::{Result, anyhow};
use sluice_io::afxdp::{self, QueueSpec, Umem};
use sluice_io::ready::ReadySet;
use sluice_io::xdp::Everything;
use sluice_io::{Burst, Frame, PacketIo, tap};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::PortSlot;

/// Where the uplink is among the ports, and pods begin.
pub(super) const UPLINK: usize = 0;
pub(super) const FIRST_POD: usize = 1;

/// What an agent of one worker has unless it is told otherwise.
const CHUNK: usize = 4096;
const FRAMES: usize = 16_384;
const LARGE: usize = 256;
const TAP_QUEUE: u32 = 1000;

/// All ports, what waits to leave by each, and their frames' memory.
pub(super) struct Ports {
    pub(super) all: Vec<Box<dyn PacketIo>>,
    out: Vec<Burst>,
    pub(super) pools: Pools,
    pub(super) ready: ReadySet,
    // Held: sockets are fed by it as long as it lives.
    _program: Everything,
}

impl Ports {
    /// Makes the pods' interfaces, and takes all frames of the uplink.
    pub(super) fn open(node: &Forward) -> Result<Self> {
        let small = Memory::new(CHUNK, FRAMES).map_err(|err| anyhow!("{err}"))?;
        let large = Memory::new(LARGE_CHUNK, LARGE).map_err(|err| anyhow!("{err}"))?;
        let mut pools = Pools::new(&small, &large);
        let mut program = Everything::attach(&node.uplink, true)?;
        let spec = QueueSpec {
            interface: node.uplink.clone(),
            queues: vec![0],
            ring_size: afxdp::RING_SIZE,
            copy_ring_size: afxdp::COPY_RING_SIZE,
            port: slot(UPLINK),
            multi_buffer: true,
        };
        let uplink = afxdp::open(&spec, &Umem::new(&small)?, &mut pools, &mut program)?;
        let mut all: Vec<Box<dyn PacketIo>> = Vec::new();
        for queue in uplink.queues {
            all.push(Box::new(queue));
        }
        for pod in &node.pods {
            let spec = tap::TapSpec {
                name: "eth0".into(),
                netns: Some(pod.netns.clone()),
                queues: 1,
                mac: Some(pod.mac),
                mtu: node.mtu,
                tx_queue_len: TAP_QUEUE,
                up: true,
                port: slot(all.len()),
                uso: true,
            };
            for queue in tap::create(&spec)?.queues {
                all.push(Box::new(queue));
            }
        }
        let ready = ReadySet::new()?;
        for (n, port) in all.iter().enumerate() {
            if let Some(fd) = port.readiness() {
                ready.add(fd, n as u64)?;
            }
        }
        Ok(Self {
            out: all.iter().map(|_| Burst::new()).collect(),
            all,
            pools,
            ready,
            _program: program,
        })
    }

    /// Queues a frame; a full burst goes first.
    #[inline]
    pub(super) fn push(&mut self, port: usize, frame: Frame) {
        if self.out[port].is_full() {
            self.send(port);
        }
        self.out[port].push(frame);
    }

    /// Sends everything.
    pub(super) fn flush(&mut self) {
        for port in 0..self.all.len() {
            if !self.out[port].is_empty() {
                self.send(port);
            }
        }
    }

    /// What does not go at the second attempt is lost, as with an agent.
    fn send(&mut self, port: usize) {
        let (io, out) = (&mut self.all[port], &mut self.out[port]);
        io.transmit(&mut self.pools, out);
        if !out.is_empty() {
            io.recycle(&mut self.pools);
            io.transmit(&mut self.pools, out);
        }
        out.drain(..).for_each(|frame| self.pools.free(frame.buf));
    }

    /// Takes finished transmissions back and fills receive rings; whether a port must be asked again to send.
    pub(super) fn recycle(&mut self) -> bool {
        let ports = self.all.iter_mut();
        ports.fold(false, |unsent, io| io.recycle(&mut self.pools).unsent | unsent)
    }
}

fn slot(port: usize) -> PortSlot {
    PortSlot(port as u16)
}
