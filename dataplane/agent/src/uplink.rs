//! The uplink: opened when the first complete configuration is known, so that no packet is taken from the kernel before
//! somebody knows what to do with it, and an earlier agent's program is replaced by one whose tables are full.

use crate::config::Queues;
use crate::leaving::{Destination, Leaving};
use crate::ports::{Ports, UPLINK};
use crate::testing::Testing;
use sluice_control::compile::Steering;
use sluice_engine::{EchoIds, EchoSteering, Shared};
use sluice_io::reassembled::Reassembled;
use sluice_io::{afxdp, xdp};
use sluice_mem::{Memory, Pools};
use sluice_wire::{Addr, Proto};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Entries of each ring of so many queues, at most so many: together they hold no more chunks than there are, four for each entry.
fn ring(most: u32, queues: u32, chunks: usize) -> u32 {
    let share = u32::try_from(chunks / 4).unwrap_or(u32::MAX) / queues.max(1);
    // The highest power of two that is not above it.
    let power = 1 << share.max(1).ilog2();
    most.min(power).max(64)
}

/// How many queues the interface has, all of which are used. Its driver spreads packets over all of them, and what comes in by one without
/// a socket is lost, so fewer are refused.
fn queues(interface: &str, wanted: Queues) -> anyhow::Result<u32> {
    let has = afxdp::queue_count(interface)?;
    if let Queues::Number(wanted) = wanted
        && wanted < has
    {
        anyhow::bail!(
            "uplink.queues is {wanted}, but {interface} has {has} receive queues, and packets that come in by the others would be \
             lost: leave the key out, or give the interface {wanted} (`ethtool -L {interface} combined {wanted}`)"
        );
    }
    Ok(has)
}

/// What is needed to open it.
pub(crate) struct UplinkSpec {
    pub(crate) interface: String,
    pub(crate) queues: Queues,
    pub(crate) pins: PathBuf,
    pub(crate) tunnel_port: u16,
    pub(crate) testing: Testing,
}

/// The program, and whether it is in use already.
pub(crate) struct Uplink {
    spec: UplinkSpec,
    queues: u32,
    umem: afxdp::Umem,
    memory: (Memory, Memory),
    /// Ports that are ours for masquerading.
    owned: BTreeSet<u16>,
    echo_ids: Arc<EchoIds>,
    node_addresses: BTreeSet<Addr>,
    services: Leaving,
    program: Option<xdp::Steering>,
    open: Option<Open>,
}

/// What was obtained, and at which of the interfaces that have had the name.
struct Open {
    mode: afxdp::Mode,
    ifindex: u32,
    mtu: u16,
}

impl Uplink {
    /// Loads the program, and owns the masquerade ports in its table. Nothing is attached yet.
    pub(crate) fn load(spec: UplinkSpec, small: &Memory, large: &Memory, shared: &Shared) -> anyhow::Result<Self> {
        let queues = queues(&spec.interface, spec.queues)?;
        let umem = afxdp::Umem::new(small)?;
        let owned: BTreeSet<u16> = (0..=u16::MAX).filter(|port| shared.outside_ports.owns(*port)).collect();
        let program = load_program(spec.tunnel_port, &owned, &shared.echo_ids)?;
        Ok(Self {
            spec,
            queues,
            umem,
            memory: (small.clone(), large.clone()),
            owned,
            echo_ids: shared.echo_ids.clone(),
            node_addresses: BTreeSet::new(),
            services: Leaving::default(),
            program: Some(program),
            open: None,
        })
    }

