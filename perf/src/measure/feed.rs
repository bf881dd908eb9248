//! A memory port that makes what it receives: the headers of the next flow, written into a hot frame. It never computes anything about
//! a packet while it is timed: all is worked out before, a few words a packet, in the order of arrival.

use sluice_engine::{Burst, Frame};
use sluice_io::{Caps, PacketIo, Received, Recycled, Sent, Stats};
use sluice_mem::Pools;
use sluice_wire::{Meta, PortSlot};
use std::os::fd::BorrowedFd;

use crate::cases::Arriving;

/// Headers are written in blocks of so many bytes.
const BLOCK: usize = 64;
/// Most bytes of headers; what is behind them is zero in all frames.
const HEAD: usize = 3 * BLOCK;
const WORDS: usize = HEAD / 2;

/// What is the same in all frames, and what differs.
pub(crate) struct Feed {
    template: Vec<[u8; BLOCK]>,
    /// Where the words that differ go.
    fields: Vec<u8>,
    /// For each packet: length, port, then a word for each of `fields`.
    stamps: Vec<u16>,
    at: usize,
    received: u64,
}

impl Feed {
    /// A port at which these frames arrive, over and over. Behind their headers they must be zero.
    pub(crate) fn new(frames: impl ExactSizeIterator<Item = Arriving>) -> Self {
        let mut heads: Vec<[u8; HEAD]> = Vec::with_capacity(frames.len());
        let mut plain: Vec<(u16, u16)> = Vec::with_capacity(frames.len());
        for frame in frames {
            let mut head = [0; HEAD];
            let known = frame.bytes.len().min(HEAD);
            head[..known].copy_from_slice(&frame.bytes[..known]);
            debug_assert!(frame.bytes[known..].iter().all(|b| *b == 0));
            heads.push(head);
            plain.push((frame.bytes.len() as u16, frame.port.0));
        }
        let first = heads.first().copied().unwrap_or([0; HEAD]);
        let word = |head: &[u8; HEAD], n: usize| [head[2 * n], head[2 * n + 1]];
        let mut differs = [false; WORDS];
        for head in &heads {
            for (n, differs) in differs.iter_mut().enumerate() {
                *differs |= word(head, n) != word(&first, n);
            }
        }
        let fields: Vec<u8> = (0..WORDS).filter(|n| differs[*n]).map(|n| 2 * n as u8).collect();
        let mut stamps = Vec::with_capacity(heads.len() * (fields.len() + 2));
        for (head, (len, port)) in heads.iter().zip(plain) {
            stamps.extend([len, port]);
            stamps.extend(
                fields
                    .iter()
                    .map(|at| u16::from_ne_bytes(word(head, usize::from(*at) / 2))),
            );
        }
        let used = |head: &[u8; HEAD]| head.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let used = heads.iter().map(used).max().unwrap_or(0);
        let (blocks, _) = first.as_chunks::<BLOCK>();
        Self {
            template: blocks[..used.div_ceil(BLOCK)].to_vec(),
            fields,
            stamps,
            at: 0,
            received: 0,
        }
    }

    /// Packets until the first one comes again.
    pub(crate) fn round(&self) -> usize {
        self.stamps.len() / self.stride()
    }

    /// Begins with the first packet again.
    pub(crate) fn rewind(&mut self) {
        self.at = 0;
    }

    fn stride(&self) -> usize {
        self.fields.len() + 2
    }
}

impl PacketIo for Feed {
    #[inline]
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        let mut received = Received {
            more: true,
            ..Received::default()
        };
        let stride = self.stride();
        let most = most.min(burst.remaining_capacity());
        while (received.frames as usize) < most && !self.stamps.is_empty() {
            let (before, left) = (burst.len(), most - received.frames as usize);
            for stamp in self.stamps[self.at..].chunks_exact(stride).take(left) {
                let ([len, port, words @ ..], Some(mut buf)) = (stamp, pools.small.alloc()) else {
                    break;
                };
                let len = usize::from(*len);
                if let Some(bytes) = buf.extend(len.max(BLOCK * self.template.len())) {
                    for (to, from) in bytes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&self.template) {
                        *to = *from;
                    }
                    for (at, word) in self.fields.iter().zip(words) {
                        let at = usize::from(*at);
                        bytes[at..at + 2].copy_from_slice(&word.to_ne_bytes());
                    }
                }
                buf.truncate(len);
                let meta = Meta::from_port(PortSlot(*port));
                burst.push(Frame { buf, meta });
            }
            let frames = burst.len() - before;
            received.frames += frames as u32;
            self.at = (self.at + stride * frames) % self.stamps.len();
            if frames == 0 {
                break;
            }
        }
        self.received += u64::from(received.frames);
        received
    }

    /// What leaves goes to an egress that frees it; nothing is sent by this port.
    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let refused = burst.len() as u32;
        burst.drain(..).for_each(|frame| pools.free(frame.buf));
        Sent {
            refused,
            ..Sent::default()
        }
    }

    fn recycle(&mut self, _: &mut Pools) -> Recycled {
        Recycled::default()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn caps(&self) -> Caps {
        Caps::default()
    }

    fn stats(&self) -> Stats {
        Stats {
            rx_frames: self.received,
            ..Stats::default()
        }
    }

    fn close(self: Box<Self>, _: &mut Pools) {}
}
