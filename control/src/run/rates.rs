//! Decides the rates that `status` shows, from totals that are read every second. It never asks the packet side by
//! itself.

use crate::api::{CountersReport, DropStatus, WorkerRow, WorkerTotals};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often totals are to be read.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Rates are taken over this long.
const WINDOW: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

struct Sample {
    at: Instant,
    workers: Vec<WorkerTotals>,
    drops: Vec<u64>,
    /// Received and sent packets of the uplink.
    uplink: (u64, u64),
}

/// The totals of the last minute.
#[derive(Default)]
pub(super) struct Rates(VecDeque<Sample>);

impl Rates {
    /// Takes totals in.
    pub(super) fn sample(&mut self, at: Instant, workers: Vec<WorkerTotals>, counters: &CountersReport, uplink: u16) {
        while self
            .0
            .front()
            .is_some_and(|old| at.saturating_duration_since(old.at) > MINUTE + EVERY)
        {
            self.0.pop_front();
        }
        let drops = counters.drops.iter().map(|drop| drop.packets).collect();
        let uplink = counters.ports.iter().find(|port| port.slot == uplink);
        let uplink = uplink.map_or((0, 0), |port| (port.rx_packets, port.tx_packets));
        self.0.push_back(Sample {
            at,
            workers,
            drops,
            uplink,
        });
    }

    /// Workers with their rates; the totals are those given. Cycles are ticks of a counter with `tsc_hz`.
    pub(super) fn workers(&self, now: Instant, totals: Vec<WorkerTotals>, tsc_hz: Option<u64>) -> Vec<WorkerRow> {
        let before = self.before(now, WINDOW);
        let row = |totals: WorkerTotals| {
            let earlier = before.and_then(|(sample, seconds)| {
                let worker = sample.workers.iter().find(|w| w.worker == totals.worker)?;
                Some((worker, seconds))
            });
            // Without an earlier one there is nothing to tell yet.
            let (earlier, seconds) = earlier.unwrap_or((&totals, 1.0));
            let grown = |of: fn(&WorkerTotals) -> u64| of(&totals).saturating_sub(of(earlier)) as f64;
            let [busy, poll, idle] = [grown(|w| w.busy_ns), grown(|w| w.poll_ns), grown(|w| w.idle_ns)];
            // Not the time that passed: a sleeping worker accounts for it when it wakes.
            let share = |part: f64| ratio(part, busy + poll + idle).unwrap_or(0.0);
            let (packets, hits) = (grown(|w| w.packets), grown(|w| w.cache_hits));
            WorkerRow {
                busy: share(busy),
                poll: share(poll),
                idle: share(idle),
                packets_per_second: packets / seconds,
                cache_hit: ratio(hits, hits + grown(|w| w.cache_misses)),
                cycles_per_packet: tsc_hz.and_then(|hz| ratio(busy * hz as f64 / 1e9, packets)),
                totals,
            }
        };
        totals.into_iter().map(row).collect()
    }

    /// Drop reasons that happened at least once, most in the last minute first.
    pub(super) fn drops(&self, now: Instant, counters: &CountersReport) -> Vec<DropStatus> {
        let before = self.before(now, MINUTE);
        let mut rows: Vec<_> = counters
            .drops
            .iter()
            .enumerate()
            .filter(|(_, drop)| drop.packets > 0)
            .map(|(at, drop)| {
                let earlier = before
                    .and_then(|(sample, _)| sample.drops.get(at))
                    .copied()
                    .unwrap_or(0);
                DropStatus {
                    reason: drop.reason.clone(),
                    group: drop.group.clone(),
                    text: drop.text.clone(),
                    packets: drop.packets,
                    last_minute: drop.packets.saturating_sub(earlier),
                }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.last_minute, row.packets)));
        rows
    }

    /// Packets per second in and out by the uplink.
    pub(super) fn uplink(&self) -> (f64, f64) {
        let Some(last) = self.0.back() else { return (0.0, 0.0) };
        let Some((sample, seconds)) = self.before(last.at, WINDOW) else {
            return (0.0, 0.0);
        };
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (
            rate(last.uplink.0, sample.uplink.0),
            rate(last.uplink.1, sample.uplink.1),
        )
    }

    /// The oldest sample that is not older than `span`, and its age in seconds.
    fn before(&self, now: Instant, span: Duration) -> Option<(&Sample, f64)> {
        // A sample taken late by a loaded machine still counts.
        let slack = EVERY / 2;
        let sample = self
            .0
            .iter()
            .find(|sample| now.saturating_duration_since(sample.at) <= span + slack)?;
        let seconds = now.saturating_duration_since(sample.at).as_secs_f64();
        (seconds > 0.1).then_some((sample, seconds))
    }
}