    /// Fills the program's tables; the first time, also attaches it and hands its queues to the workers.
    pub(crate) fn steer(&mut self, steering: &Steering, ports: &Ports) -> Result<(), String> {
        self.leave_deleted(steering.uplink, ports)?;
        self.leave_other_size(steering, ports)?;
        let Some(program) = self.program.as_mut() else {
            return Err("the agent is stopping".into());
        };
        let frontends = steering.frontends.iter();
        let frontends = frontends.map(|f| Destination::Address(f.addr, f.proto, f.port));
        let node_ports = steering.node_ports.iter();
        let node_ports = node_ports.map(|(proto, port, v4)| Destination::NodePort(*proto, *port, *v4));
        self.services.follow(frontends.chain(node_ports).collect());
        let pod_ranges: Vec<_> = steering.pod_ranges.iter().map(|r| (r.base(), r.bits())).collect();
        // While it is not there nothing comes by it.
        if steering.uplink != 0 {
            program.set_mac(steering.mac).map_err(|err| err.to_string())?;
        }
        program
            .set_node_addresses(&steering.node_addresses)
            .and_then(|()| program.set_pod_ranges(&pod_ranges))
            .and_then(|()| steer_services(program, &self.services))
            .map_err(|err| err.to_string())?;
        self.node_addresses = steering.node_addresses.iter().copied().collect();
        if self.open.is_none() {
            self.open(steering, ports)?;
        }
        Ok(())
    }

    /// When another interface has the name now, the queues of the deleted one and its program are of no use any more.
    fn leave_deleted(&mut self, now: u32, ports: &Ports) -> Result<(), String> {
        if now == 0 || self.program.is_none() || self.open.as_ref().is_none_or(|open| open.ifindex == now) {
            return Ok(());
        }
        tracing::warn!(
            interface = self.spec.interface,
            "the uplink was made anew; it is opened again"
        );
        ports.withdraw(UPLINK)?;
        self.open = None;
        let program = load_program(self.spec.tunnel_port, &self.owned, &self.echo_ids);
        self.program = Some(program.map_err(|err| err.to_string())?);
        Ok(())
    }

    /// Sockets are bound for frames of up to some size; that the engine keeps to a smaller MTU needs no others.
    fn leave_other_size(&mut self, steering: &Steering, ports: &Ports) -> Result<(), String> {
        let fits = |open: &Open| steering.mtu <= open.mtu;
        if steering.uplink == 0 || self.open.as_ref().is_none_or(fits) {
            return Ok(());
        }
        tracing::info!(
            interface = self.spec.interface,
            mtu = steering.mtu,
            "the uplink has a larger MTU; its queues are opened again"
        );
        ports.withdraw(UPLINK)?;
        self.open = None;
        Ok(())
    }

    fn open(&mut self, steering: &Steering, ports: &Ports) -> Result<(), String> {
        let Some(program) = self.program.as_mut() else {
            return Ok(());
        };
        if program.mode().is_none() {
            program
                .attach(&self.spec.interface, &self.spec.pins)
                .map_err(|err| err.to_string())?;
        }
        // One that was made anew may have another number.
        self.queues = queues(&self.spec.interface, self.spec.queues).map_err(|err| err.to_string())?;
        let spec = afxdp::QueueSpec {
            interface: self.spec.interface.clone(),
            queues: (0..self.queues).collect(),
            ring_size: ring(afxdp::RING_SIZE, self.queues, self.memory.0.count()),
            copy_ring_size: ring(afxdp::COPY_RING_SIZE, self.queues, self.memory.0.count()),
            port: UPLINK,
            multi_buffer: !self.spec.testing.floor,
        };
        let mut pools = Pools::new(&self.memory.0, &self.memory.1);
        let uplink = afxdp::open(&spec, &self.umem, &mut pools, program).map_err(|err| err.to_string())?;
        let queues = self.spec.testing.queues(UPLINK, uplink.queues)?;
        ports.hand_out(UPLINK, false, queues)?;
        self.receive_reassembled(ports)?;
        self.open = Some(Open {
            mode: uplink.mode,
            ifindex: steering.uplink,
            mtu: steering.mtu,
        });
        Ok(())
    }

    /// Tunnel packets that come in fragments are put together by the kernel. Without that the rest works.
    fn receive_reassembled(&self, ports: &Ports) -> Result<(), String> {
        let (interface, port) = (&self.spec.interface, self.spec.tunnel_port);
        for v4 in [true, false] {
            match Reassembled::open(interface, port, v4, UPLINK) {
                Ok(io) => ports.also_receive(UPLINK, Box::new(io))?,
                Err(err) => tracing::warn!(
                    interface,
                    port,
                    family = if v4 { "IPv4" } else { "IPv6" },
                    %err,
                    "cannot listen on the tunnel port, so tunnel packets that come in fragments are lost; is there a VXLAN device \
                     with this port? (ip -d link show type vxlan)"
                ),
            }
        }
        Ok(())
    }

