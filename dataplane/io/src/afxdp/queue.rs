//! Decides how frames cross one AF_XDP socket, and keeps account of every chunk the kernel has. It never waits, except
//! while it closes.

use super::held::Held;
use super::jumbo::{self, Gather, Gathered};
use super::kick::{Kicked, kick};
use super::setup::Member;
use super::sys::{Bind, Rings, Socket};
use super::{Copying, setup};
use crate::{Burst, Caps, Frame, Occupancy, PacketIo, Received, Recycled, Sent, Stats};
use libc::xdp_desc;
use sluice_mem::{Buf, HEADROOM, Memory, Pools};
use sluice_wire::{Checksum, Meta, PortSlot};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Frames that completion and fill handle in one call, so that a loop's length stays bounded.
const PER_CALL: u32 = 256;
/// Chunks that stay in the pool when the fill ring is topped up: what two bursts need to be copied or segmented.
const SPARE: usize = 128;
/// Receive calls without a frame after which the socket is asked whether its interface is still there.
const IDLE_CHECK: u32 = 1024;
/// How long `close` waits for transmissions under way.
const DRAIN: Duration = Duration::from_millis(200);
/// How long the kernel may take to detach a zero-copy NIC from the frame memory after the socket was closed: it does that
/// in a work item of its own (`xp_release_deferred`, net/xdp/xsk_buff_pool.c), which nobody can wait for.
const DETACH: Duration = Duration::from_millis(100);

/// One AF_XDP socket: a queue of an uplink, owned by one worker.
pub struct XskQueue {
    // Before the socket: the rings are mapped from it.
    rings: Rings,
    socket: Socket,
    memory: Memory,
    // None until others may share the memory by it.
    member: Option<Member>,
    bound: bool,
    shift: u32,
    held: Held,
    in_tx: usize,
    queue: u32,
    port: PortSlot,
    copying: Copying,
    max_frame: usize,
    gather: Gather,
    alive: bool,
    idle: u32,
    stats: Stats,
}

/// Chunks that a queue's kernel side has at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// In the fill and receive rings, or in the NIC.
    pub receive: usize,
    /// In the transmit and completion rings, or in the NIC.
    pub transmit: usize,
}

impl XskQueue {
    pub(super) fn new(
        socket: Socket,
        rings: Rings,
        umem: &setup::Umem,
        spec: &setup::QueueSpec,
        queue: u32,
        (copying, max_frame): (Copying, usize),
    ) -> Self {
        let memory = umem.memory().clone();
        Self {
            rings,
            socket,
            member: None,
            bound: false,
            shift: memory.chunk_size().trailing_zeros(),
            held: Held::new(memory.count()),
            in_tx: 0,
            queue,
            port: spec.port,
            copying,
            max_frame,
            gather: Gather::default(),
            alive: true,
            idle: 0,
            stats: Stats::default(),
            memory,
        }
    }

    /// Binds the socket; the mode obtained. From here on the kernel uses what is in the rings.
    pub(super) fn bind(&mut self, ifindex: u32, how: Bind) -> io::Result<Copying> {
        let jumbo = self.max_frame > jumbo::piece(&self.memory);
        self.socket.bind(ifindex, self.queue, how, jumbo)?;
        self.bound = true;
        Ok(match self.socket.zero_copy() {
            Ok(true) => Copying::ZeroCopy,
            _ => Copying::Copy,
        })
    }

    /// Lets further sockets share the frame memory by this one.
    pub(super) fn join(&mut self, umem: &setup::Umem) {
        self.member = Some(umem.join(self.socket.fd().as_raw_fd(), self.copying));
    }

    /// Number of the NIC's queue.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// How frames get in and out of our memory.
    pub fn copying(&self) -> Copying {
        self.copying
    }

    /// The socket, for the program's map of sockets.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Chunks that the kernel has for this queue.
    pub fn outstanding(&self) -> Outstanding {
        Outstanding {
            receive: self.held.count().saturating_sub(self.in_tx),
            transmit: self.in_tx,
        }
    }

    #[cfg(test)]
    pub(super) fn rings_empty(&mut self) -> bool {
        self.rings.rx.is_empty()
    }

    /// A chunk that the kernel gave back; `None` when it was not the kernel's to give.
    fn adopt(&mut self, address: u64, len: usize) -> Option<Buf> {
        let index = u32::try_from(address >> self.shift).ok()?;
        let start = (address & ((1 << self.shift) - 1)) as usize;
        if !self.held.take(index) {
            self.stats.kernel_invalid += 1;
            return None;
        }
        // SAFETY: the bit that was just cleared says that the chunk was surrendered and not adopted since, and the kernel
        // is done with a chunk whose descriptor it hands back.
        let buf = unsafe { self.memory.adopt(index, start, len) };
        if buf.is_none() {
            self.held.give(index);
            self.stats.kernel_invalid += 1;
        }
        buf
    }

