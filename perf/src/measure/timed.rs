//! The timed part of a run: all workers at once, each on its own processor, while configurations are published; and whether every frame
//! and every counter is as it must be afterwards.

use super::egress::Freeing;
use super::feed::Feed;
use super::node::{Counted, Worker};
use super::time::{Elapsed, Moment};
use crate::pipeline::point::Point;
use crate::world::World;
use anyhow::{Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use sluice_snapshot::Publisher;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// At least so many packets of established flows are hits: sets of the cache that too many flows fall into are rare, not unknown.
const HITS: f64 = 0.99;

/// Runs the workers over their feeds; what each counted and how long it took, and how many changes were published.
pub(super) fn timed(
    publisher: &mut Publisher,
    work: Vec<(&mut Worker, &mut Feed, usize)>,
    world: &World,
    point: &Point,
) -> Result<(Vec<(Counted, Elapsed)>, u64)> {
    let over = AtomicBool::new(false);
    let alone = work.len() == 1;
    let churns = point.churn > 0;
    let start = Barrier::new(work.len() + usize::from(churns));
    let each = |n: usize, (worker, feed, packets): (&mut Worker, &mut Feed, usize)| {
        let pinned = if alone { Ok(()) } else { pin(n) };
        // Whatever became of that, the others wait.
        start.wait();
        pinned?;
        one(worker, feed, packets, point)
    };
    let (results, changes) = std::thread::scope(|scope| {
        let churn = churns.then(|| {
            scope.spawn(|| {
                start.wait();
                publish(publisher, world, point.churn, &over)
            })
        });
        let results: Vec<Result<_>> = if alone {
            work.into_iter().map(|part| each(0, part)).collect()
        } else {
            let each = &each;
            let threads: Vec<_> = work
                .into_iter()
                .enumerate()
                .map(|(n, part)| scope.spawn(move || each(n, part)))
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<_>>| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))
            };
            threads.into_iter().map(join).collect()
        };
        over.store(true, Ordering::Relaxed);
        let changes = churn.map_or(Ok(0), |thread| {
            thread.join().map_err(|_| anyhow!("the publisher panicked"))
        });
        (results, changes)
    });
    let results: Result<Vec<_>> = results.into_iter().collect();
    Ok((results?, changes?))
}

fn one(worker: &mut Worker, feed: &mut Feed, packets: usize, point: &Point) -> Result<(Counted, Elapsed)> {
    let before = worker.counted();
    let began = Moment::now();
    let out = worker.forward(feed, packets);
    let elapsed = began.elapsed();
    worker.account(out.frames, out.bytes);
    let counted = worker.counted().since(&before);
    check(worker, point, packets as u64, &out, &counted)?;
    Ok((counted, elapsed))
}

/// Whether the run was what it is said to be.
pub(super) fn check(worker: &Worker, point: &Point, packets: u64, out: &Freeing, counted: &Counted) -> Result<()> {
    let dropped = worker.dropped();
    ensure!(dropped.is_empty(), "frames were dropped: {dropped:?}");
    ensure!(
        counted.received == packets && out.frames == packets,
        "of {packets} frames {} came in and {} left",
        counted.received,
        out.frames
    );
    ensure!(
        counted.hits + counted.misses == packets,
        "{packets} packets, but {counted:?}"
    );
    if point.case.is_new_each_time() {
        let new = counted.created == packets && counted.hits == 0;
        ensure!(new, "not each packet began a connection: {counted:?}");
    } else {
        let known = counted.created == 0 && counted.decided_again == 0;
        ensure!(known, "something was decided again: {counted:?}");
        let rate = counted.hits as f64 / packets as f64;
        ensure!(rate >= HITS, "the cache knew {:.2} % of the packets only", 100.0 * rate);
    }
    Ok(())
}

/// Publishes `rate` changes a second until it is over; says how many.
fn publish(publisher: &mut Publisher, world: &World, rate: u32, over: &AtomicBool) -> u64 {
    let (began, mut published) = (Instant::now(), 0);
    while !over.load(Ordering::Relaxed) {
        let next = world.changed(&publisher.current());
        publisher.publish(next);
        published += 1;
        let due = began + Duration::from_secs(1) * published as u32 / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    published
}

/// Binds this thread to the `n`-th of the processors that it may use.
fn pin(n: usize) -> Result<()> {
    let may = sched_getaffinity(Pid::from_raw(0))?;
    let own = (0..CpuSet::count())
        .filter(|cpu| may.is_set(*cpu).unwrap_or(false))
        .nth(n);
    let own = own.ok_or_else(|| anyhow!("worker {n} has no processor of its own: ask for fewer (--workers)"))?;
    let mut set = CpuSet::new();
    set.set(own)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
