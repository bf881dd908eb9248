//! Workers over one node's shared state, with ports that only remember what was sent to them.

use super::packet::{Packet, Wrapping};
use super::world::{
    GATEWAY_MAC, HOST, HOST_MAC, NODE, OTHER_NODE, OUR_VTEP, PEER_VTEP, ROUTER_MAC, TUNNEL_PORT, UPLINK, UPLINK_MAC,
    VNI, Who, World,
};
use crate::{Burst, Counters, Egress, Engine, EngineConfig, Frame, Limits, Shared};
use sluice_lb::{PortRange, PortSet, Runtime, SnatPorts};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_snapshot::Snapshot;
use sluice_wire::{Addr, BURST, DropReason, MacAddr, Meta, PortSlot, Tuple};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) const SECOND: u64 = 1_000_000_000;
const FRAMES: usize = 512;
const LARGE: usize = 8;

/// How large the tables are.
pub(super) struct Sizes {
    pub(super) connections: u32,
    pub(super) cache_flows: usize,
}

/// Any port may fill the table, as fast as it likes.
pub(super) const NO_LIMITS: Limits = Limits {
    connections: u32::MAX,
    new_flows_per_s: 1_000_000_000,
    new_flows_burst: u32::MAX,
    answers_per_s: 1_000_000_000,
    answers_burst: u32::MAX,
};

/// A frame that left.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) port: PortSlot,
    pub(super) bytes: Vec<u8>,
    pub(super) meta: Meta,
}

pub(super) struct Ports {
    counters: Arc<Counters>,
    pub(super) sent: Vec<Sent>,
    pub(super) asked: Vec<Addr>,
}

impl Egress for Ports {
    fn send(&mut self, pools: &mut Pools, port: PortSlot, frame: Frame) {
        self.counters
            .transmit(port, port == HOST, 1, frame.buf.total_len() as u64);
        assert!(frame.buf.next().is_none());
        let bytes = frame.buf.bytes().to_vec();
        self.sent.push(Sent {
            port,
            bytes,
            meta: frame.meta,
        });
        pools.free(frame.buf);
    }

    fn flush(&mut self, _: &mut Pools) {}

    fn resolve(&mut self, neighbour: Addr) {
        self.asked.push(neighbour);
    }
}

pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) pools: Pools,
    pub(super) out: Ports,
}

