//! Decides how frames cross one queue of a tap: one `readv` or `writev` each. It never waits for the device.
//!
//! A read goes into an ordinary frame first and into a super-frame's buffer behind it, so that a small frame needs no
//! copy. After a super-frame the next read goes straight into a large buffer, as bulk transfers come in runs; a small
//! frame caught there is copied down, which costs less than moving the front of a super-frame.

use super::header;
use crate::{Burst, Caps, Frame, PacketIo, Received, Recycled, Sent, Stats};
use libc::iovec;
use sluice_mem::{Buf, Pools};
use sluice_wire::{Meta, PortSlot};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Most segments of a frame that are written; a burst coalesced into one frame has at most 64.
const SEGMENTS: usize = 72;

/// Bytes after which a burst is long enough: three full super-frames, which take a tenth of a millisecond to copy twice.
const BURST_BYTES: usize = 160 * 1024;

/// One queue of a tap, owned by one worker.
pub struct TapQueue {
    fd: OwnedFd,
    port: PortSlot,
    caps: Caps,
    expect_large: bool,
    alive: bool,
    stats: Stats,
}

enum Read {
    Frame(Meta),
    Invalid,
    Empty,
}

impl TapQueue {
    pub(super) fn new(fd: OwnedFd, port: PortSlot, caps: Caps) -> Self {
        Self {
            fd,
            port,
            caps,
            expect_large: false,
            alive: true,
            stats: Stats::default(),
        }
    }

    /// The port whose frames these are, as in [`sluice_wire::Meta::ingress`].
    pub fn port(&self) -> PortSlot {
        self.port
    }

    /// Reads into `small`, and into `large`, if there is one, what does not fit. On return the frame lies in `large` if that
    /// is not empty.
    fn read(&mut self, small: &mut Buf, large: Option<&mut Buf>) -> Read {
        let mut head = [0u8; header::LEN];
        let room = small.tailroom();
        let Some(large) = large else {
            let got = self.readv(&mut [vector(&mut head), vector(grow(small, room))]);
            let Some(got) = got else { return Read::Empty };
            let len = got.saturating_sub(header::LEN);
            small.truncate(len);
            self.expect_large = false;
            return self.judge(&head, len, room);
        };
        let straight = self.expect_large;
        let got = if straight {
            let large = grow(large, large.tailroom());
            self.readv(&mut [vector(&mut head), vector(large)])
        } else {
            // The large window starts where the small one's bytes will be put in front of it.
            grow(large, room);
            large.pull(room);
            let (small, large) = (grow(small, room), grow(large, large.tailroom()));
            self.readv(&mut [vector(&mut head), vector(small), vector(large)])
        };
        let behind = large.len();
        let space = if straight { behind } else { room + behind };
        let len = got.unwrap_or(0).saturating_sub(header::LEN);
        if straight {
            large.truncate(len);
            if len <= room {
                grow(small, len).copy_from_slice(large.bytes());
                large.truncate(0);
            }
        } else if len > room {
            large.truncate(len - room);
            if let Some(front) = large.push(room) {
                front.copy_from_slice(small.bytes());
            }
            small.truncate(0);
        } else {
            small.truncate(len);
            large.truncate(0);
            large.push(room);
            large.truncate(0);
        }
        if got.is_none() {
            return Read::Empty;
        }
        self.expect_large = len > room;
        self.judge(&head, len, space)
    }

    /// What was read: a frame that fills all the room may have been cut there.
    fn judge(&self, head: &[u8; header::LEN], len: usize, space: usize) -> Read {
        if len >= space {
            return Read::Invalid;
        }
        header::decode(head, len, self.port).map_or(Read::Invalid, Read::Frame)
    }

    fn readv(&mut self, vectors: &mut [iovec]) -> Option<usize> {
        // SAFETY: each vector was made from an exclusive slice that outlives this call.
        let got = unsafe { libc::readv(self.fd.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) };
        if got >= 0 {
            return Some(got as usize);
        }
        self.note(&io::Error::last_os_error());
        None
    }

