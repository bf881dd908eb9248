//! The generator against itself: frames as another library builds them, faults counted exactly, clocks that are made up, and real wires.

mod frames;
mod memory;
mod namespace;
mod timing;
mod wires;

use super::*;
use crate::report::Progress;
use anyhow::Result;

/// Sends the stream from one end to the other, by sockets of its own, and says what arrived.
fn run(ends: &Ends, stream: &Stream, pace: Pace, until: Until, progress: &mut Progress) -> Result<Report> {
    let mut bench = Bench::open(ends)?;
    let mut source = bench.prepare(stream)?;
    bench.run(&mut source, pace, until, progress)
}

/// Sent, received, lost, doubled, reordered and foreign.
fn counts(report: &Report) -> [u64; 6] {
    let Report {
        sent,
        received,
        lost,
        duplicates,
        reordered,
        foreign,
        ..
    } = *report;
    [sent, received, lost, duplicates, reordered, foreign]
}

/// A stream of some flows, for tests to vary.
pub(crate) fn stream() -> Stream {
    Stream {
        flows: 1,
        size: Size::Bytes(64),
        src: Party {
            addresses: "198.18.0.0/24".parse().unwrap(),
            ports: "1024-65535".parse().unwrap(),
        },
        dst: Party {
            addresses: "198.19.0.0/28".parse().unwrap(),
            ports: "9".parse().unwrap(),
        },
        macs: Macs::default(),
        vxlan: None,
        seed: 1,
    }
}