/// Every test ends in [`Drop`], which says that the books balance, no frame is lost, and of every reason for which something was dropped
/// there is a sample.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Vec<Worker>,
    pub(super) now_ns: u64,
    memories: (Memory, Memory),
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(World::new(), 1)
    }

    pub(super) fn with(world: World, workers: usize) -> Self {
        Self::limited(world, workers, NO_LIMITS)
    }

    pub(super) fn limited(world: World, workers: usize, limits: Limits) -> Self {
        let sizes = Sizes {
            connections: 256,
            cache_flows: 256,
        };
        Self::sized(world, workers, limits, &sizes)
    }

    pub(super) fn sized(mut world: World, workers: usize, limits: Limits, sizes: &Sizes) -> Self {
        let memories = (
            Memory::new(2048, FRAMES).unwrap(),
            Memory::new(LARGE_CHUNK, LARGE).unwrap(),
        );
        let ports = |first, last| SnatPorts::new(PortSet::from(PortRange { first, last }));
        let runtime = Runtime::with_affinity_capacity(16, 128, 64);
        let shared = Shared::new(
            sizes.connections,
            limits,
            runtime,
            ports(40000, 40099),
            ports(20000, 20099),
        );
        let shared = Arc::new(shared.unwrap());
        let snapshot = Arc::new(Snapshot::first(world.parts()));
        let workers = (0..workers).map(|n| {
            let counters = Arc::new(Counters::default());
            let config = EngineConfig {
                cache_flows: sizes.cache_flows,
                seed: n as u64,
            };
            Worker {
                engine: Engine::new(config, shared.clone(), counters.clone()),
                pools: Pools::new(&memories.0, &memories.1),
                out: Ports {
                    counters,
                    sent: Vec::new(),
                    asked: Vec::new(),
                },
            }
        });
        Self {
            workers: workers.collect(),
            world,
            snapshot,
            shared,
            now_ns: SECOND,
            memories,
        }
    }

    /// Publishes the changed world; false when nothing of it counts as a change.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut World)) -> bool {
        change(&mut self.world);
        let next = self.snapshot.successor(self.world.parts());
        let changed = next.is_some();
        if let Some(next) = next {
            self.snapshot = Arc::new(next);
        }
        changed
    }

    /// One frame through the first worker.
    pub(super) fn send(&mut self, port: PortSlot, bytes: &[u8]) -> Vec<Sent> {
        self.burst(0, &[(Meta::from_port(port), bytes)])
    }

    /// A burst through a worker; what left.
    pub(super) fn burst(&mut self, worker: usize, frames: &[(Meta, &[u8])]) -> Vec<Sent> {
        let snapshot = self.snapshot.clone();
        self.burst_under(&snapshot, worker, frames)
    }

    pub(super) fn burst_under(&mut self, snapshot: &Snapshot, worker: usize, frames: &[(Meta, &[u8])]) -> Vec<Sent> {
        let w = &mut self.workers[worker];
        let mut rx = Burst::new();
        for (meta, bytes) in frames.iter().take(BURST) {
            rx.push(frame(&mut w.pools, *meta, bytes));
        }
        w.engine
            .process(snapshot, self.now_ns, &mut w.pools, &mut rx, &mut w.out);
        std::mem::take(&mut w.out.sent)
    }

    /// What the worker's loop does besides packets, after this much time.
    pub(super) fn wait(&mut self, ns: u64) -> Vec<Sent> {
        self.now_ns += ns;
        let snapshot = self.snapshot.clone();
        let mut sent = Vec::new();
        for w in &mut self.workers {
            w.engine.tick(&snapshot, self.now_ns, &mut w.pools, &mut w.out);
            sent.append(&mut w.out.sent);
        }
        sent
    }

    pub(super) fn counters(&self) -> &Counters {
        self.workers[0].engine.counters()
    }

    /// Frames dropped for this reason, by all workers.
    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        let of = |w: &Worker| w.engine.counters().dropped[reason.index()].get().0;
        self.workers.iter().map(of).sum()
    }

    fn imbalance(&self) -> (i128, i128) {
        let of = |w: &Worker| w.engine.counters().imbalance();
        self.workers
            .iter()
            .map(of)
            .fold((0, 0), |(f, b), (x, y)| (f + x, b + y))
    }

    /// From a pod; what left.
    pub(super) fn pod_sends(&mut self, pod: Who, packet: &Packet) -> Vec<Sent> {
        self.send(pod.slot, &packet.clone().between(pod.mac, GATEWAY_MAC).frame())
    }

    pub(super) fn outside_sends(&mut self, packet: &Packet) -> Vec<Sent> {
        self.send(UPLINK, &packet.clone().between(ROUTER_MAC, UPLINK_MAC).frame())
    }

    pub(super) fn host_sends(&mut self, packet: &Packet) -> Vec<Sent> {
        self.send(HOST, &packet.clone().between(HOST_MAC, GATEWAY_MAC).frame())
    }

    /// Through the tunnel, over the underlay of the packet's own family.
    pub(super) fn tunnel_sends(&mut self, packet: &Packet) -> Vec<Sent> {
        self.send(UPLINK, &wrapped(packet))
    }

    /// Nothing must come out, for this reason.
    pub(super) fn refused(&mut self, port: PortSlot, bytes: &[u8], reason: DropReason) {
        let before = self.dropped(reason);
        let sent = self.send(port, bytes);
        assert_eq!(sent, [], "{reason:?} expected");
        assert_eq!(self.dropped(reason), before + 1, "{reason:?} expected");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // A fragment may wait for its first at one worker and leave by another, so the books are the node's.
        let (frames, bytes) = self.shared.fragments.held();
        assert_eq!(
            self.imbalance(),
            (i128::from(frames), i128::from(bytes)),
            "with packets held"
        );
        for w in &mut self.workers {
            w.engine.drain(&mut w.pools);
            let sampled: HashSet<_> = w.engine.counters().samples.all().iter().map(|s| s.reason).collect();
            let dropped = |r: &DropReason| w.engine.counters().dropped[r.index()].get().0 > 0;
            assert_eq!(sampled, DropReason::ALL.iter().copied().filter(dropped).collect());
        }
        assert_eq!((self.imbalance(), self.shared.fragments.held()), ((0, 0), (0, 0)));
        self.workers.clear();
        assert_eq!((self.memories.0.home(), self.memories.1.home()), (FRAMES, LARGE));
    }
}

