//! Sockets on veth pairs in namespaces: both directions, moved starts, and no chunk lost over random operations.

mod rings;

use super::*;
use crate::testing::{Lake, Namespace, Raw, collect, frame_of, plain, until};
use crate::xdp::Steering;
use crate::{Burst, PacketIo};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sluice_mem::Pools;
use sluice_wire::{Addr, Checksum, Gso, GsoKind, MacAddr, PortSlot, Proto};
use std::path::Path;

const PINS: &str = "/sys/fs/bpf/sluice";
const ADDRESS: Addr = Addr::v4([192, 0, 2, 1]);
const PORT: u16 = 8472;

/// A frame that the program steers to the socket: UDP to the tunnel port, `fill` in the payload.
fn steered(len: usize, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; len.max(42)];
    bytes[..14].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0]);
    bytes[14..34].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
    let total = (bytes.len() as u16 - 14).to_be_bytes();
    bytes[16..18].copy_from_slice(&total);
    bytes[34..38].copy_from_slice(&[0x30, 0x39, 0x21, 0x18]);
    bytes
}

struct Bench {
    lake: Lake,
    pools: Pools,
    near: Namespace,
    far: Namespace,
    steering: Option<Steering>,
    queues: Vec<XskQueue>,
}

impl Bench {
    /// An uplink of `queues` queues, and a plain interface at the other end of its wire.
    fn new(lake: Lake, queues: u16, ring_size: u32) -> Self {
        Self::with_mtu(lake, queues, ring_size, 1500)
    }

    fn with_mtu(lake: Lake, queues: u16, ring_size: u32, mtu: u32) -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.wire("up0", &far, "peer0", queues);
        near.ip(&format!("link set up0 mtu {mtu}"));
        far.ip(&format!("link set peer0 mtu {mtu}"));
        let umem = Umem::new(&lake.small).unwrap();
        let mut pools = lake.pools();
        let (steering, uplink, pools) = near.run(move || {
            let mut steering = Steering::load(PORT).unwrap();
            steering.set_node_addresses(&[ADDRESS]).unwrap();
            steering.set_mac(MacAddr::BROADCAST).unwrap();
            steering.attach("up0", Path::new(PINS)).unwrap();
            let spec = QueueSpec {
                interface: "up0".into(),
                queues: (0..queue_count("up0").unwrap()).collect(),
                // Here the kernel always copies.
                ring_size: 2 * ring_size,
                copy_ring_size: ring_size,
                port: PortSlot(5),
                multi_buffer: true,
            };
            let uplink = open(&spec, &umem, &mut pools, &mut steering).unwrap_or_else(|err| panic!("{err}"));
            (steering, uplink, pools)
        });
        assert_eq!(uplink.mode.to_string(), "AF_XDP native, copy (driver has no zero-copy)");
        assert_eq!(uplink.queues.len(), usize::from(queues));
        Self {
            lake,
            pools,
            near,
            far,
            steering: Some(steering),
            queues: uplink.queues,
        }
    }

    /// Closes everything and counts the chunks.
    fn finish(self) {
        let Self {
            lake,
            mut pools,
            near,
            steering,
            queues,
            ..
        } = self;
        for queue in queues {
            Box::new(queue).close(&mut pools);
        }
        near.run(move || steering.map(|s| s.detach().unwrap()));
        drop(pools);
        lake.assert_full();
    }
}

fn raw(namespace: &Namespace, name: &'static str) -> Raw {
    namespace.run(move || Raw::on(name))
}

