//! Decides how long a frame waits for a reader that sleeps. It never says what is fast: whatever else the machine does is in it.

use crate::plain::Plain;
use crate::ring::{self, Ring};
use crate::taps::{Kind, Taps};
use crate::{WAYS, Way, spread};
use nix::unistd::Pid;
use std::io;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Taps in the set; one of them gets a frame.
const TAPS: usize = 16;
/// Frames of a round.
const FRAMES: usize = 100;
/// How long the reader may take to go to sleep.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn measure(rounds: usize) -> io::Result<()> {
    let mut plain = Plain::new(Taps::new("wp", TAPS)?)?;
    let mut ring = Ring::new(Taps::new("wr", TAPS)?, ring::LARGE)?;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for turn in 0..2 {
            let which = (turn + round) % 2;
            let way: &mut dyn Way = if which == 0 { &mut plain } else { &mut ring };
            let median = one(way)?;
            if round > 0 {
                times[which].push(median);
            }
        }
    }
    println!(
        "\nfrom a frame's sending until a sleeping reader has it, 1 of {TAPS} taps, us: median of medians (least .. most)"
    );
    for (name, times) in WAYS.iter().zip(&times) {
        println!("{name:>12} {}", spread(times, 1));
    }
    Ok(())
}

/// Median of one round, us.
fn one(way: &mut dyn Way) -> io::Result<f64> {
    let source = way.taps().source();
    let reader = nix::unistd::gettid();
    let (stamp, stamps) = channel();
    let mut waits = Vec::with_capacity(FRAMES);
    std::thread::scope(|scope| {
        let (again, turns) = channel();
        let sender = scope.spawn(move || -> io::Result<()> {
            while let Ok(n) = turns.recv() {
                asleep(reader)?;
                // Nobody listens any more only if the reader has failed, and says so itself.
                let _ = stamp.send(Instant::now());
                source.send(n, 1, 1, Kind::Small)?;
            }
            Ok(())
        });
        for n in 0..FRAMES {
            again.send(n).map_err(io::Error::other)?;
            way.wait()?;
            let came = Instant::now();
            let sent: Instant = stamps.recv().map_err(io::Error::other)?;
            waits.push(came.duration_since(sent).as_nanos() as f64 / 1e3);
        }
        drop(again);
        sender.join().map_err(|_| io::Error::other("the sender panicked"))?
    })?;
    waits.sort_unstable_by(f64::total_cmp);
    Ok(waits[waits.len() / 2])
}

/// Returns as soon as the thread sleeps.
fn asleep(thread: Pid) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(io::Error::other(format!(
        "the reader did not go to sleep within {PATIENCE:?}"
    )))
}