pub(super) fn frame(pools: &mut Pools, meta: Meta, bytes: &[u8]) -> Frame {
    let pool = if bytes.len() > 1700 {
        &mut pools.large
    } else {
        &mut pools.small
    };
    let mut buf = pool.alloc().expect("a free frame");
    buf.extend(bytes.len()).expect("room").copy_from_slice(bytes);
    Frame { buf, meta }
}

/// A packet as the other node sends it to this one.
pub(super) fn wrapped(packet: &Packet) -> Vec<u8> {
    let family = usize::from(!packet.is_v4());
    let inner = packet.clone().between(PEER_VTEP[family], OUR_VTEP[family]);
    coming(packet.is_v4()).around(&inner.frame())
}

/// The outer headers of a packet from the other node.
pub(super) fn coming(v4: bool) -> Wrapping {
    let outer = Packet::udp((OTHER_NODE.addr(v4), 50000), (NODE.addr(v4), TUNNEL_PORT));
    Wrapping {
        outer: outer.between(ROUTER_MAC, UPLINK_MAC),
        vni: VNI,
    }
}

fn only(sent: &[Sent]) -> &Sent {
    assert_eq!(sent.len(), 1, "one frame expected: {sent:?}");
    &sent[0]
}

/// Exactly this packet left by the port.
pub(super) fn expect(sent: &[Sent], port: PortSlot, want: &Packet) {
    let got = only(sent);
    assert_eq!((got.port, &got.bytes), (port, &want.frame()), "want {want:?}");
}

pub(super) fn expect_at_pod(sent: &[Sent], pod: Who, want: Packet) {
    expect(sent, pod.slot, &want.between(GATEWAY_MAC, pod.mac));
}

pub(super) fn expect_at_host(sent: &[Sent], want: Packet) {
    expect(sent, HOST, &want.between(GATEWAY_MAC, HOST_MAC));
}

pub(super) fn expect_outside(sent: &[Sent], want: Packet) {
    expect(sent, UPLINK, &want.between(UPLINK_MAC, ROUTER_MAC));
}

/// Exactly this packet left for the other node, in the tunnel.
pub(super) fn expect_in_tunnel(sent: &[Sent], want: Packet) {
    let got = only(sent);
    assert_eq!(got.port, UPLINK);
    let flow = want.tuple();
    assert_eq!(got.bytes, in_tunnel(want, &flow, &got.bytes));
}

/// The packet of this flow as this node wraps it, with the outer identification that `like` has.
pub(super) fn in_tunnel(want: Packet, flow: &Tuple, like: &[u8]) -> Vec<u8> {
    let v4 = want.is_v4();
    let family = usize::from(!v4);
    let source = sluice_vxlan::source_port(flow.stable_hash());
    let mut outer = Packet::udp((NODE.addr(v4), source), (OTHER_NODE.addr(v4), TUNNEL_PORT));
    outer.id = u16::from_be_bytes([like[18], like[19]]);
    outer.dont_fragment = false;
    outer.tos = want.tos & 3;
    let outer = outer.between(UPLINK_MAC, ROUTER_MAC);
    let inner = want.between(OUR_VTEP[family], PEER_VTEP[family]);
    Wrapping { outer, vni: VNI }.around(&inner.frame())
}

/// Source address and port (or echo identifier) of a frame that left, behind `skip` bytes of outer headers.
pub(super) fn source_of(sent: &[Sent], skip: usize) -> (Addr, u16) {
    match sluice_wire::parse(&only(sent).bytes[skip..]) {
        Ok(sluice_wire::Packet::Ip(parsed)) => (parsed.tuple.src, parsed.tuple.sport),
        other => panic!("no IP packet: {other:?}"),
    }
}

pub(super) const NOBODY: MacAddr = MacAddr([2, 9, 9, 9, 9, 9]);
