//! Taps in namespaces of their own, with the kernel's TCP at both ends.

use super::*;
use crate::ready::{ReadySet, Tokens};
use crate::testing::{Lake, Namespace, collect, frame_of, plain, until};
use crate::{Burst, PacketIo};
use sluice_mem::Pools;
use sluice_wire::{MacAddr, PortSlot};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn spec(namespace: &Namespace, port: u16, queues: u16) -> TapSpec {
    TapSpec {
        name: "eth0".into(),
        netns: Some(namespace.path()),
        queues,
        mac: Some(MacAddr([2, 0, 0, 0, 9, port as u8])),
        mtu: 1500,
        tx_queue_len: 1000,
        up: true,
        port: PortSlot(port),
        uso: true,
    }
}

/// What [`forward`] saw.
#[derive(Default)]
struct Seen {
    supers: u32,
    longest: usize,
    frames: u32,
}

/// Moves frames from either end to the other until told to stop.
fn forward(ends: &mut [TapQueue; 2], pools: &mut Pools, stop: &AtomicBool) -> Seen {
    let ready = ReadySet::new().unwrap();
    for (n, end) in ends.iter().enumerate() {
        ready.add(end.readiness().unwrap(), n as u64).unwrap();
    }
    let (mut tokens, mut burst, mut seen) = (Tokens::new(), Burst::new(), Seen::default());
    while !stop.load(Ordering::Relaxed) {
        ready.poll(Some(Duration::from_millis(20)), &mut tokens).unwrap();
        for &from in &tokens {
            ends[from as usize].receive(pools, &mut burst, sluice_wire::BURST);
            for frame in &burst {
                seen.frames += 1;
                seen.supers += u32::from(frame.meta.gso.is_some());
                seen.longest = seen.longest.max(frame.buf.total_len());
                assert_eq!(frame.meta.ingress, ends[from as usize].port());
            }
            ends[1 - from as usize].transmit(pools, &mut burst);
            burst.drain(..).for_each(|frame| pools.free(frame.buf));
        }
    }
    seen
}

#[test]
fn the_kernels_tcp_crosses_a_pair_of_taps_in_super_frames() {
    const BYTES: usize = 24 << 20;
    let (a, b) = (Namespace::new(), Namespace::new());
    let lake = Lake::new();
    let mut pools = lake.pools();
    let made = [(&a, 1), (&b, 2)].map(|(namespace, port)| create(&spec(namespace, port, 1)).unwrap());
    assert!(
        made.iter()
            .all(|tap| tap.caps.tso4 && tap.caps.tso6 && tap.caps.tx_checksum && !tap.existed)
    );
    for (namespace, n) in [(&a, 1), (&b, 2)] {
        namespace.ip(&format!("addr add 10.9.0.{n}/24 dev eth0"));
        namespace.run(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").unwrap());
        namespace.ip(&format!("-6 addr add fd00:9::{n}/64 dev eth0 nodad"));
    }
    let mut ends = made.map(|mut tap| tap.queues.pop().unwrap());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let forwarder = scope.spawn(|| forward(&mut ends, &mut pools, &stop));
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            for address in ["10.9.0.2:5001", "[fd00:9::2]:5001"] {
                let listener = b.run(move || TcpListener::bind(address).unwrap());
                let receiver = std::thread::spawn(move || {
                    let mut stream = listener.accept().unwrap().0;
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    let (mut buffer, mut sum, mut count) = (vec![0; 1 << 16], 0u64, 0);
                    while count < BYTES {
                        let got = stream.read(&mut buffer).unwrap();
                        assert!(got > 0, "cut off after {count}");
                        for byte in &buffer[..got] {
                            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
                        }
                        count += got;
                    }
                    sum
                });
                let sent = a.run(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                    let block: Vec<u8> = (0..1u32 << 16)
                        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                        .collect();
                    let mut sum = 0u64;
                    for _ in 0..BYTES >> 16 {
                        stream.write_all(&block).unwrap();
                        for byte in &block {
                            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
                        }
                    }
                    sum
                });
                assert_eq!(receiver.join().unwrap(), sent, "every byte arrived as it was");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let seen = forwarder.join().unwrap();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(
            seen.supers > 100 && seen.longest > 30_000,
            "super-frames pass whole: {} of {}, longest {}",
            seen.supers,
            seen.frames,
            seen.longest
        );
    });
    for end in ends {
        let stats = end.stats();
        assert_eq!((stats.rx_invalid, stats.rx_no_memory), (0, 0));
        Box::new(end).close(&mut pools);
    }
    drop(pools);
    lake.assert_full();
}

