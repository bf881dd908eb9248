//! How a worker's time is shared between its ports. Pure arithmetic over nanoseconds; it reads no clock and moves no frame.
//!
//! Receiving is shared by turns: every port has the time it has used, and only ports that have used about as little as any
//! other that asks may take the next burst. Writing to a port whose receiver runs on the worker's time has an allowance a
//! round; what does not fit waits. `docs/design/0010-time.md` says why.

use super::pace::Cost;
use sluice_control::run::SLOW_NS;

/// How far ahead of the one that used least a port may be and still receive: about ten bursts.
pub(crate) const LEAD_NS: u64 = 200_000;
/// What the receiver behind one port may take of a round.
pub(crate) const ALLOWANCE_NS: i64 = 200_000;
/// The same for a slow one: what comes for others meanwhile waits that long, and a conversation waits at every packet.
pub(crate) const SLOW_ALLOWANCE_NS: i64 = 25_000;
/// A slow one's part of the time while anybody else wants to be served: one in so many.
pub(crate) const SLOW_SHARE: u64 = 4;
/// First guess of what a unit costs its receiver.
const FIRST_COST_NS: u64 = 2_000;

/// Time used for one port, on a scale on which all ports that keep asking advance together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used(u64);

impl Used {
    /// Charges `ns` to a port that counts as `weight` ports.
    pub(crate) fn charge(&mut self, ns: u64, weight: u64) {
        self.0 = self.0.saturating_add(ns / weight.max(1));
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// What the one that used least of those that ask had used, when the round began.
    floor: u64,
    least: Option<u64>,
}

impl Turns {
    /// A port asks in the round that is about to begin. Who was silent gets no credit for it; who has used more than the
    /// others waits for them only while they ask.
    pub(crate) fn ask(&mut self, used: &mut Used) {
        used.0 = used.0.max(self.floor);
        self.least = Some(self.least.map_or(used.0, |least| least.min(used.0)));
    }

    /// All have asked.
    pub(crate) fn begin(&mut self) {
        self.floor = self.least.take().unwrap_or(self.floor);
    }

    /// Whether a port that asks may take a burst in this round. One at least always may.
    pub(crate) fn may(&self, used: Used) -> bool {
        used.0 <= self.floor.saturating_add(LEAD_NS)
    }
}

/// What the receiver behind one port may still take in this round. Overdrawn time is taken off the next rounds. Frames are
/// counted in units (`line::units`), so that copying a super-frame does not look like a slow receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    left_ns: i64,
    round: Round,
    cost: Cost,
}

/// A round of the worker, as far as allowances care.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// Counts up.
    pub(crate) number: u64,
    /// When it began.
    pub(crate) began_ns: u64,
    /// Nothing asks to be received in it.
    pub(crate) quiet: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left_ns: ALLOWANCE_NS,
            round: Round::default(),
            cost: Cost::guess(FIRST_COST_NS),
        }
    }
}

impl Allowance {
    fn is_slow(&self) -> bool {
        self.cost.ns() > u64::from(SLOW_NS)
    }

    fn most_ns(&self) -> i64 {
        if self.is_slow() {
            SLOW_ALLOWANCE_NS
        } else {
            ALLOWANCE_NS
        }
    }

    /// How many units may be written in this round.
    pub(crate) fn units(&mut self, round: Round) -> usize {
        let passed = i64::try_from(round.number.saturating_sub(self.round.number)).unwrap_or(i64::MAX);
        let time_ns = round.began_ns.saturating_sub(self.round.began_ns);
        self.round = round;
        let gained = if self.is_slow() && !round.quiet {
            i64::try_from(time_ns / SLOW_SHARE).unwrap_or(i64::MAX)
        } else {
            passed.saturating_mul(self.most_ns())
        };
        self.left_ns = self.left_ns.saturating_add(gained).min(self.most_ns());
        u64::try_from(self.left_ns).map_or(0, |left_ns| left_ns.div_ceil(self.cost.ns()) as usize)
    }

    /// Writing `units` took `ns`. A worker that was interrupted meanwhile does not blame the port for all of it.
    pub(crate) fn spend(&mut self, units: usize, ns: u64) {
        let Some(each) = ns.checked_div(units as u64) else {
            return;
        };
        let most = (2 * units as u64)
            .saturating_mul(self.cost.ns())
            .saturating_add(self.most_ns() as u64);
        self.left_ns -= ns.min(most) as i64;
        self.cost.see(each);
    }

