//! What a worker's time went into, and how full its bursts were. It counts what the loop tells it and never reads a clock: the two
//! readings that a round takes anyway are enough.

use sluice_engine::Event;
use sluice_wire::BURST;

/// Classes of bursts: as many frames as a power of two or more, below the next one; the last are full bursts alone.
const CLASSES: usize = BURST.ilog2() as usize + 1;
const _: () = assert!(BURST.is_power_of_two());

/// Written by one worker alone, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// In rounds that found something to do, finding it included.
    pub(crate) busy_ns: Event,
    /// In rounds that found nothing.
    pub(crate) poll_ns: Event,
    /// In calls that wait for something, from falling asleep to being awake.
    pub(crate) idle_ns: Event,
    bursts: [Event; CLASSES],
}

/// A round of the loop, from the end of the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) after_ns: u64,
    /// It knew which queues have something.
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    /// Until then it was allowed to sleep.
    pub(super) slept: bool,
}

impl Span {
    /// Spent in the call that tells which queues have something.
    pub(super) fn waited_ns(self) -> u64 {
        self.began_ns.saturating_sub(self.after_ns)
    }

    pub(super) fn took_ns(self) -> u64 {
        self.ended_ns.saturating_sub(self.after_ns)
    }
}

impl Meters {
    /// A burst of so many frames came, one at least.
    #[inline]
    pub(super) fn burst(&self, frames: usize) {
        let class = frames.checked_ilog2().unwrap_or(0) as usize;
        if let Some(bursts) = self.bursts.get(class) {
            bursts.add(1);
        }
    }

    /// Every nanosecond goes into exactly one of the three.
    #[inline]
    pub(super) fn round(&self, span: Span, found: bool) {
        let waited = span.waited_ns();
        let worked = span.ended_ns.saturating_sub(span.began_ns);
        let awake = if found { &self.busy_ns } else { &self.poll_ns };
        if span.slept {
            self.idle_ns.add(waited);
            awake.add(worked);
        } else {
            awake.add(waited + worked);
        }
    }

    /// Fewest and most frames of each class of bursts, and how many there were.
    pub(crate) fn bursts(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.bursts.iter().enumerate().map(|(class, bursts)| {
            let from = 1 << class;
            (from, (2 * from - 1).min(BURST), bursts.get())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(meters: &Meters) -> [u64; 3] {
        [&meters.busy_ns, &meters.poll_ns, &meters.idle_ns].map(Event::get)
    }

    #[test]
    fn a_nanosecond_is_busy_polled_or_idle_by_what_the_round_found() {
        let span = |slept| Span {
            after_ns: 1_000,
            began_ns: 1_100,
            ended_ns: 1_107,
            slept,
        };
        for (slept, found, want) in [
            (false, true, [107, 0, 0]),
            (false, false, [0, 107, 0]),
            (true, true, [7, 0, 100]),
            (true, false, [0, 7, 100]),
        ] {
            let meters = Meters::default();
            meters.round(span(slept), found);
            assert_eq!(times(&meters), want, "slept {slept}, found {found}");
        }
    }

    #[test]
    fn bursts_are_in_the_class_of_their_frames() {
        let meters = Meters::default();
        for frames in [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64] {
            meters.burst(frames);
        }
        let classes: Vec<_> = meters.bursts().collect();
        let want = [
            (1, 1, 1),
            (2, 3, 2),
            (4, 7, 2),
            (8, 15, 2),
            (16, 31, 2),
            (32, 63, 2),
            (64, 64, 1),
        ];
        assert_eq!(classes, want);
    }

    proptest! {
        #[test]
        fn all_time_is_in_one_of_the_three(
            rounds in prop::collection::vec((0u64..1_000_000_000, 0u64..1_000_000, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let (meters, mut now_ns) = (Meters::default(), 17);
            for (waited, worked, slept, found) in rounds {
                let began_ns = now_ns + waited;
                meters.round(Span { after_ns: now_ns, began_ns, ended_ns: began_ns + worked, slept }, found);
                now_ns = began_ns + worked;
                prop_assert_eq!(times(&meters).iter().sum::<u64>(), now_ns - 17);
            }
        }

        /// The classes bracket the frames, and count each burst once.
        #[test]
        fn classes_bracket_the_frames(bursts in prop::collection::vec(1..=BURST, 0..300)) {
            let meters = Meters::default();
            bursts.iter().for_each(|frames| meters.burst(*frames));
            let frames: u64 = bursts.iter().map(|frames| *frames as u64).sum();
            let sum = |of: fn((usize, usize, u64)) -> u64| meters.bursts().map(of).sum::<u64>();
            prop_assert_eq!(sum(|(_, _, count)| count), bursts.len() as u64);
            prop_assert!(sum(|(from, _, count)| from as u64 * count) <= frames);
            prop_assert!(sum(|(_, to, count)| to as u64 * count) >= frames);
        }
    }
}