    /// Gives a chunk to the kernel; its address at the window's start.
    fn surrender(&mut self, buf: Buf, pools: &mut Pools) -> Option<u64> {
        let start = buf.start() as u64;
        match self.memory.surrender(buf) {
            Ok(index) => {
                self.held.give(index);
                Some((u64::from(index) << self.shift) + start)
            }
            Err(buf) => {
                pools.free(buf);
                None
            }
        }
    }

    /// Takes finished transmissions back.
    fn complete(&mut self, pools: &mut Pools) -> u32 {
        let mut returned = 0;
        for _ in 0..PER_CALL {
            let Some(address) = self.rings.completion.pop() else {
                break;
            };
            if let Some(buf) = self.adopt(address, 0) {
                self.in_tx = self.in_tx.saturating_sub(1);
                pools.free(buf);
                returned += 1;
            }
        }
        self.rings.completion.release();
        returned
    }

    /// Tops the fill ring up, and leaves the pool a reserve.
    pub(super) fn fill(&mut self, pools: &mut Pools, most: u32) -> u32 {
        let room = self.rings.fill.room(most).min(most);
        let room = room.min(pools.small.about().saturating_sub(SPARE) as u32);
        let mut supplied = 0;
        for _ in 0..room {
            let Some(buf) = pools.small.alloc() else {
                self.stats.rx_no_memory += 1;
                break;
            };
            let Some(address) = self.surrender(buf, pools) else {
                break;
            };
            // The kernel puts its own headroom in front of a chunk's beginning.
            self.rings.fill.push(address & !((1 << self.shift) - 1));
            supplied += 1;
        }
        if supplied > 0 {
            self.rings.fill.publish();
        }
        if self.rings.fill.needs_wakeup() && self.rings.fill.pending() > 0 {
            self.socket.kick_fill();
        }
        supplied
    }

    /// Has the kernel send what is in the ring, as far as it wants to be asked; whether it must be asked again.
    fn kick(&mut self) -> bool {
        let kicked = kick(&self.rings.tx, self.copying, || self.socket.kick_tx());
        self.alive &= kicked != Kicked::Gone;
        kicked == Kicked::Busy
    }

    /// Whether this device can send such a frame at all.
    fn sendable(&self, frame: &Frame, len: usize) -> bool {
        frame.meta.gso.is_none()
            && !matches!(frame.meta.checksum, Checksum::Partial { .. })
            && (14..=self.max_frame).contains(&len)
    }

    /// Makes the frame one segment in our memory, or as many as it needs. False when the pool has no chunks for the copy.
    fn bring_home(&mut self, frame: &mut Frame, len: usize, pools: &mut Pools) -> bool {
        if frame.buf.memory() == self.memory.id() && frame.buf.next().is_none() {
            return true;
        }
        if len > jumbo::piece(&self.memory) {
            let Some(cut) = jumbo::cut(&frame.buf, jumbo::piece(&self.memory), pools) else {
                return false;
            };
            pools.free(core::mem::replace(&mut frame.buf, cut));
            self.stats.tx_copied += 1;
            return true;
        }
        let Some(mut copy) = pools.small.alloc() else {
            return false;
        };
        let mut to = copy.extend(len).unwrap_or_default();
        let mut segment = Some(&frame.buf);
        while let Some(buf) = segment {
            let Some((front, rest)) = to.split_at_mut_checked(buf.len()) else {
                break;
            };
            front.copy_from_slice(buf.bytes());
            (to, segment) = (rest, buf.next());
        }
        pools.free(core::mem::replace(&mut frame.buf, copy));
        self.stats.tx_copied += 1;
        true
    }
}

impl XskQueue {
    /// Adds a piece of a frame that lies in several chunks.
    #[cold]
    fn piece(&mut self, descriptor: xdp_desc, pools: &mut Pools) -> Gathered {
        let piece = self.adopt(descriptor.addr, descriptor.len as usize);
        let last = descriptor.options & libc::XDP_PKT_CONTD == 0;
        let gathered = self
            .gather
            .add(piece.as_ref(), last, pools, &mut self.stats.rx_no_memory);
        piece.into_iter().for_each(|piece| pools.free(piece));
        self.stats.rx_copied += u64::from(matches!(gathered, Gathered::Whole(_)));
        gathered
    }

    /// Puts a frame of our memory on the ring, where there is room for it; its length.
    fn put(&mut self, mut buf: Buf, pools: &mut Pools) -> Option<u64> {
        let mut bytes = 0;
        loop {
            let (next, len) = (buf.take_next(), buf.len() as u32);
            let options = if next.is_some() { libc::XDP_PKT_CONTD } else { 0 };
            let Some(addr) = self.surrender(buf, pools) else {
                next.into_iter().for_each(|next| pools.free(next));
                return None;
            };
            self.rings.tx.push(xdp_desc { addr, len, options });
            self.in_tx += 1;
            bytes += u64::from(len);
            match next {
                Some(next) => buf = next,
                None => return Some(bytes),
            }
        }
    }
}