#[test]
fn frames_cross_both_ways_and_starts_may_move() {
    let mut bench = Bench::new(Lake::of(2048, 2048), 1, 128);
    let far = raw(&bench.far, "peer0");
    let near = raw(&bench.near, "up0");
    let queue = &mut bench.queues[0];
    far.send(&plain(60, 9));
    for len in [42, 60, 1000, 1514] {
        far.send(&steered(len, len as u8));
    }
    let got = collect(queue, &mut bench.pools, 4, |_| true);
    assert!(
        got.iter()
            .all(|(meta, _)| meta.ingress == PortSlot(5) && meta.checksum == Checksum::Unverified)
    );
    let got: Vec<Vec<u8>> = got.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(got, [42, 60, 1000, 1514].map(|len| steered(len, len as u8)));
    assert_eq!(near.receive(), plain(60, 9), "what is not ours went to the kernel");

    let pools = &mut bench.pools;
    let mut pushed = frame_of(pools, &plain(60, 1)[50..]);
    pushed.buf.push(50).unwrap().copy_from_slice(&plain(60, 1)[..50]);
    let mut pulled = frame_of(pools, &[&[0; 36], plain(100, 2).as_slice()].concat());
    assert!(pulled.buf.pull(36));
    let mut chain = frame_of(pools, &plain(60, 3));
    let tail = frame_of(pools, &[3; 40]);
    chain.buf.append(tail.buf);
    let mut foreign = frame_of(pools, &vec![0; 2000]);
    foreign.buf.bytes_mut()[..1514].copy_from_slice(&plain(1514, 4));
    foreign.buf.truncate(1514);
    let mut burst = Burst::from_iter([pushed, pulled, chain, foreign]);
    let sent = queue.transmit(pools, &mut burst);
    assert_eq!(
        (sent.frames, sent.bytes, sent.refused, burst.len()),
        (4, 60 + 100 + 100 + 1514, 0, 0)
    );
    assert_eq!(queue.stats().tx_copied, 2);
    for want in [plain(60, 1), plain(100, 2), plain(100, 3), plain(1514, 4)] {
        assert_eq!(far.receive(), want);
    }
    until("completions", || {
        queue.recycle(pools);
        (queue.outstanding().transmit == 0).then_some(())
    });
    bench.finish();
}

/// Without a kernel for it there is nothing to test, which is said: [`max_packet`] tells the same to the agent.
#[test]
fn jumbo_frames_cross_both_ways_whole() {
    let lake = Lake::of(4096, 1024);
    if max_packet(&lake.small, true) < 9000 {
        eprintln!("skipped: this kernel has no AF_XDP multi-buffer (Linux 6.6)");
        return;
    }
    let mut bench = Bench::with_mtu(lake, 1, 64, 9000);
    let far = raw(&bench.far, "peer0");
    let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
    let bytes = |len: usize, from: &[u8]| -> Vec<u8> {
        let mut bytes = from.to_vec();
        bytes.extend((from.len()..len).map(|i| (i * 7 % 251) as u8));
        bytes
    };
    let lens = [60, 3840, 3841, 4096, 7681, 9014];
    for len in lens {
        let mut frame = bytes(len, &steered(42, 1));
        frame[16..18].copy_from_slice(&(len as u16 - 14).to_be_bytes());
        far.send(&frame);
        let (_, got) = collect(queue, pools, 1, |_| true).remove(0);
        assert!(got == frame, "{len} bytes came as {}", got.len());
    }
    // In the kernel's headroom the ring's chunks hold 3840 bytes.
    assert_eq!(queue.stats().rx_copied, 4);
    for len in lens {
        let frame = bytes(len, &plain(60, 1));
        let mut burst = Burst::from_iter([frame_of(pools, &frame)]);
        let sent = queue.transmit(pools, &mut burst);
        assert_eq!((sent.frames, sent.bytes, sent.refused), (1, len as u64, 0));
        let got = far.receive();
        assert!(got == frame, "{len} bytes went as {}", got.len());
    }
    let over = bytes(9015, &plain(60, 1));
    let mut burst = Burst::from_iter([frame_of(pools, &over)]);
    assert_eq!(queue.transmit(pools, &mut burst).refused, 1);
    // A frame needs room for all of its pieces: 21 times three of 64 entries, and the rest stays.
    until("the ring to be empty", || {
        queue.recycle(pools);
        (queue.outstanding().transmit == 0).then_some(())
    });
    let frame = bytes(9014, &plain(60, 1));
    let mut burst = Burst::from_iter((0..30).map(|_| frame_of(pools, &frame)));
    let sent = queue.transmit(pools, &mut burst);
    assert_eq!((sent.frames, burst.len()), (21, 9));
    let rest: Vec<_> = burst.drain(..).collect();
    rest.into_iter().for_each(|frame| pools.free(frame.buf));
    // More than these do not fit into the receiver's socket.
    for _ in 0..8 {
        queue.recycle(pools);
        assert!(far.receive() == frame);
    }
    bench.finish();
}

