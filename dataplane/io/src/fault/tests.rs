//! Frames through faults: none is lost without a count, and each fault is what its name says.

use super::*;
use crate::memory::{MemoryPort, pair};
use crate::testing::{Lake, frame_of};
use proptest::prelude::*;
use sluice_wire::PortSlot;
use std::os::unix::net::UnixDatagram;

const PORTS: [PortSlot; 2] = [PortSlot(1), PortSlot(2)];

struct Bench {
    lake: Lake,
    pools: Pools,
    counts: Arc<FaultCounts>,
    near: Box<FaultPort>,
    far: MemoryPort,
}

impl Bench {
    fn new(faults: Faults, capacity: usize) -> Self {
        let lake = Lake::of(2048, 1024);
        let counts = Arc::new(FaultCounts::default());
        let [near, far] = pair(capacity, PORTS);
        let near = FaultPort::new(Box::new(near), faults, 1, counts.clone()).unwrap();
        Self {
            pools: lake.pools(),
            lake,
            counts,
            near: Box::new(near),
            far,
        }
    }

    fn count(&self, name: &str) -> usize {
        let list = self.counts.list();
        list.iter().find(|(n, _)| *n == name).unwrap().1 as usize
    }

    /// IPv4 packets with these fills, as a burst.
    fn burst(&mut self, fills: std::ops::Range<u8>) -> Burst {
        fills
            .map(|fill| {
                let mut bytes = [fill; 80];
                bytes[12..14].copy_from_slice(&[8, 0]);
                frame_of(&mut self.pools, &bytes)
            })
            .collect()
    }

    fn send(&mut self, fills: std::ops::Range<u8>) {
        let mut burst = self.burst(fills);
        self.near.transmit(&mut self.pools, &mut burst);
        assert!(burst.is_empty());
    }

    /// What comes out at the far end.
    fn arrived(&mut self) -> Vec<Vec<u8>> {
        let mut burst = Burst::new();
        self.far.receive(&mut self.pools, &mut burst, sluice_wire::BURST);
        let out = burst.iter().map(|frame| frame.buf.bytes().to_vec()).collect();
        burst.drain(..).for_each(|frame| self.pools.free(frame.buf));
        out
    }

    fn fills(&mut self) -> Vec<u8> {
        self.arrived().iter().map(|bytes| bytes[0]).collect()
    }

    fn end(self) {
        let mut pools = self.pools;
        self.near.close(&mut pools);
        Box::new(self.far).close(&mut pools);
        drop(pools);
        self.lake.assert_full();
    }
}

#[test]
fn without_rates_nothing_happens() {
    let mut bench = Bench::new(Faults::default(), 256);
    bench.send(0..50);
    assert_eq!(bench.fills(), (0..50).collect::<Vec<u8>>());
    assert!(bench.counts.list().iter().all(|(_, count)| *count == 0));
    bench.end();
}

