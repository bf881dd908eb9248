//! How a worker's time is shared between its ports. Pure arithmetic over nanoseconds; it reads no clock and moves no frame.
//!
//! Receiving is shared by turns: every port has the time it has used, and only ports that have used about as little as any
//! other that asks may take the next burst. Writing to a port whose receiver runs on the worker's time has an allowance a
//! round; what does not fit waits. `docs/design/0010-time.md` says why.

/// How far ahead of the one that used least a port may be and still receive: about two bursts.
pub(crate) const LEAD_NS: u64 = 200_000;
/// What receivers of one port may take of a round.
pub(crate) const ALLOWANCE_NS: i64 = 200_000;
/// First guess of what a frame costs its receiver.
const FIRST_COST_NS: u64 = 2_000;

/// Time used for one port, on a scale on which all ports that keep asking advance together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// What receivers of one port may still take in this round. Overdrawn time is taken off the next rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    left_ns: i64,
    round: u64,
    cost_ns: u64,
    /// How many samples in turn were above the cost, or below it if negative.
    run: i8,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left_ns: ALLOWANCE_NS,
            round: 0,
            cost_ns: FIRST_COST_NS,
            run: -1,
        }
    }
}

impl Allowance {
    /// How many frames may be written in round `round`; rounds count up.
    pub(crate) fn frames(&mut self, round: u64) -> usize {
        let passed = i64::try_from(round.saturating_sub(self.round)).unwrap_or(i64::MAX);
        self.round = round;
        self.left_ns = self
            .left_ns
            .saturating_add(passed.saturating_mul(ALLOWANCE_NS))
            .min(ALLOWANCE_NS);
        if self.left_ns <= 0 {
            return 0;
        }
        1 + self.left_ns as usize / self.cost_ns.max(1) as usize
    }

    /// Writing `frames` took `ns`. A worker that was interrupted meanwhile does not blame the port for all of it.
    pub(crate) fn spend(&mut self, frames: usize, ns: u64) {
        let Some(each) = ns.checked_div(frames as u64) else {
            return;
        };
        let most = (2 * frames as u64)
            .saturating_mul(self.cost_ns)
            .saturating_add(ALLOWANCE_NS as u64);
        self.left_ns -= ns.min(most) as i64;
        // Steps of a sixteenth follow the median: one interruption of milliseconds moves it no more than any other sample.
        // Samples that keep to one side make them longer.
        let above = each > self.cost_ns;
        self.run = if above == (self.run > 0) {
            self.run + self.run.signum()
        } else if above {
            1
        } else {
            -1
        };
        self.run = self.run.clamp(-4, 4);
        let step = (self.cost_ns >> (5 - self.run.unsigned_abs())).max(1);
        self.cost_ns = if above {
            self.cost_ns + step
        } else {
            (self.cost_ns - step).max(1)
        };
    }

    /// What a frame costs its receiver, about the median.
    pub(crate) fn cost_ns(&self) -> u64 {
        self.cost_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

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
        fn an_allowance_is_kept_over_time(cost in 200u64..60_000, rounds in 20u64..300) {
            let mut allowance = Allowance::default();
            let mut spent = 0u64;
            for round in 0..rounds {
                let frames = allowance.frames(round).min(64);
                if frames > 0 {
                    allowance.spend(frames, frames as u64 * cost);
                    spent += frames as u64 * cost;
                }
                // The first guess may be wrong by much, and is right after a dozen writes.
                let one_write = 64 * cost.max(FIRST_COST_NS);
                prop_assert!(spent <= (round + 2) * ALLOWANCE_NS as u64 + 8 * one_write);
            }
            let wanted = (64 * cost).min(ALLOWANCE_NS as u64) * rounds;
            prop_assert!(spent >= wanted / 2, "{spent} of {wanted}");
        }
    }

    #[test]
    fn the_cost_follows_the_median_and_not_an_interruption() {
        let mut allowance = Allowance::default();
        for _ in 0..200 {
            allowance.spend(1, 25_000);
        }
        assert!(
            (20_000..30_000).contains(&allowance.cost_ns()),
            "{}",
            allowance.cost_ns()
        );
        allowance.spend(1, 4_000_000);
        assert!(allowance.cost_ns() < 30_000);
        assert!(allowance.frames(1_000_000) > 0, "debts are bounded");
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
