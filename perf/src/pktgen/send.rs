//! Decides when the generator hands which frame to the device. It never allocates while the clock runs, and never sends a packet before it
//! is due.

use super::bench::Shared;
use super::ends::{Side, Wait};
use super::pace::Schedule;
use super::payload;
use super::source::Source;
use crate::measure::time::cpu_ns;
use anyhow::{Result, anyhow, ensure};
use sluice_io::{Burst, Frame};
use sluice_wire::{BURST, Meta, PortSlot};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a device may take no frame.
const STUCK: Duration = Duration::from_secs(5);
/// Calls after the last frame in which a device may hand on what it still holds back.
const SETTLE: u32 = 256;
/// Least that a sleeping generator sleeps.
const NAP: Duration = Duration::from_micros(50);

/// What left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// Longest that a packet left later than intended.
    pub(super) late_ns: u64,
    /// Processor time until the last packet had left.
    pub(super) cpu_ns: u64,
}

/// Sends until the schedule ends or somebody says stop, then hands on what devices hold back until the receiver is done.
pub(super) fn send(side: &mut Side, source: &Source, schedule: &Schedule, shared: &Shared, wait: Wait) -> Result<Sent> {
    let begin = shared.begin();
    let now_ns = || begin.elapsed().as_nanos() as u64;
    let mut bursts: Vec<Burst> = side.ports.iter().map(|_| Burst::new()).collect();
    let (mut sent, mut next) = (Sent::default(), 0u64);
    let before = cpu_ns();
    while schedule.packets.is_none_or(|packets| next < packets) {
        let now = now_ns();
        if shared.stops() || schedule.end_ns.is_some_and(|end| now >= end) {
            break;
        }
        let due = schedule.due(next, now, BURST as u64);
        if due == 0 {
            recycle(side);
            pause(begin, schedule.at(next).unwrap_or(now), schedule.end_ns, wait);
            continue;
        }
        ensure!(next + due <= payload::MOST, "more packets than 48 bits count");
        if next == 0 {
            sent.first_ns = now;
        }
        sent.late_ns = sent.late_ns.max(now.saturating_sub(schedule.at(next).unwrap_or(now)));
        // Announced before they are on their way: the receiver takes no number for one of ours that was not.
        shared.announced.store(next + due, Ordering::Release);
        for number in next..next + due {
            let queue = source.queue(number, bursts.len());
            if bursts[queue].is_full() {
                transmit(side, queue, &mut bursts[queue], &mut sent)?;
            }
            bursts[queue].push(frame(side, source, number, now)?);
        }
        for (queue, burst) in bursts.iter_mut().enumerate() {
            transmit(side, queue, burst, &mut sent)?;
        }
        next += due;
        sent.last_ns = now;
        shared.sent.store(sent.frames, Ordering::Relaxed);
        recycle(side);
    }
    sent.cpu_ns = cpu_ns() - before;
    (0..SETTLE).for_each(|_| recycle(side));
    shared.all_sent.store(true, Ordering::Release);
    while !shared.drained.load(Ordering::Acquire) {
        recycle(side);
        std::thread::sleep(NAP);
    }
    Ok(sent)
}

/// A frame with the packet of this number; waits for memory.
#[inline]
fn frame(side: &mut Side, source: &Source, number: u64, now_ns: u64) -> Result<Frame> {
    let mut since = None;
    loop {
        if let Some(mut buf) = side.pools.small.alloc() {
            source
                .write(&mut buf, number, now_ns)
                .ok_or_else(|| anyhow!("packet {number} does not fit into frame memory"))?;
            return Ok(Frame {
                buf,
                meta: Meta::from_port(PortSlot(1)),
            });
        }
        recycle(side);
        check_alive(side, &mut since)?;
    }
}

/// Hands the whole burst to the device.
#[inline]
fn transmit(side: &mut Side, queue: usize, burst: &mut Burst, sent: &mut Sent) -> Result<()> {
    let mut since = None;
    while !burst.is_empty() {
        let taken = side.ports[queue].transmit(&mut side.pools, burst);
        ensure!(
            taken.refused == 0,
            "{}: the device refuses frames; is the interface up, and its MTU large enough?",
            side.name
        );
        sent.frames += u64::from(taken.frames);
        sent.bytes += taken.bytes;
        if taken.frames > 0 {
            since = None;
        }
        if !burst.is_empty() {
            recycle(side);
            check_alive(side, &mut since)?;
        }
    }
    Ok(())
}

fn recycle(side: &mut Side) {
    for port in &mut side.ports {
        port.recycle(&mut side.pools);
    }
}

/// Gives others the processor, and gives up on a device that is gone or does nothing for long.
#[cold]
fn check_alive(side: &Side, since: &mut Option<Instant>) -> Result<()> {
    ensure!(
        side.ports.iter().all(|port| port.alive()) && since.get_or_insert_with(Instant::now).elapsed() < STUCK,
        "{}: the device takes no frames any more; is the interface still there, and up?",
        side.name
    );
    std::thread::yield_now();
    Ok(())
}

/// Waits for the moment when the next packet is due, but not past the end.
fn pause(begin: Instant, at_ns: u64, end_ns: Option<u64>, wait: Wait) {
    let until = begin + Duration::from_nanos(end_ns.map_or(at_ns, |end| at_ns.min(end)));
    let least = match wait {
        Wait::Spin => return std::hint::spin_loop(),
        Wait::Sleep => NAP,
        Wait::Pause(least) => least,
    };
    // Not for long at once, so that an interrupt is heard.
    let rest = until.saturating_duration_since(Instant::now()).min(1000 * NAP);
    std::thread::sleep(rest.max(least));
}