    /// Remembers an error that means the device is gone.
    fn note(&mut self, err: &io::Error) {
        if matches!(
            err.raw_os_error(),
            Some(libc::EBADFD | libc::ENODEV | libc::ENXIO | libc::EBADF)
        ) {
            self.alive = false;
        }
    }

    fn write(&mut self, frame: &Frame) -> Written {
        let len = frame.buf.total_len();
        let Some(mut head) = header::encode(&frame.meta, frame.buf.bytes(), len, &self.caps) else {
            return Written::Refused;
        };
        let mut vectors = [const {
            iovec {
                iov_base: core::ptr::null_mut(),
                iov_len: 0,
            }
        }; SEGMENTS];
        vectors[0] = vector(&mut head);
        let mut used = 1;
        let mut segment = Some(&frame.buf);
        while let Some(buf) = segment {
            let Some(slot) = vectors.get_mut(used) else {
                return Written::Refused;
            };
            *slot = iovec {
                iov_base: buf.bytes().as_ptr().cast_mut().cast(),
                iov_len: buf.len(),
            };
            used += 1;
            segment = buf.next();
        }
        // SAFETY: `used` vectors describe the header and the frame's segments, all borrowed beyond this call, and
        // writev only reads them.
        let put = unsafe { libc::writev(self.fd.as_raw_fd(), vectors.as_ptr(), used as libc::c_int) };
        if put >= 0 {
            return Written::Sent(len);
        }
        let err = io::Error::last_os_error();
        if matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            return Written::Full;
        }
        self.note(&err);
        Written::Refused
    }
}

enum Written {
    Sent(usize),
    Refused,
    Full,
}

fn vector(bytes: &mut [u8]) -> iovec {
    iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// Grows the window by `n` bytes that the caller knows to be there; by none otherwise.
fn grow(buf: &mut Buf, n: usize) -> &mut [u8] {
    buf.extend(n).unwrap_or_default()
}

impl PacketIo for TapQueue {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        let mut received = Received::default();
        let (mut small, mut large) = (None, None);
        let mut bytes = 0;
        loop {
            if (received.frames + received.invalid) as usize >= most || burst.is_full() || bytes >= BURST_BYTES {
                received.more = true;
                break;
            }
            small = small.or_else(|| pools.small.alloc());
            large = large.or_else(|| pools.large.alloc());
            // Without a large buffer small frames still get through: who has all of them must not stop the others.
            let Some(s) = &mut small else {
                self.stats.rx_no_memory += 1;
                received.more = true;
                break;
            };
            match self.read(s, large.as_mut()) {
                Read::Empty => break,
                Read::Invalid => {
                    received.invalid += 1;
                    s.truncate(0);
                    if let Some(large) = &mut large {
                        large.truncate(0);
                    }
                }
                Read::Frame(meta) => {
                    let is_large = large.as_ref().is_some_and(|large| !large.is_empty());
                    let buf = if is_large { large.take() } else { small.take() };
                    if let Some(buf) = buf {
                        bytes += buf.total_len();
                        burst.push(Frame { buf, meta });
                        received.frames += 1;
                    }
                }
            }
        }
        small.into_iter().chain(large).for_each(|buf| pools.free(buf));
        self.stats.rx_frames += u64::from(received.frames);
        self.stats.rx_invalid += u64::from(received.invalid);
        received
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let mut sent = Sent::default();
        let mut taken = 0;
        for frame in burst.iter() {
            match self.write(frame) {
                Written::Sent(len) => {
                    sent.frames += 1;
                    sent.bytes += len as u64;
                }
                Written::Refused => sent.refused += 1,
                Written::Full => break,
            }
            taken += 1;
        }
        burst.drain(..taken).for_each(|frame| pools.free(frame.buf));
        self.stats.tx_frames += u64::from(sent.frames);
        self.stats.tx_refused += u64::from(sent.refused);
        sent
    }

    fn recycle(&mut self, _pools: &mut Pools) -> Recycled {
        Recycled::default()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn alive(&self) -> bool {
        self.alive
    }

    /// The kernel delivers a written frame as far as the receiving socket before `writev` returns.
    fn runs_receiver(&self) -> bool {
        true
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    fn close(self: Box<Self>, _pools: &mut Pools) {}
}