#[test]
fn a_tap_outlives_its_queues_and_is_taken_up_again() {
    let namespace = Namespace::new();
    let first = create(&spec(&namespace, 1, 4)).unwrap();
    assert_eq!(
        (first.queues.len(), first.existed, first.name.as_str()),
        (4, false, "eth0")
    );
    namespace.ip("addr add 10.9.0.1/24 dev eth0");
    let ifindex = first.ifindex;
    drop(first);
    until("carrier to go", || {
        namespace.ip("link show eth0").contains("NO-CARRIER").then_some(())
    });
    let again = create(&TapSpec {
        mac: None,
        mtu: 1400,
        ..spec(&namespace, 1, 2)
    })
    .unwrap();
    assert_eq!(
        (again.ifindex, again.existed, again.mac),
        (ifindex, true, MacAddr([2, 0, 0, 0, 9, 1]))
    );
    let shown = namespace.ip("addr show eth0");
    assert!(
        shown.contains("10.9.0.1/24") && shown.contains("mtu 1400") && shown.contains("qlen 1000"),
        "{shown}"
    );
    assert!(!shown.contains("NO-CARRIER"), "{shown}");
    remove(Some(&namespace.path()), "eth0").unwrap();
    assert!(namespace.ip("link").contains("eth0"), "the queues still hold it");
    assert!(again.queues.iter().all(PacketIo::alive));
    drop(again);
    until("the tap to go", || {
        (!namespace.ip("link").contains("eth0")).then_some(())
    });
    remove(Some(&namespace.path()), "eth0").unwrap();
    remove(Some("/proc/self/task/0/ns/net".as_ref()), "eth0").unwrap();
}

#[test]
fn chains_and_odd_frames_arrive_whole_or_are_refused() {
    let (namespace, lake) = (Namespace::new(), Lake::of(2048, 1024));
    let mut pools = lake.pools();
    let mut tap = create(&spec(&namespace, 1, 1)).unwrap();
    let mut queue = tap.queues.pop().unwrap();
    let kernel = namespace.run(|| crate::testing::Raw::on("eth0"));
    let (front, back) = (plain(60, 1), vec![2; 700]);
    let mut chain = frame_of(&mut pools, &front);
    let tail = frame_of(&mut pools, &back);
    chain.buf.append(tail.buf);
    let mut gso = frame_of(&mut pools, &plain(100, 3));
    gso.meta.gso = Some(sluice_wire::Gso {
        kind: sluice_wire::GsoKind::Tcp4,
        size: 10,
        ecn: false,
    });
    let mut burst = Burst::from_iter([gso, chain]);
    let sent = queue.transmit(&mut pools, &mut burst);
    assert_eq!((sent.frames, sent.bytes, sent.refused, burst.len()), (1, 760, 1, 0));
    assert_eq!(kernel.receive(), [front, back].concat());
    for len in [14, 60, 1792, 1793, 2000, 1514] {
        kernel.send(&plain(len, len as u8));
    }
    namespace.ip("link set eth0 mtu 65521");
    for len in [60_000, 65_535, 1500, 60] {
        kernel.send(&plain(len, len as u8));
    }
    let got = collect(&mut queue, &mut pools, 7, |_| true);
    let want: Vec<Vec<u8>> = [14, 60, 1514, 60_000, 65_535, 1500, 60]
        .iter()
        .map(|&len| plain(len, len as u8))
        .collect();
    let got: Vec<Vec<u8>> = got.into_iter().map(|(_, bytes)| bytes).collect();
    assert!(
        got == want,
        "lengths {:?}",
        got.iter().map(Vec::len).collect::<Vec<_>>()
    );
    namespace.ip("link set eth0 down");
    let mut burst = Burst::from_iter([frame_of(&mut pools, &plain(60, 1))]);
    assert_eq!(queue.transmit(&mut pools, &mut burst).refused, 1, "the link is down");
    Box::new(queue).close(&mut pools);
    drop(pools);
    lake.assert_full();
}

#[test]
fn a_loop_allocates_nothing() {
    let (namespace, lake) = (Namespace::new(), Lake::new());
    let mut pools = lake.pools();
    let mut queue = create(&spec(&namespace, 1, 1)).unwrap().queues.pop().unwrap();
    let kernel = namespace.run(|| crate::testing::Raw::on("eth0"));
    (0..100).for_each(|n| {
        kernel.send(&plain(1000, n));
    });
    let mut burst = Burst::new();
    // The first round fills the pools' caches.
    let big = pools.large.alloc().unwrap();
    pools.free(big);
    let used = allocation_counter::measure(|| {
        for _ in 0..4 {
            queue.receive(&mut pools, &mut burst, sluice_wire::BURST);
            queue.transmit(&mut pools, &mut burst);
            queue.recycle(&mut pools);
        }
    });
    assert_eq!((used.count_total, burst.len()), (0, 0));
    assert!(queue.stats().tx_frames >= 100);
    Box::new(queue).close(&mut pools);
    drop(pools);
    lake.assert_full();
}

#[test]
fn errors_say_what_to_do() {
    let namespace = Namespace::new();
    namespace.ip("link add eth0 type veth peer name other");
    let text = |spec: TapSpec| create(&spec).err().unwrap().to_string();
    let plain = spec(&namespace, 1, 1);
    assert!(text(plain.clone()).contains("ip link del"), "{}", text(plain.clone()));
    assert!(
        text(TapSpec {
            name: "much-too-long-name".into(),
            ..plain.clone()
        })
        .contains("1 to 15 characters")
    );
    assert!(
        text(TapSpec {
            queues: 0,
            ..plain.clone()
        })
        .contains("queues")
    );
    assert!(
        text(TapSpec {
            netns: Some("/no/such".into()),
            ..plain
        })
        .contains("/no/such")
    );
}