#[test]
fn what_the_wire_cannot_carry_is_refused_and_a_full_ring_keeps_the_rest() {
    let mut bench = Bench::new(Lake::of(4096, 2048), 1, 64);
    let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
    let mut gso = frame_of(pools, &plain(60, 1));
    gso.meta.gso = Some(Gso {
        kind: GsoKind::Udp,
        size: 10,
        ecn: false,
    });
    let mut partial = frame_of(pools, &plain(60, 1));
    partial.meta.checksum = Checksum::Partial { start: 34, offset: 6 };
    let long = frame_of(pools, &vec![0; 1515]);
    let short = frame_of(pools, &[0; 13]);
    let good = frame_of(pools, &plain(60, 1));
    let mut burst = Burst::from_iter([gso, partial, long, good, short]);
    let sent = queue.transmit(pools, &mut burst);
    assert_eq!((sent.frames, sent.refused, burst.len()), (1, 4, 0));
    // No completion is taken between these, so the ring or the completion ring runs full.
    let mut left = 0;
    for _ in 0..20 {
        let mut burst: Burst = (0..64).map(|n| frame_of(pools, &plain(60, n))).collect();
        queue.transmit(pools, &mut burst);
        left += burst.len();
        let fills: Vec<u8> = burst.iter().map(|f| f.buf.bytes()[20]).collect();
        assert!(
            fills.windows(2).all(|w| w[0] + 1 == w[1]) && fills.last().is_none_or(|l| *l == 63),
            "the front went"
        );
        burst.drain(..).for_each(|f| pools.free(f.buf));
    }
    assert!(left > 0, "completions were not taken, so something had to stay");
    until("completions", || {
        queue.recycle(pools);
        (queue.outstanding().transmit == 0).then_some(())
    });
    assert_eq!(queue.stats().kernel_invalid, 0);
    bench.finish();
}

