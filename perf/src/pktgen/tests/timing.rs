//! Latencies on clocks that are made up.

use super::*;
use crate::pktgen::pace::Schedule;
use crate::pktgen::payload::{Mark, Run};
use crate::pktgen::receive::{Arrived, Judge};
use std::time::Duration;

const RUN: Run = Run(5);
const MS: u64 = 1_000_000;

fn judge(schedule: &Schedule) -> Judge<'_> {
    Judge {
        schedule,
        run: RUN,
        flows: 1,
        piece: Some(18),
    }
}

/// A frame around payloads.
fn frame(marks: &[Mark]) -> Vec<u8> {
    let payload: Vec<u8> = marks.iter().flat_map(|mark| mark.bytes(RUN)).collect();
    let end = |addr: [u8; 4]| (sluice_wire::Addr::v4(addr), 9);
    crate::cases::build(
        Default::default(),
        end([10, 0, 0, 1]),
        end([10, 0, 0, 2]),
        64,
        None,
        &payload,
    )
}

/// A thousand packets a second, each 100 us under way, from a generator that stands still from 200 ms to 300 ms: who counts from when
/// packets left does not see it (coordinated omission).
#[test]
fn a_generator_that_stands_still_does_not_hide_the_latency() {
    let schedule = Schedule::new(Pace::Rate(1000.0), Until::Elapsed(Duration::from_secs(1))).unwrap();
    let mut arrived = Arrived::new(1);
    for number in 0..1000 {
        let due = number * MS;
        let sent = if (200 * MS..300 * MS).contains(&due) {
            300 * MS
        } else {
            due
        };
        arrived.frame(
            &frame(&[Mark { number, sent_ns: sent }]),
            sent + MS / 10,
            1000,
            &judge(&schedule),
        );
    }
    let ms = |histogram: &hdrhistogram::Histogram<u64>, p| {
        (histogram.value_at_percentile(p) as f64 / MS as f64 * 10.0).round() / 10.0
    };
    assert_eq!([50.0, 99.99].map(|p| ms(&arrived.actual, p)), [0.1, 0.1]);
    // Of a thousand the hundred late ones are evenly late by up to 100 ms.
    assert_eq!(
        [50.0, 89.0, 95.0, 99.9].map(|p| ms(&arrived.intended, p)),
        [0.1, 0.1, 50.1, 100.1]
    );
    assert_eq!((arrived.account.counts.unique, arrived.foreign), (1000, 0));
}

#[test]
fn numbers_that_were_not_sent_are_foreign_and_super_frames_are_many_packets() {
    let schedule = Schedule::new(Pace::Max, Until::Packets(100)).unwrap();
    let mut arrived = Arrived::new(1);
    let mark = |number| Mark { number, sent_ns: 0 };
    arrived.frame(&frame(&[mark(10)]), 5, 10, &judge(&schedule));
    assert_eq!((arrived.foreign, arrived.account.counts.unique), (1, 0));
    arrived.frame(&frame(&[0, 1, 2, 3].map(mark)), 5, 10, &judge(&schedule));
    assert_eq!(
        (arrived.foreign, arrived.account.counts.unique, arrived.frames),
        (1, 4, 2)
    );
    assert_eq!(
        arrived.intended.len(),
        4,
        "as fast as it goes, packets are meant to leave when they do"
    );
    arrived.frame(b"no frame", 5, 10, &judge(&schedule));
    assert_eq!(arrived.foreign, 2);
}
