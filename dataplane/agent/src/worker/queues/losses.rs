//! What devices say that they lost, or could not use, and of their rings.

use super::*;
use sluice_io::memory::{self, MemoryPort};
use sluice_io::{Caps, Level, Received, Recycled, Sent};
use sluice_mem::Memory;
use std::os::fd::BorrowedFd;

const WIRE: PortSlot = PortSlot(0);
const POD: PortSlot = PortSlot(2);

/// A device that frees three frames of each burst, and a kernel that loses some before.
struct Bad(MemoryPort, Stats);

impl PacketIo for Bad {
    fn receive(&mut self, _: &mut Pools, _: &mut Burst, _: usize) -> Received {
        Received {
            invalid: 3,
            ..Received::default()
        }
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        self.0.transmit(pools, burst)
    }

    fn recycle(&mut self, pools: &mut Pools) -> Recycled {
        self.0.recycle(pools)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn caps(&self) -> Caps {
        self.0.caps()
    }

    fn stats(&self) -> Stats {
        self.1
    }

    /// One that has lost nothing has no rings either.
    fn occupancy(&self) -> Option<Occupancy> {
        let size = u32::try_from(self.1.kernel_rx_full).ok().filter(|full| *full > 0)?;
        let rx = Level { used: size, size };
        Some(Occupancy {
            rx,
            ..Occupancy::default()
        })
    }

    fn close(self: Box<Self>, pools: &mut Pools) {
        Box::new(self.0).close(pools);
    }
}

fn full(kernel_rx_full: u64) -> Stats {
    Stats {
        kernel_rx_full,
        ..Stats::default()
    }
}

fn with(work: impl FnOnce(&mut Queues, &mut Pools, &ReadySet)) {
    let memory = [
        Memory::new(2048, 64).unwrap(),
        Memory::new(sluice_mem::LARGE_CHUNK, 1).unwrap(),
    ];
    let mut pools = Pools::new(&memory[0], &memory[1]);
    let (mut queues, ready) = (Queues::new(Clock, Arc::new([])), ReadySet::new().unwrap());
    for (slot, stats) in [(WIRE, full(5)), (WIRE, full(2)), (POD, Stats::default())] {
        let [near, _] = memory::pair(8, [slot, slot]);
        queues.add(slot, false, Box::new(Bad(near, stats)), &ready);
    }
    work(&mut queues, &mut pools, &ready);
}

#[test]
fn what_was_lost_before_a_queue_is_told_also_when_the_queue_is_closed() {
    with(|queues, pools, ready| {
        let lost = [(WIRE, full(7))].into();
        assert_eq!(queues.losses(), lost);
        queues.remove(WIRE, ready, pools, &Counters::default());
        assert_eq!(queues.losses(), lost, "nothing that was lost is found again");
        let [near, _] = memory::pair(8, [WIRE, WIRE]);
        queues.add(WIRE, false, Box::new(Bad(near, full(1))), ready);
        assert_eq!(queues.losses(), [(WIRE, full(8))].into());
    });
}

#[test]
fn rings_are_told_of_each_queue_that_has_some() {
    with(|queues, pools, ready| {
        let rings = queues.rings();
        let told: Vec<_> = rings.iter().map(|(slot, rings)| (*slot, rings.rx.used)).collect();
        assert_eq!(told, [(WIRE, 5), (WIRE, 2)]);
        queues.remove(WIRE, ready, pools, &Counters::default());
        assert!(queues.rings().is_empty());
    });
}

#[test]
fn frames_that_a_device_could_not_use_are_received_and_dropped() {
    with(|queues, pools, ready| {
        let counters = Counters::default();
        for _ in 0..2 {
            assert!(!queues.receive(token(POD, 0), pools, &mut Burst::new(), ready, &counters));
        }
        let dropped = |reason: DropReason| counters.dropped[reason.index()].get();
        assert_eq!(dropped(DropReason::RxInvalid), (6, 0));
        assert_eq!(
            (counters.imbalance(), counters.ports[POD.index()].received.get().0),
            ((0, 0), 6)
        );
        let sample = counters.samples.all()[0];
        assert_eq!(
            (sample.reason, sample.ingress, sample.egress),
            (DropReason::RxInvalid, Some(POD), None)
        );
    });
}