#[test]
fn each_fault_is_what_its_name_says() {
    let with = |text: &str| Bench::new(text.parse().unwrap(), 256);

    let mut bench = with("drop=1000000");
    bench.send(0..9);
    assert!(bench.fills().is_empty() && bench.count("fault_dropped") == 9);
    bench.end();

    let mut bench = with("duplicate=1000000");
    bench.send(0..3);
    assert_eq!(bench.fills(), [0, 0, 1, 1, 2, 2]);
    assert_eq!(bench.count("fault_duplicated"), 3);
    bench.end();

    let mut bench = with("reorder=1000000");
    bench.send(0..4);
    assert_eq!(bench.fills(), [1, 0, 3, 2]);
    bench.send(4..5);
    assert!(bench.fills().is_empty(), "it waits for somebody to pass");
    bench.near.recycle(&mut bench.pools);
    assert_eq!(bench.fills(), [4], "but not for ever");
    assert_eq!(bench.count("fault_reordered"), 2, "what nobody passed is in its place");
    bench.end();

    let mut bench = with("duplicate=1000000,reorder=1000000");
    bench.send(0..3);
    assert_eq!(bench.fills(), [0, 0, 1, 1, 2, 2]);
    assert_eq!(
        (bench.count("fault_duplicated"), bench.count("fault_reordered")),
        (3, 0)
    );
    bench.end();

    let mut bench = with("truncate=1000000");
    bench.send(0..20);
    let lengths: Vec<usize> = bench.arrived().iter().map(Vec::len).collect();
    assert!(lengths.len() == 20 && lengths.iter().all(|len| (14..80).contains(len)));
    assert!(lengths.iter().any(|len| *len != lengths[0]));
    bench.end();

    let mut bench = with("corrupt=1000000");
    bench.send(7..8);
    let mut want = [7; 80];
    want[12..14].copy_from_slice(&[8, 0]);
    let got = &bench.arrived()[0];
    let flipped: u32 = got.iter().zip(want).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!(flipped, 1, "one bit");
    bench.end();

    let mut bench = with("stall=1000000");
    bench.send(0..20);
    assert!(bench.fills().is_empty() && bench.count("fault_stalled") == 1);
    bench.near.chance.faults.stall = 0;
    for _ in 0..=LONGEST_STALL {
        bench.near.recycle(&mut bench.pools);
    }
    assert_eq!(bench.fills().len(), 20);
    bench.end();
}

#[test]
fn what_no_checksum_protects_is_left_alone() {
    let mut bench = Bench::new("corrupt=1000000".parse().unwrap(), 256);
    let mut burst = bench.burst(1..3);
    burst[0].meta.checksum = sluice_wire::Checksum::Partial { start: 34, offset: 16 };
    burst[1].buf.bytes_mut()[12..14].copy_from_slice(&[8, 6]);
    let sent: Vec<Vec<u8>> = burst.iter().map(|frame| frame.buf.bytes().to_vec()).collect();
    bench.near.transmit(&mut bench.pools, &mut burst);
    assert_eq!(bench.arrived(), sent);
    bench.end();
}

#[test]
fn the_same_seed_brings_the_same_faults() {
    let run = |seed: u64| {
        let text = format!(
            "drop=100000,duplicate=100000,reorder=100000,truncate=100000,corrupt=100000,stall=100000,seed={seed}"
        );
        let mut bench = Bench::new(text.parse().unwrap(), 1024);
        let mut all = Vec::new();
        for _ in 0..10 {
            bench.send(0..20);
            bench.near.recycle(&mut bench.pools);
            all.extend(bench.arrived());
        }
        bench.end();
        all
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_wrong_rate_is_named() {
    for text in ["", "drop", "drop=x", "drop=1000001", "lose=1", "drop=1,,", "seed=-1"] {
        assert!(text.parse::<Faults>().unwrap_err().contains("is no fault"), "{text}");
    }
    let faults: Faults = "drop=1,stall=2,seed=3".parse().unwrap();
    assert_eq!(faults.to_string().parse::<Faults>(), Ok(faults));
}

/// A port whose frames are announced by a datagram each.
struct Announced(MemoryPort, UnixDatagram);

impl PacketIo for Announced {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        while self.1.recv(&mut [0; 8]).is_ok() {}
        self.0.receive(pools, burst, most)
    }
    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        self.0.transmit(pools, burst)
    }
    fn recycle(&mut self, pools: &mut Pools) -> Recycled {
        self.0.recycle(pools)
    }
    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.1.as_fd())
    }
    fn caps(&self) -> Caps {
        self.0.caps()
    }
    fn stats(&self) -> Stats {
        self.0.stats()
    }
    fn close(self: Box<Self>, pools: &mut Pools) {
        Box::new(self.0).close(pools);
    }
}

