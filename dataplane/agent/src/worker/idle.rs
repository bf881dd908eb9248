//! When a worker may sleep, and for how long.

use super::meters::Span;
use std::time::Duration;

/// How a worker waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// Never sleeps.
    Busy,
    /// Sleeps until something is ready; spins a little before, where packets usually come back so soon.
    Adaptive,
}

/// What a worker may be left with at the end of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Frames wait for a receiver that has time again in the next round.
    pub(super) waiting: bool,
    /// Frames are in a transmit ring that the kernel must be asked about once more.
    pub(super) unsent: bool,
    /// Packets wait for a neighbour.
    pub(super) held: bool,
}

/// How long a worker spins after its last packet: about what falling asleep and waking up cost.
const SPIN_NS: u64 = 20_000;
/// A poll that took less found something at once and says nothing about waiting.
pub(super) const AT_ONCE_NS: u64 = 2_000;
/// Longest sleep, so that connections age while nothing happens.
const SLEEP: Duration = Duration::from_millis(100);
/// Longest sleep while packets wait for a neighbour.
const SLEEP_HOLDING: Duration = Duration::from_millis(2);
/// Longest sleep while the kernel has not begun to send what it was given: a socket's buffer was full, or a device.
const SLEEP_UNSENT: Duration = Duration::from_micros(50);

pub(crate) struct Idle {
    polling: Polling,
    silent_ns: u64,
    /// Of the last eight waits, which ended within a spin; a bit each.
    short: u8,
}

impl Idle {
    pub(crate) fn new(polling: Polling) -> Self {
        Self {
            polling,
            silent_ns: 0,
            short: u8::MAX,
        }
    }

    /// How long the next poll may wait, after a round that `found` something to do or did not.
    pub(super) fn after(&mut self, span: Span, found: bool, left: Left) -> Duration {
        if found {
            let waited_ns = self.silent_ns.saturating_add(span.waited_ns());
            if waited_ns > AT_ONCE_NS {
                self.short = self.short << 1 | u8::from(waited_ns < SPIN_NS);
            }
            self.silent_ns = 0;
        } else {
            self.silent_ns = self.silent_ns.saturating_add(span.took_ns());
        }
        match self.polling {
            Polling::Busy => Duration::ZERO,
            Polling::Adaptive if left.waiting => Duration::ZERO,
            Polling::Adaptive if self.spins() && self.silent_ns < SPIN_NS => Duration::ZERO,
            Polling::Adaptive if left.unsent => SLEEP_UNSENT,
            Polling::Adaptive if left.held => SLEEP_HOLDING,
            Polling::Adaptive => SLEEP,
        }
    }

    /// Spinning pays where it makes a sleep needless as often as not.
    fn spins(&self) -> bool {
        self.short.count_ones() >= u8::BITS / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTHING: Left = Left {
        waiting: false,
        unsent: false,
        held: false,
    };

    /// A round that waited and worked so long.
    fn span(waited_ns: u64, worked_ns: u64) -> Span {
        Span {
            after_ns: 1_000,
            began_ns: 1_000 + waited_ns,
            ended_ns: 1_000 + waited_ns + worked_ns,
            slept: false,
        }
    }

    #[test]
    fn adaptive_spins_first_and_sleeps_only_without_work() {
        let mut idle = Idle::new(Polling::Adaptive);
        let mut after = |ns, found, left| idle.after(span(0, ns), found, left);
        assert_eq!(after(SPIN_NS - 1, false, NOTHING), Duration::ZERO);
        assert_eq!(after(1, false, NOTHING), SLEEP);
        assert_eq!(after(1, false, Left { held: true, ..NOTHING }), SLEEP_HOLDING);
        let unsent = Left {
            held: true,
            unsent: true,
            waiting: false,
        };
        assert_eq!(after(1, false, unsent), SLEEP_UNSENT);
        assert_eq!(
            after(
                1,
                false,
                Left {
                    waiting: true,
                    ..unsent
                }
            ),
            Duration::ZERO
        );
        assert_eq!(after(SPIN_NS, true, NOTHING), Duration::ZERO);
        let mut busy = Idle::new(Polling::Busy);
        assert_eq!(busy.after(span(0, u64::MAX - 1_000), false, NOTHING), Duration::ZERO);
    }

    /// Packets that come every so often, and how much of the time the worker was awake without any.
    fn spun_ns(gap_ns: u64, packets: u64) -> u64 {
        let mut idle = Idle::new(Polling::Adaptive);
        let mut spun = 0;
        for _ in 0..packets {
            let mut left_ns = gap_ns;
            let mut sleeps = idle.after(span(0, 500), true, NOTHING) > Duration::ZERO;
            while !sleeps && left_ns > 500 {
                (left_ns, spun) = (left_ns - 500, spun + 500);
                sleeps = idle.after(span(0, 500), false, NOTHING) > Duration::ZERO;
            }
            // Asleep or not, the packet ends the poll.
            idle.after(span(left_ns, 500), true, NOTHING);
        }
        spun
    }

    #[test]
    fn it_spins_where_packets_come_soon_and_not_where_they_never_do() {
        assert!(spun_ns(SPIN_NS / 2, 1000) > 1000 * SPIN_NS / 3);
        // A few to see that it does not pay.
        assert!(spun_ns(SPIN_NS * 3, 1000) < 10 * SPIN_NS);
    }

    #[test]
    fn what_is_there_at_once_says_nothing_about_waiting() {
        let mut idle = Idle::new(Polling::Adaptive);
        for _ in 0..100 {
            idle.after(span(SPIN_NS * 2, 0), true, NOTHING);
            for _ in 0..8 {
                idle.after(span(AT_ONCE_NS / 2, 0), true, NOTHING);
            }
        }
        assert_eq!(idle.after(span(0, 0), true, NOTHING), SLEEP, "gaps were all long");
    }

    proptest! {
        /// Whatever came before, four short waits make it spin and five long ones make it sleep at once.
        #[test]
        fn it_follows_what_packets_do_now(before in proptest::collection::vec(0u64..100_000, 0..50)) {
            let mut idle = Idle::new(Polling::Adaptive);
            before.iter().for_each(|waited| _ = idle.after(span(*waited, 0), true, NOTHING));
            (0..4).for_each(|_| _ = idle.after(span(SPIN_NS / 2, 0), true, NOTHING));
            prop_assert_eq!(idle.after(span(0, 0), false, NOTHING), Duration::ZERO);
            (0..5).for_each(|_| _ = idle.after(span(SPIN_NS * 2, 0), true, NOTHING));
            prop_assert_eq!(idle.after(span(0, 0), false, NOTHING), SLEEP);
        }
    }
}
