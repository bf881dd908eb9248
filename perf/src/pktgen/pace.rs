//! Decides when each packet is meant to leave. It never knows when one did: a late generator changes nothing about what was intended, which
//! is what latency is counted from.

use anyhow::{Result, bail, ensure};
use std::sync::Arc;
use std::time::Duration;

/// How fast packets leave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many a second, evenly.
    Rate(f64),
    /// More and more a second (or less and less), from the first to the second.
    Ramp(f64, f64),
    /// As fast as it goes.
    Max,
    /// At these times, ns since the beginning: those of a recording.
    Times(Arc<[u64]>),
}

/// How long it goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Until {
    Elapsed(Duration),
    Packets(u64),
}

/// Fastest pace that can be asked for.
const FASTEST: f64 = 1e9;
const SECOND: f64 = 1e9;

/// Intended times of a run.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pace: Pace,
    /// Seconds that a ramp takes.
    ramp: f64,
    /// How many are meant to be sent; `None` as many as go.
    pub(super) packets: Option<u64>,
    /// When it must end, ns, whether all were sent or not.
    pub(super) end_ns: Option<u64>,
}

/// How late the end may be, so that the last packets of a generator that was interrupted still leave: a tenth, or so much.
const LATE: Duration = Duration::from_millis(200);

impl Schedule {
    pub(super) fn new(pace: Pace, until: Until) -> Result<Self> {
        let ok = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= FASTEST;
        let average = match pace {
            Pace::Rate(rate) if ok(rate) => Some(rate),
            Pace::Ramp(from, to) if ok(from.max(to)) && from >= 0.0 && to >= 0.0 => Some((from + to) / 2.0),
            Pace::Rate(rate) => bail!("{rate} packets a second; want more than 0 and at most 1000M (--rate)"),
            Pace::Ramp(from, to) => {
                bail!("a ramp from {from} to {to} packets a second; want 0 to 1000M, and not 0 twice (--ramp)")
            }
            Pace::Max | Pace::Times(_) => None,
        };
        let (mut packets, end_ns, ramp) = match until {
            Until::Elapsed(time) => {
                ensure!(!time.is_zero(), "0 seconds; want some time (--seconds)");
                let seconds = time.as_secs_f64();
                let packets = average.map(|rate| (rate * seconds).round().max(1.0) as u64);
                let late = packets.map_or(Duration::ZERO, |_| LATE.max(time / 10));
                (packets, Some((time + late).as_nanos() as u64), seconds)
            }
            Until::Packets(count) => {
                ensure!(count > 0, "0 packets; want some (--packets)");
                (Some(count), None, average.map_or(0.0, |rate| count as f64 / rate))
            }
        };
        if let Pace::Times(times) = &pace {
            let within = times.partition_point(|at| end_ns.is_none_or(|end| *at <= end)) as u64;
            packets = Some(packets.map_or(within, |count| count.min(within)));
        }
        Ok(Self {
            pace,
            ramp,
            packets,
            end_ns,
        })
    }

    /// When this packet is meant to leave, ns since the run began; `None` when it does not matter.
    #[inline]
    pub(super) fn at(&self, number: u64) -> Option<u64> {
        match &self.pace {
            Pace::Rate(rate) => Some((number as f64 / rate * SECOND) as u64),
            // The time when the ramp's area is `number`, in the form without cancellation.
            Pace::Ramp(from, to) if number > 0 => {
                let slope = (to - from) / self.ramp;
                let root = (from * from + 2.0 * slope * number as f64).max(0.0).sqrt();
                Some((2.0 * number as f64 / (from + root) * SECOND) as u64)
            }
            Pace::Ramp(..) => Some(0),
            Pace::Max => None,
            Pace::Times(times) => times.get(number as usize).copied().or(Some(u64::MAX)),
        }
    }

    /// How many from `next` on, at most `most`, are due.
    #[inline]
    pub(super) fn due(&self, next: u64, now_ns: u64, most: u64) -> u64 {
        let most = self
            .packets
            .map_or(most, |packets| most.min(packets.saturating_sub(next)));
        (0..most)
            .take_while(|n| self.at(next + n).is_none_or(|at| at <= now_ns))
            .count() as u64
    }

    /// Packets a second that it means, where it means any, over its whole length.
    pub(super) fn average(&self) -> Option<f64> {
        match self.pace {
            Pace::Rate(rate) => Some(rate),
            Pace::Ramp(from, to) => Some((from + to) / 2.0),
            Pace::Max | Pace::Times(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEN: Until = Until::Elapsed(Duration::from_secs(10));

    #[test]
    fn packets_are_due_evenly_and_no_sooner() {
        let schedule = Schedule::new(Pace::Rate(1000.0), TEN).unwrap();
        assert_eq!(schedule.packets, Some(10_000));
        assert_eq!(
            [0, 1, 9999].map(|n| schedule.at(n)),
            [Some(0), Some(1_000_000), Some(9_999_000_000)]
        );
        assert_eq!(schedule.due(0, 0, 64), 1);
        assert_eq!(schedule.due(1, 999_999, 64), 0);
        assert_eq!(schedule.due(1, 5_000_000, 64), 5);
        assert_eq!(schedule.due(1, 5_000_000, 3), 3);
        assert_eq!(schedule.due(9_998, u64::MAX, 64), 2, "no more than there are");
        let max = Schedule::new(Pace::Max, TEN).unwrap();
        assert_eq!(
            (max.packets, max.end_ns, max.due(7, 0, 64)),
            (None, Some(10_000_000_000), 64)
        );
    }

    proptest! {
        #[test]
        fn a_ramp_has_the_packets_of_its_area_in_every_part(from in 0.0f64..1e6, to in 0.0f64..1e6) {
            prop_assume!(from.max(to) > 1.0);
            let schedule = Schedule::new(Pace::Ramp(from, to), TEN).unwrap();
            let all = schedule.packets.unwrap();
            prop_assert!((all as f64 - (from + to) * 5.0).abs() <= 1.0);
            let mut before = 0;
            for part in 1..=10u64 {
                let n = all * part / 10;
                let at = schedule.at(n).unwrap();
                prop_assert!(at >= before);
                before = at;
                let t = at as f64 / 1e9;
                let area = from * t + (to - from) * t * t / 20.0;
                prop_assert!((area - n as f64).abs() <= 1.0 + n as f64 * 1e-6, "{area} {n}");
            }
        }
    }

    #[test]
    fn what_cannot_be_paced_is_refused() {
        let said = |pace, until| Schedule::new(pace, until).unwrap_err().to_string();
        assert!(said(Pace::Rate(0.0), TEN).contains("--rate"));
        assert!(said(Pace::Rate(f64::NAN), TEN).contains("--rate"));
        assert!(said(Pace::Ramp(0.0, 0.0), TEN).contains("--ramp"));
        assert!(said(Pace::Max, Until::Packets(0)).contains("--packets"));
        assert!(said(Pace::Max, Until::Elapsed(Duration::ZERO)).contains("--seconds"));
    }
}