    /// What a unit costs its receiver, about the median.
    pub(crate) fn cost_ns(&self) -> u64 {
        self.cost.ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Rounds that are so long that a slow receiver's share of each is its allowance.
    fn round(number: u64) -> Round {
        let began_ns = number * SLOW_SHARE * SLOW_ALLOWANCE_NS as u64;
        Round {
            number,
            began_ns,
            quiet: false,
        }
    }

    /// What a receiver of this cost gets of a round in the long run; about the border it may be either.
    fn allowed(cost: u64) -> u64 {
        if cost > u64::from(SLOW_NS) {
            SLOW_ALLOWANCE_NS as u64
        } else {
            ALLOWANCE_NS as u64
        }
    }

    proptest! {
        /// Ports that keep asking get the same time, whatever their bursts cost, and none waits long.
        #[test]
        fn who_keeps_asking_gets_its_share(costs in vec(1_000u64..2_000_000, 2..8), rounds in 50usize..400) {
            let (mut turns, mut used) = (Turns::default(), vec![Used::default(); costs.len()]);
            let mut time = vec![0u64; costs.len()];
            for _ in 0..rounds {
                used.iter_mut().for_each(|used| turns.ask(used));
                turns.begin();
                let mut served = 0;
                for (port, cost) in costs.iter().enumerate() {
                    if turns.may(used[port]) {
                        used[port].charge(*cost, 1);
                        time[port] += cost;
                        served += 1;
                    }
                }
                prop_assert!(served > 0, "the worker stands still");
                let (least, most) = (time.iter().min().unwrap(), time.iter().max().unwrap());
                prop_assert!(most - least <= LEAD_NS + costs.iter().max().unwrap());
            }
        }

        /// Over any comings and goings, a port that begins to ask is served before anybody who asks along gets more than
        /// its lead, and nobody collects credit while silent.
        #[test]
        fn who_comes_back_neither_waits_nor_pushes_ahead(asks in vec(vec(any::<bool>(), 4), 10..200)) {
            const COSTS: [u64; 4] = [2_000, 90_000, 700_000, 1_600_000];
            let (mut turns, mut used) = (Turns::default(), [Used::default(); 4]);
            // Time that others got since the port asks without a turn.
            let mut waited = [0u64; 4];
            for asking in asks {
                used.iter_mut().zip(&asking).filter(|(_, asks)| **asks).for_each(|(used, _)| turns.ask(used));
                turns.begin();
                let mut others = 0;
                for port in 0..4 {
                    if asking[port] && turns.may(used[port]) {
                        used[port].charge(COSTS[port], 1);
                        waited[port] = 0;
                        others += COSTS[port];
                    }
                }
                for port in 0..4 {
                    waited[port] = if asking[port] { waited[port] + others } else { 0 };
                    // Each of the other three may be a lead and a burst ahead, and so may the port itself have been.
                    let bound = 4 * LEAD_NS + 2 * COSTS.iter().sum::<u64>();
                    prop_assert!(waited[port] <= 3 * bound, "port {port} waited {} ns", waited[port]);
                }
            }
        }

        /// Over any run of rounds a port gets its allowance for each, and at most one write more.
        #[test]
        fn an_allowance_is_kept_over_time(cost in prop_oneof![200u64..10_000, 15_000u64..60_000], rounds in 20u64..300) {
            let mut allowance = Allowance::default();
            let mut spent = 0u64;
            for round in 0..rounds {
                let units = allowance.units(self::round(round)).min(64);
                if units > 0 {
                    allowance.spend(units, units as u64 * cost);
                    spent += units as u64 * cost;
                }
                // The first guess may be wrong by much, and is right after a dozen writes.
                let one_write = 64 * cost.max(FIRST_COST_NS);
                prop_assert!(spent <= (round + 2) * allowed(cost) + 8 * one_write);
            }
            let wanted = (64 * cost).min(allowed(cost)) * rounds;
            prop_assert!(spent >= wanted / 2, "{spent} of {wanted}");
        }
    }

    #[test]
    fn a_slow_receiver_has_a_quarter_of_the_time_beside_others_and_nearly_all_alone() {
        const COST_NS: u64 = 50_000;
        for (quiet, least, most) in [(false, 3, 5), (true, 18, 20)] {
            let mut allowance = Allowance::default();
            let (mut now_ns, mut written) = (0, 0);
            for number in 0..10_000u64 {
                let began_ns = now_ns;
                now_ns += 2_000;
                for _ in 0..allowance.units(Round {
                    number,
                    began_ns,
                    quiet,
                }) {
                    allowance.spend(1, COST_NS);
                    now_ns += COST_NS;
                    written += 1;
                }
            }
            let of_twenty = written * COST_NS * 20 / now_ns;
            assert!((least..=most).contains(&of_twenty), "{of_twenty} of 20, quiet {quiet}");
        }
    }

    #[test]
    fn debts_are_bounded() {
        let mut allowance = Allowance::default();
        allowance.spend(1, 4_000_000);
        assert!(allowance.units(round(1_000_000)) > 0);
    }

    #[test]
    fn a_port_that_speaks_for_many_has_more_time() {
        let (mut turns, mut used) = (Turns::default(), [Used::default(); 2]);
        let mut time = [0u64; 2];
        for _ in 0..1000 {
            used.iter_mut().for_each(|used| turns.ask(used));
            turns.begin();
            for (port, weight) in [(0, 1), (1, 8)] {
                if turns.may(used[port]) {
                    used[port].charge(100_000, weight);
                    time[port] += 100_000;
                }
            }
        }
        let ratio = time[1] as f64 / time[0] as f64;
        assert!((6.0..9.0).contains(&ratio), "{ratio}");
    }
}
