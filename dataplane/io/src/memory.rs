//! Decides how two ports of one process hand frames to each other: a bounded queue each way, for tests and demos.
//! It never copies or looks at a frame; metadata travel with it as through a tap.

use crate::{Burst, Caps, Frame, PacketIo, Received, Recycled, Sent, Stats};
use crossbeam::queue::ArrayQueue;
use sluice_mem::Pools;
use sluice_wire::PortSlot;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// One end of a pair.
pub struct MemoryPort {
    rx: Arc<ArrayQueue<Frame>>,
    tx: Arc<ArrayQueue<Frame>>,
    port: PortSlot,
    caps: Caps,
    stats: Stats,
}

/// Every offload a device can have.
pub const ALL_CAPS: Caps = Caps {
    tx_checksum: true,
    tso4: true,
    tso6: true,
    uso: true,
    chains: true,
    max_frame: 65_549,
};

/// Two ports; what one sends the other receives, with its own slot as ingress. `capacity` frames wait each way.
/// Frames stay where they are, so both ends must belong to workers that know the same memories.
pub fn pair(capacity: usize, ports: [PortSlot; 2]) -> [MemoryPort; 2] {
    let queues = [(); 2].map(|()| Arc::new(ArrayQueue::new(capacity.max(1))));
    [0, 1].map(|end| MemoryPort {
        rx: Arc::clone(&queues[end]),
        tx: Arc::clone(&queues[1 - end]),
        port: ports[end],
        caps: ALL_CAPS,
        stats: Stats::default(),
    })
}

/// A port that receives what it sends.
pub fn loopback(capacity: usize, port: PortSlot) -> MemoryPort {
    let queue = Arc::new(ArrayQueue::new(capacity.max(1)));
    MemoryPort {
        rx: Arc::clone(&queue),
        tx: queue,
        port,
        caps: ALL_CAPS,
        stats: Stats::default(),
    }
}

impl MemoryPort {
    /// The same port with the offloads of another kind of device. Frames that need a missing one are refused.
    #[must_use]
    pub fn with_caps(self, caps: Caps) -> Self {
        Self { caps, ..self }
    }

    fn takes(&self, frame: &Frame) -> bool {
        use sluice_wire::{Checksum, GsoKind};
        let sum = self.caps.tx_checksum || !matches!(frame.meta.checksum, Checksum::Partial { .. });
        let gso = frame.meta.gso.is_none_or(|gso| match gso.kind {
            GsoKind::Tcp4 => self.caps.tso4,
            GsoKind::Tcp6 => self.caps.tso6,
            GsoKind::Udp => self.caps.uso,
        });
        sum && gso && frame.buf.total_len() <= self.caps.max_frame
    }
}

impl PacketIo for MemoryPort {
    fn receive(&mut self, _pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        let mut received = Received::default();
        while (received.frames as usize) < most && !burst.is_full() {
            let Some(mut frame) = self.rx.pop() else { break };
            frame.meta.ingress = self.port;
            burst.push(frame);
            received.frames += 1;
        }
        received.more = !self.rx.is_empty();
        self.stats.rx_frames += u64::from(received.frames);
        received
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let mut sent = Sent::default();
        let mut waiting = Burst::new();
        for frame in burst.drain(..) {
            let len = frame.buf.total_len() as u64;
            if !waiting.is_empty() {
                waiting.push(frame);
            } else if !self.takes(&frame) {
                pools.free(frame.buf);
                sent.refused += 1;
            } else if let Err(frame) = self.tx.push(frame) {
                waiting.push(frame);
            } else {
                sent.frames += 1;
                sent.bytes += len;
            }
        }
        *burst = waiting;
        self.stats.tx_frames += u64::from(sent.frames);
        self.stats.tx_refused += u64::from(sent.refused);
        sent
    }

    fn recycle(&mut self, _pools: &mut Pools) -> Recycled {
        Recycled::default()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    /// Frees what waits to be received here; what was sent belongs to the other end.
    fn close(self: Box<Self>, pools: &mut Pools) {
        while let Some(frame) = self.rx.pop() {
            pools.free(frame.buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lake, frame_of};
    use sluice_wire::{Checksum, Meta};

    #[test]
    fn frames_cross_in_order_and_a_full_queue_refuses_the_rest() {
        let lake = Lake::new();
        let mut pools = lake.pools();
        let [mut a, mut b] = pair(3, [PortSlot(1), PortSlot(2)]);
        let mut burst: Burst = (0..5u8).map(|n| frame_of(&mut pools, &[n; 60])).collect();
        assert_eq!(
            a.transmit(&mut pools, &mut burst),
            Sent {
                frames: 3,
                bytes: 180,
                refused: 0
            }
        );
        let left: Vec<u8> = burst.iter().map(|f| f.buf.bytes()[0]).collect();
        assert_eq!(left, [3, 4], "the front was taken");
        let mut got = Burst::new();
        assert_eq!(
            b.receive(&mut pools, &mut got, sluice_wire::BURST),
            Received {
                frames: 3,
                invalid: 0,
                more: false
            }
        );
        assert!(
            got.iter()
                .enumerate()
                .all(|(n, f)| f.buf.bytes()[0] == n as u8 && f.meta.ingress == PortSlot(2))
        );
        assert_eq!(a.transmit(&mut pools, &mut burst).frames, 2);
        got.drain(..).for_each(|f| pools.free(f.buf));
        for end in [a, b] {
            Box::new(end).close(&mut pools);
        }
        drop(pools);
        lake.assert_full();
    }

    #[test]
    fn what_a_plain_device_cannot_send_is_refused_and_freed() {
        let lake = Lake::new();
        let mut pools = lake.pools();
        let caps = Caps {
            max_frame: 100,
            ..Caps::default()
        };
        let mut port = loopback(8, PortSlot(1)).with_caps(caps);
        let mut partial = frame_of(&mut pools, &[0; 60]);
        partial.meta = Meta {
            checksum: Checksum::Partial { start: 34, offset: 16 },
            ..partial.meta
        };
        let mut burst = Burst::from_iter([
            partial,
            frame_of(&mut pools, &[0; 101]),
            frame_of(&mut pools, &[0; 100]),
        ]);
        assert_eq!(
            port.transmit(&mut pools, &mut burst),
            Sent {
                frames: 1,
                bytes: 100,
                refused: 2
            }
        );
        Box::new(port).close(&mut pools);
        drop(pools);
        lake.assert_full();
    }
}