#[test]
fn whoever_waits_hears_of_frames_that_wait_here() {
    let lake = Lake::of(2048, 256);
    let mut pools = lake.pools();
    let [near, mut far] = pair(64, PORTS);
    let (here, there) = UnixDatagram::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let faults = "reorder=1000000".parse().unwrap();
    let mut port = FaultPort::new(Box::new(Announced(near, here)), faults, 0, Arc::default()).unwrap();
    let set = ReadySet::new().unwrap();
    set.add(port.readiness().unwrap(), 5).unwrap();
    let mut tokens = Tokens::new();
    let mut ready = |set: &ReadySet| {
        set.poll(Some(Duration::ZERO), &mut tokens).unwrap();
        !tokens.is_empty()
    };
    assert!(!ready(&set));
    let mut burst = Burst::from_iter([frame_of(&mut pools, &[1; 60])]);
    far.transmit(&mut pools, &mut burst);
    there.send(b"x").unwrap();
    assert!(ready(&set), "the device has something");
    assert_eq!(
        port.receive(&mut pools, &mut burst, sluice_wire::BURST).frames,
        0,
        "kept back"
    );
    assert!(ready(&set), "the wrapper has something");
    assert_eq!(port.receive(&mut pools, &mut burst, sluice_wire::BURST).frames, 1);
    assert!(!ready(&set), "nobody has");
    burst.drain(..).for_each(|frame| pools.free(frame.buf));
    set.remove(port.readiness().unwrap()).unwrap();
    Box::new(port).close(&mut pools);
    Box::new(far).close(&mut pools);
    drop(pools);
    lake.assert_full();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_somewhere(
        rates in prop::array::uniform6(0u32..400_000), seed: u64, capacity in 1usize..40,
        steps in prop::collection::vec((0u8..4, 1u8..64), 1..60),
    ) {
        let [drop, duplicate, reorder, truncate, corrupt, stall] = rates;
        let mut bench = Bench::new(Faults { drop, duplicate, reorder, truncate, corrupt, stall, seed }, capacity);
        // What went in, by either end, and what came out at the other.
        let (mut into, mut out) = (0usize, 0usize);
        for (what, many) in steps {
            let mut burst = Burst::new();
            match what {
                0 | 1 => {
                    let mut burst = bench.burst(0..many);
                    let before = burst.len();
                    let bytes: u64 = burst.iter().map(|frame| frame.buf.total_len() as u64).sum();
                    let sent = if what == 0 {
                        bench.near.transmit(&mut bench.pools, &mut burst)
                    } else {
                        bench.far.transmit(&mut bench.pools, &mut burst)
                    };
                    let left: u64 = burst.iter().map(|frame| frame.buf.total_len() as u64).sum();
                    prop_assert_eq!((sent.frames as usize + burst.len(), sent.bytes + left, sent.refused), (before, bytes, 0));
                    into += sent.frames as usize;
                    burst.drain(..).for_each(|frame| bench.pools.free(frame.buf));
                    continue;
                }
                2 => prop_assert_eq!(bench.near.receive(&mut bench.pools, &mut burst, sluice_wire::BURST).frames as usize, burst.len()),
                _ => _ = bench.far.receive(&mut bench.pools, &mut burst, sluice_wire::BURST),
            }
            out += burst.len();
            burst.drain(..).for_each(|frame| bench.pools.free(frame.buf));
            let unsent = bench.near.recycle(&mut bench.pools).unsent;
            prop_assert_eq!(unsent, !bench.near.outbound.is_empty(), "whoever sleeps must know");
        }
        let waiting = |line: &Line| line.waiting.len() + usize::from(line.late.is_some());
        let here = waiting(&bench.near.inbound) + waiting(&bench.near.outbound);
        prop_assert!(bench.near.inbound.waiting.capacity() == Line::new().waiting.capacity(), "grew, so allocated");
        // Whatever is still between the two memory ports.
        let mut between = 0;
        loop {
            let mut burst = Burst::new();
            bench.far.receive(&mut bench.pools, &mut burst, sluice_wire::BURST);
            bench.near.inner.receive(&mut bench.pools, &mut burst, sluice_wire::BURST);
            if burst.is_empty() {
                break;
            }
            between += burst.len();
            burst.drain(..).for_each(|frame| bench.pools.free(frame.buf));
        }
        let (dropped, duplicated) = (bench.count("fault_dropped"), bench.count("fault_duplicated"));
        let refused = bench.count("fault_refused");
        prop_assert_eq!(into + duplicated, out + dropped + refused + here + between);
        bench.end();
    }
}
