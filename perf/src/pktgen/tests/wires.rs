//! Over real interfaces, in namespaces of their own: as many arrive as were sent, to the last frame.

use super::namespace::Namespace;
use super::*;
use sluice_io::tap::{self, TapSpec};
use sluice_io::{Burst, PacketIo};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::{BURST, MacAddr, PortSlot};
use std::sync::atomic::{AtomicBool, Ordering};

/// As many as the receiver's ring holds, so that none is lost however long the receiver gets no processor.
const PACKETS: u64 = 4000;

fn end(namespace: &Namespace, interface: &str) -> End {
    End {
        netns: Some(namespace.path()),
        interface: interface.into(),
        cpu: None,
    }
}

/// Sends all and checks what arrives.
fn counted(ends: &Ends, stream: &Stream) -> Report {
    let report = super::run(
        ends,
        stream,
        Pace::Rate(20_000.0),
        Until::Packets(PACKETS),
        &mut Progress::new(1),
    )
    .unwrap();
    let [counted @ .., _] = counts(&report);
    assert_eq!(
        counted,
        [PACKETS, PACKETS, 0, 0, 0],
        "foreign {}, {:?}",
        report.foreign,
        report.kernel_losses
    );
    assert_eq!(report.latency.len(), PACKETS);
    report
}

#[test]
fn over_a_veth_pair_every_packet_is_counted_and_neighbours_are_found() {
    let (near, far) = (Namespace::new(), Namespace::new());
    near.ip(&format!("link add a0 type veth peer name b0 netns {}", far.tid));
    near.ip("link set a0 up");
    far.ip("link set b0 up");
    let ends = Ends {
        tx: end(&near, "a0"),
        rx: end(&far, "b0"),
        wait: Wait::Sleep,
    };
    // Without a route frames go to the other end itself.
    counted(
        &ends,
        &Stream {
            flows: 1000,
            size: Size::Imix,
            ..stream()
        },
    );
    let vxlan = "vni=1,src=192.0.2.1,dst=192.0.2.2".parse().ok();
    counted(
        &ends,
        &Stream {
            flows: 100,
            size: Size::Bytes(512),
            vxlan,
            ..stream()
        },
    );
    // With one to its next hop, for which the kernel asks, and the other one answers while the test takes its frames.
    near.ip("addr add 10.0.0.1/24 dev a0");
    near.ip("route add 198.19.0.0/24 via 10.0.0.2");
    far.ip("addr add 10.0.0.2/24 dev b0");
    counted(&ends, &stream());
    let long = Stream {
        size: Size::Bytes(1519),
        ..stream()
    };
    let err = super::run(&ends, &long, Pace::Max, Until::Packets(1), &mut Progress::new(1))
        .err()
        .unwrap();
    assert!(err.to_string().contains("1514 go through"), "{err}");
    near.ip("route replace 198.19.0.0/24 via 10.0.0.77");
    near.write("/proc/sys/net/ipv4/neigh/a0/retrans_time_ms", "20");
    let bench = Bench::open(&ends).unwrap();
    let err = format!("{:#}", bench.prepare(&stream()).err().unwrap());
    assert!(
        err.contains("nobody answers for 10.0.0.77") && err.contains("--dst-mac"),
        "{err}"
    );
    assert_eq!(
        bench.modes().map(|mode| mode.1),
        ["AF_XDP native, copy (driver has no zero-copy)"; 2]
    );
    drop(bench);
    // Who was told where the next hop is knows it from then on, however often it is used.
    near.ip("neigh replace 10.0.0.77 lladdr 02:00:00:00:00:77 dev a0 nud permanent");
    for _ in 0..2 {
        counted(&ends, &stream());
    }
    far.ip("link set b0 down");
    let err = format!("{:#}", Bench::open(&ends).err().unwrap());
    assert!(err.contains("b0: the interface is down"), "{err}");
    let err = format!(
        "{:#}",
        Bench::open(&Ends {
            rx: ends.tx.clone(),
            ..ends
        })
        .err()
        .unwrap()
    );
    assert!(err.contains("cannot be both ends"), "{err}");
}

/// As pods have them: taps in namespaces, joined by a process that holds their other ends.
#[test]
fn between_taps_of_two_pods_every_packet_is_counted() {
    let pods = [Namespace::new(), Namespace::new()];
    let mac = |n| MacAddr([2, 0, 0, 0, 9, n]);
    let spec = |n: u8| TapSpec {
        name: "eth0".into(),
        netns: Some(pods[usize::from(n)].path()),
        queues: 1,
        mac: Some(mac(n)),
        mtu: 1500,
        tx_queue_len: PACKETS as u32,
        up: true,
        port: PortSlot(u16::from(n)),
        uso: true,
    };
    let mut taps = [0, 1].map(|n| tap::create(&spec(n)).unwrap().queues);
    let (small, large) = (Memory::new(4096, 1024).unwrap(), Memory::new(LARGE_CHUNK, 64).unwrap());
    let mut pools = Pools::new(&small, &large);
    let ends = Ends {
        tx: end(&pods[0], "eth0"),
        rx: end(&pods[1], "eth0"),
        wait: Wait::Sleep,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut burst = Burst::new();
            while !over.load(Ordering::Relaxed) {
                taps[0][0].receive(&mut pools, &mut burst, BURST);
                if burst.is_empty() {
                    std::thread::yield_now();
                }
                taps[1][0].transmit(&mut pools, &mut burst);
                burst.drain(..).for_each(|frame| pools.free(frame.buf));
            }
        });
        let _end = Flag(&over);
        counted(&ends, &Stream { flows: 100, ..stream() });
    });
}

/// Set when dropped, also by a panic.
struct Flag<'f>(&'f AtomicBool);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