#[test]
fn several_queues_and_devices_share_one_memory() {
    let mut bench = Bench::new(Lake::of(2048, 4096), 4, 128);
    let umem = Umem::new(&bench.lake.small).unwrap();
    bench.near.wire("up1", &bench.far, "peer1", 1);
    let mut pools = bench.lake.pools();
    let (mut other, mut steering, mut pools) = bench.near.run(move || {
        let mut steering = Steering::load(PORT).unwrap();
        steering.set_node_addresses(&[ADDRESS]).unwrap();
        steering.set_mac(MacAddr::BROADCAST).unwrap();
        steering.attach("up1", Path::new(PINS)).unwrap();
        let spec = QueueSpec {
            interface: "up1".into(),
            queues: vec![0],
            ring_size: 64,
            copy_ring_size: 64,
            port: PortSlot(6),
            multi_buffer: true,
        };
        let uplink = open(&spec, &umem, &mut pools, &mut steering).unwrap();
        (uplink.queues, steering, pools)
    });
    // A frame received on one device leaves by the other in place.
    let (here, there) = (raw(&bench.far, "peer0"), raw(&bench.far, "peer1"));
    here.send(&steered(300, 7));
    let mut burst = Burst::new();
    until("a frame on any queue", || {
        bench.queues.iter_mut().for_each(|queue| {
            queue.receive(&mut pools, &mut burst, sluice_wire::BURST);
        });
        (!burst.is_empty()).then_some(())
    });
    assert_eq!(other[0].transmit(&mut pools, &mut burst).frames, 1);
    assert_eq!(there.receive(), steered(300, 7));
    assert_eq!(other[0].stats().tx_copied, 0);
    // Closing the first socket of the memory leaves the others working.
    let first = bench.queues.remove(0);
    Box::new(first).close(&mut pools);
    let mut burst = Burst::from_iter([frame_of(&mut pools, &plain(60, 8))]);
    assert_eq!(bench.queues[2].transmit(&mut pools, &mut burst).frames, 1);
    assert_eq!(here.receive(), plain(60, 8));
    // The queue is free again at once, or after the short wait that `open` allows for.
    let umem = Umem::new(&bench.lake.small).unwrap();
    let spec = QueueSpec {
        interface: "up0".into(),
        queues: vec![0],
        ring_size: 64,
        copy_ring_size: 64,
        port: PortSlot(6),
        multi_buffer: true,
    };
    let mut taken = bench.steering.take().unwrap();
    let (again, taken, mut pools) = bench.near.run(move || {
        let again = open(&spec, &umem, &mut pools, &mut taken).unwrap();
        (again, taken, pools)
    });
    bench.steering = Some(taken);
    // And one that is taken says by whom.
    let umem = Umem::new(&bench.lake.small).unwrap();
    let (text, pools_back) = bench.near.run(move || {
        let spec = QueueSpec {
            interface: "up1".into(),
            queues: vec![0],
            ring_size: 64,
            copy_ring_size: 64,
            port: PortSlot(6),
            multi_buffer: true,
        };
        let text = open(&spec, &umem, &mut pools, &mut steering).err().unwrap().to_string();
        steering.detach().unwrap();
        (text, pools)
    });
    pools = pools_back;
    assert!(
        text.contains("queue 0") && text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    for queue in again.queues.into_iter().chain(other.drain(..)) {
        Box::new(queue).close(&mut pools);
    }
    drop(pools);
    bench.finish();
}

#[test]
fn setup_errors_say_what_to_do() {
    let lake = Lake::of(2048, 512);
    let umem = Umem::new(&lake.small).unwrap();
    assert!(
        Umem::new(&lake.large)
            .err()
            .unwrap()
            .to_string()
            .contains("2048 or 4096")
    );
    let (near, far) = (Namespace::new(), Namespace::new());
    near.wire("up0", &far, "peer0", 1);
    let mut pools = lake.pools();
    near.run(move || {
        let mut steering = Steering::load(PORT).unwrap();
        steering.attach("up0", Path::new(PINS)).unwrap();
        let spec = QueueSpec {
            interface: "up0".into(),
            queues: vec![0, 9],
            ring_size: 64,
            copy_ring_size: 64,
            port: PortSlot(1),
            multi_buffer: true,
        };
        let mut text = |spec: QueueSpec| open(&spec, &umem, &mut pools, &mut steering).err().unwrap().to_string();
        assert!(text(spec.clone()).contains("queue 9") && text(spec.clone()).contains("ethtool -l"));
        assert!(
            text(QueueSpec {
                copy_ring_size: 100,
                ..spec.clone()
            })
            .contains("power of two")
        );
        assert!(
            text(QueueSpec {
                interface: "nope0".into(),
                ..spec
            })
            .contains("ip link")
        );
        steering.detach().unwrap();
        drop(pools);
        lake.assert_full();
    });
}

#[test]
fn without_a_live_socket_what_is_ours_reaches_nobody() {
    let mut bench = Bench::new(Lake::of(2048, 1024), 1, 64);
    let (far, near) = (raw(&bench.far, "peer0"), raw(&bench.near, "up0"));
    Box::new(bench.queues.remove(0)).close(&mut bench.pools);
    far.send(&steered(100, 1));
    far.send(&plain(60, 2));
    assert_eq!(
        near.receive(),
        plain(60, 2),
        "the steered frame came before it, and did not reach the kernel"
    );
    // The next agent: the map is filled and sockets are set before anything is lost to the kernel.
    let umem = Umem::new(&bench.lake.small).unwrap();
    let mut pools = bench.lake.pools();
    let old = bench.steering.take();
    let (mut uplink, steering, mut pools) = bench.near.run(move || {
        drop(old);
        let mut steering = Steering::load(PORT).unwrap();
        steering.set_frontends(&[(ADDRESS, Proto::UDP, PORT)]).unwrap();
        steering.set_mac(MacAddr::BROADCAST).unwrap();
        steering.attach("up0", Path::new(PINS)).unwrap();
        let spec = QueueSpec {
            interface: "up0".into(),
            queues: vec![0],
            ring_size: 64,
            copy_ring_size: 64,
            port: PortSlot(1),
            multi_buffer: true,
        };
        let uplink = open(&spec, &umem, &mut pools, &mut steering).unwrap();
        (uplink, steering, pools)
    });
    bench.steering = Some(steering);
    far.send(&steered(100, 3));
    assert_eq!(
        collect(&mut uplink.queues[0], &mut pools, 1, |_| true)[0].1,
        steered(100, 3)
    );
    bench.queues = uplink.queues;
    drop(pools);
    bench.finish();
}

#[test]
fn a_deleted_interface_shows_and_its_chunks_come_home() {
    let mut bench = Bench::new(Lake::of(2048, 1024), 1, 64);
    let mut burst: Burst = (0..20).map(|n| frame_of(&mut bench.pools, &plain(60, n))).collect();
    bench.queues[0].transmit(&mut bench.pools, &mut burst);
    bench.near.ip("link del up0");
    let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
    until("the queue to notice", || {
        (0..1024).for_each(|_| {
            queue.receive(pools, &mut burst, sluice_wire::BURST);
        });
        (!queue.alive()).then_some(())
    });
    bench.finish();
}

#[test]
fn an_interface_without_native_xdp_gets_the_generic_mode_and_keeps_it_over_a_restart() {
    let (namespace, lake) = (Namespace::new(), Lake::of(4096, 512));
    let umem = Umem::new(&lake.small).unwrap();
    let mut pools = lake.pools();
    namespace.run(move || {
        let mut first = Steering::load(PORT).unwrap();
        assert_eq!(first.attach("lo", Path::new(PINS)).unwrap(), Attach::Generic);
        drop(first);
        let mut steering = Steering::load(PORT).unwrap();
        assert_eq!(steering.attach("lo", Path::new(PINS)).unwrap(), Attach::Generic);
        let spec = QueueSpec {
            interface: "lo".into(),
            queues: vec![0],
            ring_size: 64,
            copy_ring_size: 64,
            port: PortSlot(1),
            multi_buffer: true,
        };
        let uplink = open(&spec, &umem, &mut pools, &mut steering).unwrap();
        assert_eq!(uplink.mode.to_string(), "AF_XDP generic, copy (driver has no XDP)");
        for queue in uplink.queues {
            Box::new(queue).close(&mut pools);
        }
        steering.detach().unwrap();
        drop(pools);
        lake.assert_full();
    });
}

#[test]
fn what_a_socket_has_no_room_for_is_told_by_its_cause() {
    const RING: u64 = 64;
    let mut bench = Bench::new(Lake::of(2048, 1024), 1, RING as u32);
    let far = raw(&bench.far, "peer0");
    let flood = |frames: u64| {
        (0..frames).for_each(|n| {
            far.send(&steered(100, n as u8));
        });
    };
    let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
    assert!(!queue.stats().has_losses());
    // Nobody takes any, so there is room for one ring; the kernel has chunks for two.
    flood(RING + 10);
    until("what did not fit", || {
        (queue.stats().kernel_rx_full == 10).then_some(())
    });
    assert_eq!(queue.stats().kernel_rx_dropped, 0);
    // All are taken, and nothing is given back in their place.
    let mut burst = Burst::new();
    while queue.receive(pools, &mut burst, sluice_wire::BURST).frames > 0 {
        burst.drain(..).for_each(|frame| pools.free(frame.buf));
    }
    flood(2 * RING);
    until("what found no chunk", || {
        (queue.stats().kernel_rx_dropped == RING).then_some(())
    });
    let stats = queue.stats();
    assert_eq!((stats.kernel_fill_empty, stats.kernel_rx_full), (RING, 10), "{stats:?}");
    bench.finish();
}

#[test]
fn a_loop_allocates_nothing() {
    let mut bench = Bench::new(Lake::of(2048, 1024), 1, 64);
    let far = raw(&bench.far, "peer0");
    (0..40).for_each(|n| {
        far.send(&steered(100, n));
    });
    let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
    let mut burst = Burst::new();
    until("frames", || (!queue.rings_empty()).then_some(()));
    let used = allocation_counter::measure(|| {
        for _ in 0..10 {
            queue.receive(pools, &mut burst, sluice_wire::BURST);
            queue.transmit(pools, &mut burst);
            queue.recycle(pools);
        }
    });
    assert_eq!((used.count_total, burst.len()), (0, 0));
    assert!(queue.stats().tx_frames > 0);
    bench.finish();
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8, u16, u16),
    Receive,
    Recycle,
    Flood(u8),
    Echo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            (1u8..64, 14u16..1600, 0u16..200).prop_map(|(count, len, shift)| Step::Send(count, len, shift)),
            Just(Step::Receive),
            Just(Step::Recycle),
            (1u8..120).prop_map(Step::Flood),
            Just(Step::Echo),
        ],
        1..60,
    )
}

