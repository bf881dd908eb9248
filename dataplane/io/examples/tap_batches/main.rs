//! Decides what it costs to read frames from many taps and write them to others: by plain calls (`epoll`, `readv`, `writev`)
//! or by io_uring (multishot reads into provided buffers, writes submitted a round at a time). It never judges a single
//! run: the ways take turns, and medians are shown with the least and the most.
//!
//! `tap_batches [ROUNDS]` needs root. Its taps live in a network namespace of its own, which goes with the process.
//! `docs/design/0016-taps-in-batches.md` has its figures.

mod plain;
mod ring;
mod taps;
mod wake;

use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use plain::Plain;
use ring::Ring;
use std::io;
use std::process::ExitCode;
use taps::{Kind, Taps};

/// After so many seconds the process is ended, and the namespace with it.
const PATIENCE_S: u32 = 600;
/// Frames of a kind that are timed for one figure.
const SMALL_FRAMES: usize = 2048;
const LARGE_FRAMES: usize = 192;

/// A way of moving frames: each from the tap where it came to the next one.
trait Way {
    /// Its taps.
    fn taps(&self) -> &Taps;
    /// Polls, reads and writes until `frames` frames were written.
    fn forward(&mut self, frames: usize) -> io::Result<()>;
    /// Sleeps until a frame came, and reads it.
    fn wait(&mut self) -> io::Result<()>;
}

/// One case: `each` frames wait at `ready` of `taps` taps.
#[derive(Clone, Copy)]
struct Point {
    taps: usize,
    ready: usize,
    each: usize,
    kind: Kind,
}

/// The ways, in the columns' order. The last one has the buffers that suit the case best, which nobody knows before a frame
/// comes: small ones cannot hold super-frames, and so few large ones are soon used up. It shows what there would be to gain.
const WAYS: [&str; 3] = ["plain calls", "io_uring", "io_uring, best buffers"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match args.as_slice() {
        [] => Ok(9),
        [rounds] => rounds
            .parse()
            .map_err(|_| ())
            .and_then(|n| if n > 0 { Ok(n) } else { Err(()) }),
        _ => Err(()),
    };
    let Ok(rounds) = rounds else {
        eprintln!("usage: tap_batches [ROUNDS]; ROUNDS is 1 or more (9)");
        return ExitCode::FAILURE;
    };
    match run(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("tap_batches: {err}");
            ExitCode::FAILURE
        }
    }
}

fn run(rounds: usize) -> io::Result<()> {
    nix::unistd::alarm::set(PATIENCE_S);
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|err| io::Error::other(format!("cannot make a network namespace: {err}. Run as root")))?;
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?;
    println!("CPU time of the whole process, kernel's included, ns a frame read and written: median (least .. most)\n");
    println!(
        "taps ready frames  bytes {:>26} {:>26} {:>26}  ratios",
        WAYS[0], WAYS[1], WAYS[2]
    );
    for count in [1, 16, 64] {
        let mut ready: Vec<usize> = [1, 4, count].into_iter().filter(|ready| *ready <= count).collect();
        ready.dedup();
        for kind in [Kind::Small, Kind::Super] {
            let mut ways = ways(count, kind)?;
            for ready in &ready {
                for each in kind.depths() {
                    let point = Point {
                        taps: count,
                        ready: *ready,
                        each,
                        kind,
                    };
                    measure(&mut ways, point, rounds)?;
                }
            }
        }
    }
    wake::measure(rounds)
}

/// Each way with taps of its own, as a read that waits at a tap takes what was meant for another.
fn ways(count: usize, kind: Kind) -> io::Result<Vec<Box<dyn Way>>> {
    let best = match kind {
        Kind::Small => ring::SMALL,
        Kind::Super => ring::FEW,
    };
    Ok(vec![
        Box::new(Plain::new(Taps::new("p", count)?)?),
        Box::new(Ring::new(Taps::new("r", count)?, ring::LARGE)?),
        Box::new(Ring::new(Taps::new("b", count)?, best)?),
    ])
}

fn measure(ways: &mut [Box<dyn Way>], point: Point, rounds: usize) -> io::Result<()> {
    let total = match point.kind {
        Kind::Small => SMALL_FRAMES,
        Kind::Super => LARGE_FRAMES,
    };
    let batch = point.ready * point.each;
    let mut costs = vec![Vec::with_capacity(rounds); ways.len()];
    // The first round warms up. Who begins changes from round to round.
    for round in 0..=rounds {
        let clock = clock_cost()?;
        for turn in 0..ways.len() {
            let which = (turn + round) % ways.len();
            let way = &mut ways[which];
            let (mut frames, mut ns) = (0, 0.0);
            for start in 0.. {
                if frames >= total {
                    break;
                }
                way.taps().source().send(start, point.ready, point.each, point.kind)?;
                let began = cpu_ns()?;
                way.forward(batch)?;
                ns += cpu_ns()? - began - clock;
                frames += batch;
            }
            if round > 0 {
                costs[which].push(ns / frames as f64);
            }
        }
    }
    let bytes = point.kind.bytes();
    print!("{:4} {:5} {:6} {bytes:6}", point.taps, point.ready, point.each);
    for way in 0..WAYS.len() {
        print!(
            " {:>26}",
            costs.get(way).map(|costs| spread(costs, 0)).unwrap_or_default()
        );
    }
    for others in &costs[1..] {
        let ratios: Vec<f64> = others
            .iter()
            .zip(&costs[0])
            .map(|(other, plain)| other / plain)
            .collect();
        print!("  {}", spread(&ratios, 2));
    }
    println!();
    Ok(())
}

/// Median, least and most.
fn spread(values: &[f64], digits: usize) -> String {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(median), Some(most)) => format!("{median:.digits$} ({least:.digits$} .. {most:.digits$})"),
        _ => String::new(),
    }
}

/// Time of all threads of this process, those that io_uring may have begun included.
fn cpu_ns() -> io::Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// What reading the clock adds between two readings.
fn clock_cost() -> io::Result<f64> {
    let mut costs = [0.0; 101];
    for cost in &mut costs {
        let began = cpu_ns()?;
        *cost = cpu_ns()? - began;
    }
    costs.sort_unstable_by(f64::total_cmp);
    Ok(costs[costs.len() / 2])
}