/// `None` of nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DropCount;

    fn counters(drops: u64) -> CountersReport {
        let drop = |reason: &str, packets| DropCount {
            reason: reason.into(),
            group: String::new(),
            text: String::new(),
            remedy: String::new(),
            packets,
        };
        CountersReport {
            drops: vec![drop("never", 0), drop("some", drops)],
            ..CountersReport::default()
        }
    }

    /// A counter that ticks five times in two nanoseconds.
    const HZ: Option<u64> = Some(2_500_000_000);

    fn totals(packets: u64) -> Vec<WorkerTotals> {
        let (cache_hits, cache_misses, busy_ns) = (packets * 3 / 4, packets / 4, packets * 1_000);
        let (poll_ns, idle_ns) = (packets * 400, packets * 600);
        vec![WorkerTotals {
            packets,
            cache_hits,
            cache_misses,
            busy_ns,
            poll_ns,
            idle_ns,
            ..WorkerTotals::default()
        }]
    }

    #[test]
    fn rates_are_differences_over_the_window() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert_eq!(rates.workers(start, totals(8), HZ)[0].packets_per_second, 0.0);
        for second in 0..100u64 {
            rates.sample(
                start + EVERY * second as u32,
                totals(second * 400_000),
                &counters(second * 2),
                0,
            );
        }
        let now = start + EVERY * 99;
        let row = &rates.workers(now, totals(99 * 400_000), HZ)[0];
        assert_eq!(
            (row.packets_per_second, row.cache_hit, row.cycles_per_packet),
            (400_000.0, Some(0.75), Some(2_500.0))
        );
        assert_eq!((row.busy, row.poll, row.idle), (0.5, 0.2, 0.3));
        assert_eq!(
            rates.workers(now, totals(99 * 400_000), None)[0].cycles_per_packet,
            None
        );
        let drops = rates.drops(now, &counters(99 * 2));
        assert_eq!(drops.len(), 1);
        assert_eq!(
            (drops[0].reason.as_str(), drops[0].packets, drops[0].last_minute),
            ("some", 198, 120)
        );
        assert!(rates.0.len() <= 63, "{} samples are kept", rates.0.len());
    }

    #[test]
    fn a_worker_that_stands_still_has_no_share_of_anything() {
        let start = Instant::now();
        let mut rates = Rates::default();
        rates.sample(start, totals(1000), &counters(0), 0);
        let row = &rates.workers(start + EVERY, totals(1000), HZ)[0];
        assert_eq!((row.busy, row.poll, row.idle), (0.0, 0.0, 0.0));
        assert_eq!((row.cache_hit, row.cycles_per_packet), (None, None));
    }

    #[test]
    fn a_restarted_counter_is_no_panic() {
        let start = Instant::now();
        let mut rates = Rates::default();
        rates.sample(start, totals(1000), &counters(7), 0);
        assert_eq!(rates.workers(start + EVERY, totals(0), HZ)[0].packets_per_second, 0.0);
        assert_eq!(rates.drops(start + EVERY, &counters(3))[0].last_minute, 0);
    }
}
