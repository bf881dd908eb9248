//! Decides what the receiver finds: which packets arrived, and how long they were under way. It never looks further than for a packet's
//! mark.

use super::account::{Account, Arrival};
use super::bench::Shared;
use super::ends::{Side, Wait};
use super::pace::Schedule;
use super::payload::{Mark, Run, find};
use crate::measure::time::cpu_ns;
use anyhow::{Result, ensure};
use arrayvec::ArrayVec;
use hdrhistogram::Histogram;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sluice_io::Burst;
use sluice_io::xdp::MAX_QUEUES;
use sluice_wire::BURST;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest latency that is told apart.
const LONGEST_NS: u64 = 60_000_000_000;
/// Silence after which nothing can come any more once everything came, which only duplicates could.
const QUIET: Duration = Duration::from_millis(20);
/// The same while packets are missing (RFC 2544 section 23 waits two seconds for residual frames), and the longest wait in all.
const GRACE: Duration = Duration::from_secs(2);
const MOST_GRACE: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_micros(50);

/// What arrived.
pub(super) struct Arrived {
    pub(super) account: Account,
    /// From when a packet was meant to leave, and from when it did.
    pub(super) intended: Histogram<u64>,
    pub(super) actual: Histogram<u64>,
    /// Frames that carry no mark of this run, or a number that was not sent.
    pub(super) foreign: u64,
    pub(super) frames: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// Processor time of the receiver, from before the first frame until nothing more was waited for.
    pub(super) cpu_ns: u64,
}

/// How arrivals are judged.
pub(super) struct Judge<'s> {
    pub(super) schedule: &'s Schedule,
    pub(super) run: Run,
    pub(super) flows: u64,
    /// Bytes from mark to mark in a super-frame.
    pub(super) piece: Option<usize>,
}

/// A histogram of latencies, in ns.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("bounds that are constant")
}

impl Arrived {
    pub(super) fn new(flows: u64) -> Self {
        Self {
            account: Account::new(flows),
            intended: latencies(),
            actual: latencies(),
            foreign: 0,
            frames: 0,
            first_ns: 0,
            last_ns: 0,
            cpu_ns: 0,
        }
    }

    /// A frame came.
    #[inline]
    pub(super) fn frame(&mut self, bytes: &[u8], now_ns: u64, announced: u64, judge: &Judge<'_>) {
        self.frames += 1;
        if judge.flows == 0 {
            return self.timed(now_ns);
        }
        let Some(mut rest) = find(bytes, judge.run) else {
            self.foreign += 1;
            return;
        };
        while let Some(mark) = Mark::read(rest, judge.run) {
            self.mark(mark, now_ns, announced, judge);
            match judge.piece.and_then(|piece| rest.get(piece..)) {
                Some(more) => rest = more,
                None => return,
            }
        }
    }

    #[inline]
    fn mark(&mut self, mark: Mark, now_ns: u64, announced: u64, judge: &Judge<'_>) {
        if mark.number >= announced {
            self.foreign += 1;
            return;
        }
        self.timed(now_ns);
        if self.account.arrived(mark.number) == Arrival::First {
            let intended = judge.schedule.at(mark.number).unwrap_or(mark.sent_ns);
            self.intended.saturating_record(now_ns.saturating_sub(intended).max(1));
            self.actual
                .saturating_record(now_ns.saturating_sub(mark.sent_ns).max(1));
        }
    }

    #[inline]
    fn timed(&mut self, now_ns: u64) {
        if self.first_ns == 0 {
            self.first_ns = now_ns;
        }
        self.last_ns = now_ns;
    }

    /// Whatever was looked for: packets, or frames of a recording.
    fn found(&self, judge: &Judge<'_>) -> u64 {
        if judge.flows == 0 {
            self.frames
        } else {
            self.account.counts.unique
        }
    }
}

/// Bursts of an interface's queue that are thrown away at most: more than its ring holds.
const STALE_BURSTS: usize = 1024;

/// Throws away what arrived before.
pub(super) fn drain(side: &mut Side) {
    let mut burst = Burst::new();
    for port in &mut side.ports {
        for _ in 0..STALE_BURSTS {
            port.receive(&mut side.pools, &mut burst, BURST);
            if burst.is_empty() {
                break;
            }
            burst.drain(..).for_each(|frame| side.pools.free(frame.buf));
            port.recycle(&mut side.pools);
        }
        port.recycle(&mut side.pools);
    }
}

/// Receives until everything was sent and nothing comes any more.
pub(super) fn receive(
    side: &mut Side,
    judge: &Judge<'_>,
    arrived: &mut Arrived,
    shared: &Shared,
    wait: Wait,
) -> Result<()> {
    let begin = shared.listen();
    let now = || begin.elapsed();
    let mut burst = Burst::new();
    let mut done_at = None;
    let before_all = cpu_ns();
    loop {
        let before = now();
        // In this order: what was sent before the flag was set is found by the calls below.
        let all_sent = shared.all_sent.load(Ordering::Acquire);
        let mut frames = 0;
        for port in &mut side.ports {
            port.receive(&mut side.pools, &mut burst, BURST);
            if !burst.is_empty() {
                frames += burst.len() as u64;
                let (now_ns, announced) = (now().as_nanos() as u64, shared.announced.load(Ordering::Acquire));
                for frame in burst.drain(..) {
                    arrived.frame(frame.buf.bytes(), now_ns, announced, judge);
                    side.pools.free(frame.buf);
                }
            }
            port.recycle(&mut side.pools);
        }
        if frames > 0 {
            shared.received.store(arrived.found(judge), Ordering::Relaxed);
        }
        if all_sent {
            let done = *done_at.get_or_insert(before);
            let complete = arrived.found(judge) >= shared.sent.load(Ordering::Relaxed);
            let patience = if complete { QUIET } else { GRACE };
            let last = Duration::from_nanos(arrived.last_ns).max(done);
            // Others may go on sending for ever.
            let silent = frames == 0 && before.saturating_sub(last) > patience;
            if silent || before.saturating_sub(done) > MOST_GRACE {
                arrived.cpu_ns = cpu_ns() - before_all;
                return Ok(());
            }
        }
        if frames > 0 {
            continue;
        }
        ensure!(
            side.ports.iter().all(|port| port.alive()),
            "{}: the interface is gone",
            side.name
        );
        if wait != Wait::Spin || all_sent {
            idle(side)?;
        }
    }
}

/// Waits for a frame, but not for long.
fn idle(side: &Side) -> Result<()> {
    let mut fds: ArrayVec<PollFd<'_>, { MAX_QUEUES as usize }> = ArrayVec::new();
    fds.extend(
        side.ports
            .iter()
            .filter_map(|port| Some(PollFd::new(port.readiness()?, PollFlags::POLLIN)))
            .take(MAX_QUEUES as usize),
    );
    if fds.is_empty() {
        std::thread::sleep(NAP);
    } else if let Err(err) = poll(&mut fds, PollTimeout::from(5u8))
        && err != nix::errno::Errno::EINTR
    {
        return Err(err.into());
    }
    Ok(())
}