    /// Takes a masquerade port from the host, or gives it back.
    pub(crate) fn own(&mut self, port: u16, on: bool) {
        if on {
            self.owned.insert(port);
        } else {
            self.owned.remove(&port);
        }
        if let Some(program) = &self.program {
            own(&program.owned_ports(), port, on);
        }
    }

    /// Ports that are ours for masquerading now.
    pub(crate) fn owned(&self) -> &BTreeSet<u16> {
        &self.owned
    }

    /// Addresses that connections are masqueraded to towards outside, and others of the node.
    pub(crate) fn node_addresses(&self) -> &BTreeSet<Addr> {
        &self.node_addresses
    }

    /// Destinations of services that are gone, which may go if no connection uses them.
    pub(crate) fn due(&mut self) -> BTreeSet<Destination> {
        self.services.due()
    }

    /// Gives these back to the kernel.
    pub(crate) fn let_go(&mut self, unused: &BTreeSet<Destination>) -> Result<(), xdp::SteeringError> {
        match &mut self.program {
            Some(program) if self.services.let_go(unused) => steer_services(program, &self.services),
            _ => Ok(()),
        }
    }

    /// The mode obtained, for people.
    pub(crate) fn mode(&self) -> String {
        self.open
            .as_ref()
            .map_or_else(|| "not open yet".into(), |open| open.mode.to_string())
    }

    /// Queues in use.
    pub(crate) fn queues(&self) -> u16 {
        if self.open.is_some() { self.queues as u16 } else { 0 }
    }

    /// Gives everything back to the kernel.
    pub(crate) fn detach(&mut self) -> anyhow::Result<()> {
        Ok(self.program.take().map_or(Ok(()), xdp::Steering::detach)?)
    }
}

fn load_program(
    tunnel_port: u16,
    owned: &BTreeSet<u16>,
    echo_ids: &EchoIds,
) -> Result<xdp::Steering, xdp::SteeringError> {
    let program = xdp::Steering::load(tunnel_port)?;
    let table = program.owned_ports();
    for port in owned {
        own(&table, *port, true);
    }
    echo_ids.steer_by(Box::new(Table(table)));
    Ok(program)
}

fn own(table: &xdp::OwnedPorts, port: u16, on: bool) {
    for proto in [Proto::TCP, Proto::UDP, Proto::SCTP] {
        table.own(proto, port, on);
    }
}

fn steer_services(program: &mut xdp::Steering, services: &Leaving) -> Result<(), xdp::SteeringError> {
    let (mut frontends, mut node_ports) = (Vec::new(), Vec::new());
    for destination in services.all() {
        match destination {
            Destination::Address(addr, proto, port) => frontends.push((addr, proto, port)),
            Destination::NodePort(proto, port, v4) => node_ports.push((proto, port, v4)),
        }
    }
    program.set_frontends(&frontends)?;
    program.set_node_ports(&node_ports)
}

/// Echo identifiers cannot be reserved like ports: the node's own pings use any, so only those in use are ours.
struct Table(xdp::OwnedPorts);

impl EchoSteering for Table {
    fn own(&self, proto: Proto, id: u16, on: bool) {
        self.0.own(proto, id, on);
    }
}

#[cfg(test)]
mod tests {
    use super::ring;
    use sluice_io::afxdp::{COPY_RING_SIZE, RING_SIZE};

    #[test]
    fn rings_of_many_queues_share_the_frames() {
        assert_eq!(ring(RING_SIZE, 2, 16_384), 2048);
        assert_eq!(ring(RING_SIZE, 1, 1 << 20), 2048);
        assert_eq!(ring(RING_SIZE, 16, 16_384), 256);
        assert_eq!(ring(RING_SIZE, 3, 16_384), 1024);
        assert_eq!(ring(RING_SIZE, 256, 4096), 64);
        assert_eq!(ring(RING_SIZE, 0, 0), 64);
        assert_eq!(ring(COPY_RING_SIZE, 2, 16_384), 256);
        assert_eq!(ring(COPY_RING_SIZE, 64, 16_384), 64);
    }
}
