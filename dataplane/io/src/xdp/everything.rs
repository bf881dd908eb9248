//! Decides that an interface's frames are all a tester's: a program that brings every one of them to the sockets, but ARP and neighbour
//! discovery, by which the interface stays reachable. It never outlives the value, whatever ends the process.

use super::attach;
use super::feed::{Feed, Sockets};
use super::steering::SteeringError;
use crate::afxdp::Attach;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfLoader};
use std::os::fd::BorrowedFd;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice_everything.bpf.o"));
const PROGRAM: &str = "sluice_everything";

/// The program on one interface.
pub struct Everything {
    attach: Attach,
    /// `None` where sockets only send: all frames stay the kernel's then.
    sockets: Option<Sockets>,
    // Held, as the program goes with them.
    _program: Ebpf,
    _link: FdLink,
}

impl Everything {
    /// Attaches to an interface of the caller's network namespace, in the driver if possible. Sockets receive all frames; or, with
    /// `receives` false, none: a driver that sends without copying wants a program all the same.
    ///
    /// # Errors
    /// See [`SteeringError`].
    pub fn attach(interface: &str, receives: bool) -> Result<Self, SteeringError> {
        let load = |what: String| SteeringError::Load { what };
        let ifindex = nix::net::if_::if_nametoindex(interface).map_err(|_| SteeringError::Interface {
            interface: interface.to_owned(),
        })?;
        let mut object = EbpfLoader::new()
            .load(OBJECT)
            .map_err(|err| load(attach::with_causes(&err)))?;
        let sockets = object
            .take_map("xsks")
            .ok_or_else(|| load("map xsks is missing".into()))?;
        let program = attach::program(&mut object, PROGRAM)?;
        program.load().map_err(|err| load(attach::with_causes(&err)))?;
        let (attach, link) = attach::anew(program, interface, ifindex)?;
        let sockets = Sockets::new(sockets)?;
        Ok(Self {
            attach,
            sockets: receives.then_some(sockets),
            _program: object,
            _link: link,
        })
    }
}

impl Feed for Everything {
    fn mode(&self) -> Option<Attach> {
        Some(self.attach)
    }

    fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), SteeringError> {
        match &mut self.sockets {
            Some(sockets) => sockets.set(queue, socket),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::afxdp::{QueueSpec, Umem, Uplink, open};
    use crate::testing::{Lake, Namespace, Raw, collect};
    use crate::{Burst, PacketIo};
    use sluice_mem::Pools;
    use sluice_wire::PortSlot;

    /// A frame of this EtherType, and for IPv6 of this next header and type.
    fn frame(ethertype: [u8; 2], next: u8, kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 80];
        bytes[..12].copy_from_slice(&[2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1]);
        bytes[12..14].copy_from_slice(&ethertype);
        (bytes[20], bytes[54]) = (next, kind);
        bytes
    }

    fn opened(near: &Namespace, lake: &Lake, receives: bool) -> (Everything, Uplink, Pools) {
        let (umem, mut pools) = (Umem::new(&lake.small).unwrap(), lake.pools());
        near.run(move || {
            let mut program = Everything::attach("up0", receives).unwrap();
            let spec = QueueSpec {
                interface: "up0".into(),
                queues: vec![0],
                ring_size: 64,
                copy_ring_size: 64,
                port: PortSlot(5),
                multi_buffer: true,
            };
            let uplink = open(&spec, &umem, &mut pools, &mut program).unwrap_or_else(|err| panic!("{err}"));
            (program, uplink, pools)
        })
    }

    #[test]
    fn a_tester_gets_all_frames_but_those_that_find_neighbours_as_long_as_it_lives() {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.wire("up0", &far, "peer0", 1);
        let (kernel, peer) = (near.run(|| Raw::on("up0")), far.run(|| Raw::on("peer0")));
        let lake = Lake::of(2048, 1024);
        let (program, mut uplink, mut pools) = opened(&near, &lake, true);
        let (ipv6, arp) = ([0x86, 0xdd], [0x08, 0x06]);
        let own = [frame(arp, 0, 0), frame(ipv6, 58, 133), frame(ipv6, 58, 137)];
        let taken = [
            frame([8, 0], 58, 135),
            frame(ipv6, 17, 135),
            frame(ipv6, 58, 132),
            frame(ipv6, 58, 138),
            frame([0x88, 0xb5], 0, 0),
        ];
        for bytes in own.iter().chain(&taken) {
            peer.send(bytes);
        }
        let got = collect(&mut uplink.queues[0], &mut pools, taken.len(), |_| true);
        assert!(got.iter().map(|(_, bytes)| bytes).eq(&taken));
        own.iter().for_each(|bytes| assert_eq!(&kernel.receive(), bytes));
        assert_eq!(kernel.try_receive(0), None);
        uplink
            .queues
            .drain(..)
            .for_each(|queue| Box::new(queue).close(&mut pools));
        drop(program);
        peer.send(&taken[0]);
        assert_eq!(kernel.receive(), taken[0], "the kernel has everything back");

        let (_program, mut uplink, mut pools) = opened(&near, &lake, false);
        peer.send(&taken[1]);
        assert_eq!(kernel.receive(), taken[1], "who only sends takes nothing");
        uplink.queues[0].receive(&mut pools, &mut Burst::new(), 1);
        assert_eq!(uplink.queues[0].stats().rx_frames, 0);
        uplink
            .queues
            .drain(..)
            .for_each(|queue| Box::new(queue).close(&mut pools));
    }
}
