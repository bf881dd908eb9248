//! Decides which of a worker's ports have something to receive, in one system call. It never receives.

use arrayvec::ArrayVec;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// Most tokens that one [`ReadySet::poll`] reports; the kernel rotates its list, so that further ones come next time.
pub const TOKENS: usize = 128;

/// Tokens of ready descriptors.
pub type Tokens = ArrayVec<u64, TOKENS>;

const WAKE: u64 = u64::MAX;

/// Level-triggered readiness of many descriptors, with a [`Waker`] for other threads.
pub struct ReadySet {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
}

/// What [`ReadySet::poll`] saw besides the tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// A [`Waker`] was used since the last poll.
    pub woken: bool,
}

impl ReadySet {
    /// An empty set.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: no pointer is passed.
        let wake = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let set = Self {
            epoll,
            wake: Arc::new(wake),
        };
        set.control(libc::EPOLL_CTL_ADD, set.wake.as_raw_fd(), WAKE)?;
        Ok(set)
    }

    /// Watches `fd` and reports it as `token`. The descriptor must be removed before it is closed.
    ///
    /// # Errors
    /// `token` is `u64::MAX` (used for the waker), the descriptor is in the set already, or cannot be polled.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        if token == WAKE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "token u64::MAX is the waker's",
            ));
        }
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), token)
    }

    /// Forgets `fd`.
    ///
    /// # Errors
    /// The descriptor is not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0)
    }

    /// A handle by which other threads end a [`Self::poll`].
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Replaces `tokens` by those of the ready descriptors. Waits at most `timeout` (zero: not at all, `None`: for ever)
    /// for the first one or for a waker; a signal ends the wait with nothing ready.
    ///
    /// # Errors
    /// Never in a correct program; returned so that a worker can say so before it stops.
    pub fn poll(&self, timeout: Option<Duration>, tokens: &mut Tokens) -> io::Result<Polled> {
        tokens.clear();
        // `epoll_event` is packed on x86-64, so values are copied out, never borrowed.
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; TOKENS];
        let limit = timeout.map(|t| libc::timespec {
            tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: `events` has room for TOKENS entries and `limit` is null or points to a timespec; both outlive the call.
        // The system call is made directly because the C library wraps it only from glibc 2.35 on.
        let got = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                TOKENS as libc::c_int,
                limit,
                core::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if got < 0 {
            let err = io::Error::last_os_error();
            return if err.kind() == io::ErrorKind::Interrupted {
                Ok(Polled::default())
            } else {
                Err(err)
            };
        }
        let mut polled = Polled::default();
        for event in events.iter().take(got as usize) {
            match event.u64 {
                WAKE => polled.woken = true,
                token => tokens.push(token),
            }
        }
        if polled.woken {
            let mut count = [0u8; 8];
            // SAFETY: eight bytes are there to write to. The result does not matter: an empty counter is what we want.
            unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        }
        Ok(polled)
    }

    fn control(&self, op: libc::c_int, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: `event` lives through the call; a descriptor that is not open is an error, not undefined.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), op, fd, &mut event) };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// Polls readable while a descriptor of the set is ready or a waker was used: one set may watch another.
impl AsFd for ReadySet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call that made it returned it to us just now, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ends the [`ReadySet::poll`] of another thread: the running one, or the next.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// One write to an eventfd; many before the next poll count as one.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes are there to read. A full counter (EAGAIN) means that a wake-up is pending already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::time::Instant;

    #[test]
    fn reports_what_is_readable_as_long_as_it_is() {
        let set = ReadySet::new().unwrap();
        let (a, b) = UnixDatagram::pair().unwrap();
        let (c, _d) = UnixDatagram::pair().unwrap();
        set.add(a.as_fd(), 7).unwrap();
        set.add(c.as_fd(), 8).unwrap();
        let mut tokens = Tokens::new();
        set.poll(Some(Duration::ZERO), &mut tokens).unwrap();
        assert!(tokens.is_empty());
        b.send(b"x").unwrap();
        for _ in 0..2 {
            set.poll(None, &mut tokens).unwrap();
            assert_eq!(tokens.as_slice(), [7], "level-triggered");
        }
        a.recv(&mut [0; 8]).unwrap();
        assert_eq!(
            set.poll(Some(Duration::ZERO), &mut tokens).unwrap(),
            Polled { woken: false }
        );
        assert!(tokens.is_empty());
        b.send(b"x").unwrap();
        set.remove(a.as_fd()).unwrap();
        set.poll(Some(Duration::ZERO), &mut tokens).unwrap();
        assert!(tokens.is_empty(), "a removed descriptor is silent");
        assert!(set.remove(a.as_fd()).is_err() && set.add(a.as_fd(), u64::MAX).is_err());
    }

    #[test]
    fn a_waker_ends_an_endless_poll_once() {
        let set = ReadySet::new().unwrap();
        let waker = set.waker();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| waker.wake()));
            assert!(set.poll(None, &mut Tokens::new()).unwrap().woken);
        });
        set.poll(Some(Duration::ZERO), &mut Tokens::new()).unwrap();
        let before = Instant::now();
        assert!(
            !set.poll(Some(Duration::from_micros(300)), &mut Tokens::new())
                .unwrap()
                .woken
        );
        assert!(before.elapsed() >= Duration::from_micros(300));
    }
}