#[test]
fn no_chunk_is_lost_over_random_operations() {
    let config = ProptestConfig {
        cases: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            // Little memory and small rings, so that every shortage happens.
            let mut bench = Bench::new(Lake::of(2048, 512), 1, 64);
            let far = raw(&bench.far, "peer0");
            let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
            for step in steps {
                let mut burst = Burst::new();
                match step {
                    Step::Send(count, len, shift) => {
                        for n in 0..count {
                            let Some(mut buf) = pools.small.alloc() else { break };
                            buf.extend(usize::from(len)).unwrap().fill(n);
                            buf.pull(usize::from(shift.min(len)));
                            burst.push(crate::Frame {
                                buf,
                                meta: sluice_wire::Meta::from_port(PortSlot(0)),
                            });
                        }
                        queue.transmit(pools, &mut burst);
                    }
                    Step::Receive => {
                        queue.receive(pools, &mut burst, sluice_wire::BURST);
                    }
                    Step::Recycle => {
                        queue.recycle(pools);
                    }
                    Step::Flood(count) => (0..count).for_each(|n| {
                        far.send(&steered(200, n));
                    }),
                    Step::Echo => {
                        queue.receive(pools, &mut burst, sluice_wire::BURST);
                        queue.transmit(pools, &mut burst);
                    }
                }
                burst.drain(..).for_each(|frame| pools.free(frame.buf));
                let out = queue.outstanding();
                prop_assert!(out.receive + out.transmit <= 512);
            }
            bench.finish();
            Ok(())
        })
        .unwrap();
}