impl PacketIo for XskQueue {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        let mut received = Received::default();
        let mut parts = 0u32;
        while ((received.frames + received.invalid) as usize) < most && !burst.is_full() {
            let Some(descriptor) = self.rings.rx.pop() else { break };
            if descriptor.options & libc::XDP_PKT_CONTD != 0 || self.gather.is_open() {
                match self.piece(descriptor, pools) {
                    Gathered::Part => parts += 1,
                    Gathered::Lost => received.invalid += 1,
                    Gathered::Whole(buf) => {
                        let meta = Meta::from_port(self.port);
                        burst.push(Frame { buf, meta });
                        received.frames += 1;
                    }
                }
                continue;
            }
            match self.adopt(descriptor.addr, descriptor.len as usize) {
                Some(buf) => {
                    burst.push(Frame {
                        buf,
                        meta: Meta::from_port(self.port),
                    });
                    received.frames += 1;
                }
                None => received.invalid += 1,
            }
        }
        if received == Received::default() && parts == 0 {
            self.idle = self.idle.wrapping_add(1);
            // A deleted interface makes the socket readable for ever, and only this tells why.
            if self.idle.is_multiple_of(IDLE_CHECK) && self.socket.error().is_some() {
                self.alive = false;
            }
        } else {
            self.rings.rx.release();
        }
        received.more = !self.rings.rx.is_empty();
        self.stats.rx_frames += u64::from(received.frames);
        self.stats.rx_invalid += u64::from(received.invalid);
        received
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let mut sent = Sent::default();
        let piece = jumbo::piece(&self.memory);
        let most = burst.len() * self.max_frame.div_ceil(piece);
        let mut room = self.rings.tx.room(most as u32) as usize;
        let (mut taken, mut refused) = (0, 0u64);
        for frame in burst.iter_mut() {
            let len = frame.buf.total_len();
            let need = if len <= piece { 1 } else { len.div_ceil(piece) };
            let Some(rest) = room.checked_sub(need) else { break };
            room = rest;
            if !self.sendable(frame, len) {
                refused |= 1 << taken;
            } else if !self.bring_home(frame, len, pools) {
                self.stats.rx_no_memory += 1;
                break;
            }
            taken += 1;
        }
        for (n, frame) in burst.drain(..taken).enumerate() {
            if refused >> n & 1 == 1 {
                pools.free(frame.buf);
                sent.refused += 1;
                continue;
            }
            match self.put(frame.buf, pools) {
                Some(bytes) => {
                    sent.frames += 1;
                    sent.bytes += bytes;
                }
                None => sent.refused += 1,
            }
        }
        if sent.frames > 0 {
            self.rings.tx.publish();
            self.kick();
        }
        self.stats.tx_frames += u64::from(sent.frames);
        self.stats.tx_refused += u64::from(sent.refused);
        sent
    }

    fn recycle(&mut self, pools: &mut Pools) -> Recycled {
        let returned = if self.in_tx > 0 { self.complete(pools) } else { 0 };
        Recycled {
            returned,
            unsent: self.rings.tx.pending() > 0 && self.kick(),
            supplied: self.fill(pools, PER_CALL),
        }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.fd())
    }

    fn alive(&self) -> bool {
        self.alive
    }

    fn caps(&self) -> Caps {
        Caps {
            max_frame: self.max_frame,
            ..Caps::default()
        }
    }

    fn stats(&self) -> Stats {
        let Ok(kernel) = self.socket.statistics() else {
            return self.stats;
        };
        Stats {
            kernel_rx_full: kernel.rx_ring_full,
            kernel_fill_empty: kernel.rx_fill_ring_empty_descs,
            kernel_rx_dropped: kernel.rx_dropped,
            kernel_invalid: self.stats.kernel_invalid + kernel.rx_invalid_descs + kernel.tx_invalid_descs,
            ..self.stats
        }
    }

    fn occupancy(&self) -> Option<Occupancy> {
        Some(Occupancy {
            queue: self.queue,
            rx: self.rings.rx.level(),
            fill: self.rings.fill.level(),
            tx: self.rings.tx.level(),
            completion: self.rings.completion.level(),
        })
    }

    /// Waits up to 200 ms for transmissions under way, and 100 ms for a zero-copy NIC to let go of the memory.
    fn close(mut self: Box<Self>, pools: &mut Pools) {
        let end = Instant::now() + DRAIN;
        while self.in_tx > 0 && self.alive && Instant::now() < end {
            self.kick();
            if self.complete(pools) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let Self {
            rings,
            socket,
            memory,
            member,
            mut held,
            copying,
            bound,
            gather,
            ..
        } = *self;
        gather.close(pools);
        // Nobody may share the frame memory by this socket from here on.
        drop(member);
        drop(rings);
        drop(socket);
        if bound && copying == Copying::ZeroCopy {
            std::thread::sleep(DETACH);
        }
        while let Some(index) = held.take_any() {
            // SAFETY: surrendered, not adopted since as the bit was set, and the kernel let go of it with the socket.
            if let Some(buf) = unsafe { memory.adopt(index, HEADROOM, 0) } {
                pools.free(buf);
            }
        }
    }
}
