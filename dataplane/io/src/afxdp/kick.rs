//! Decides how often the kernel is asked to look at a transmit ring: only if it wants to be, and no more often than it
//! takes to send what is there. It never makes the call itself.

use super::Copying;
use super::ring::Producer;
use std::io;

/// Calls at most: in copy mode the kernel sends 32 frames for each (`TX_BATCH_SIZE`, net/xdp/xsk.c).
const KICKS: u32 = 4;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kicked {
    /// Everything is under way, or is looked at without being asked for.
    Done,
    /// The kernel had no room for all of it now, and will not come back to the rest by itself.
    Busy,
    /// The device is gone.
    Gone,
}

/// Asks by `call`, as often as it needs.
pub(super) fn kick<T: Copy>(tx: &Producer<T>, copying: Copying, mut call: impl FnMut() -> io::Result<()>) -> Kicked {
    if !tx.needs_wakeup() {
        return Kicked::Done;
    }
    for _ in 0..KICKS {
        let before = tx.pending();
        if before == 0 {
            return Kicked::Done;
        }
        if let Err(err) = call() {
            match err.raw_os_error() {
                // More than one call's worth was waiting, or the device is busy: see whether it moves.
                Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS) => {}
                Some(libc::ENXIO | libc::ENODEV | libc::EBADF) => return Kicked::Gone,
                _ => return Kicked::Done,
            }
        }
        if copying == Copying::ZeroCopy {
            return Kicked::Done;
        }
        if tx.pending() == before {
            return Kicked::Busy;
        }
    }
    if tx.pending() > 0 { Kicked::Busy } else { Kicked::Done }
}

#[cfg(test)]
mod tests {
    use super::super::ring::tests::{ask, ring};
    use super::*;

    const BATCH: u32 = 32;

    /// Calls made for so many frames, where each call sends up to `batch` of them, and what came of it.
    fn calls(frames: u64, batch: u32, copying: Copying, wanted: bool, refusal: Option<i32>) -> (u32, Kicked) {
        let (mut tx, mut kernel) = ring(256, u32::MAX - 7);
        ask(&tx, wanted);
        (0..frames).for_each(|n| assert!(tx.push(n)));
        tx.publish();
        let mut calls = 0;
        let kicked = kick(&tx, copying, || {
            calls += 1;
            (0..batch).for_each(|_| _ = kernel.pop());
            kernel.release();
            refusal.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
        });
        (calls, kicked)
    }

    #[test]
    fn the_kernel_is_asked_only_if_it_wants_to_be_and_as_often_as_it_takes() {
        let copy = |frames, wanted| calls(frames, BATCH, Copying::Copy, wanted, None).0;
        assert_eq!(copy(64, false), 0, "it looks by itself");
        assert_eq!(copy(0, true), 0, "nothing waits");
        assert_eq!([1, 32, 33, 64].map(|frames| copy(frames, true)), [1, 1, 2, 2]);
        assert_eq!(
            calls(255, BATCH, Copying::Copy, true, None),
            (KICKS, Kicked::Busy),
            "the rest is the next round's"
        );
        assert_eq!(calls(64, BATCH, Copying::Copy, true, None).1, Kicked::Done);
        assert_eq!(
            calls(64, 1, Copying::ZeroCopy, true, None).0,
            1,
            "the driver sends by itself"
        );
    }

    #[test]
    fn a_device_that_does_not_move_is_asked_once_and_one_that_is_gone_shows() {
        for busy in [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS] {
            assert_eq!(calls(64, 0, Copying::Copy, true, Some(busy)), (1, Kicked::Busy));
            assert_eq!(calls(64, BATCH, Copying::Copy, true, Some(busy)), (2, Kicked::Done));
        }
        assert_eq!(
            calls(64, BATCH, Copying::Copy, true, Some(libc::ENETDOWN)),
            (1, Kicked::Done)
        );
        for gone in [libc::ENXIO, libc::ENODEV, libc::EBADF] {
            assert_eq!(calls(64, BATCH, Copying::Copy, true, Some(gone)), (1, Kicked::Gone));
        }
    }
}
